# SPDX-License-Identifier: Apache-2.0
"""The rigid-body model and the numbers that it stands on."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from h1_training_bringup.arm_driver import joints
from h1_training_bringup.arm_driver.joints import ARMS, LEFT_ARM, RIGHT_ARM
from h1_training_bringup.arm_driver.robot_model import (
    DOWN,
    GravityModel,
    Payload,
    gravity_direction,
    model_spec,
)
from h1_training_node import arm_joints

ZEROS = np.zeros(joints.COUNT)
SAME_PARTS = ("left_wrist_roll_joint", "left_wrist_pitch_joint")
"""Their bodies have the very same inertial on both sides, by the source."""


def test_the_joint_table_is_the_robots() -> None:
    assert joints.NAMES[0] == "left_shoulder_pitch_joint" and joints.NAMES[3] == "left_elbow_joint"
    assert joints.NAMES[13] == "right_wrist_yaw_joint"
    assert joints.LOWER[[0, 1, 2, 3, 4, 5, 6]].tolist() == [-3.14, -0.38, -2.66, -0.95, -3.01, -0.4625, -1.27]
    assert joints.UPPER[[7, 8, 9, 10, 11, 12, 13]].tolist() == [1.57, 0.38, 2.66, 3.18, 3.01, 0.4625, 1.27]
    assert joints.NAMES == arm_joints.ARM_JOINT_NAMES
    assert np.array_equal([joints.LOWER, joints.UPPER], [arm_joints.LOWER_RAD, arm_joints.UPPER_RAD])
    assert joints.EFFORT[:7].tolist() == [40, 40, 18, 18, 19, 19, 19]
    assert (slice(13, 27), 12, 27) == (joints.ARM_MOTORS, joints.WAIST_MOTOR, joints.WEIGHT_MOTOR)


def test_the_arms_mirror_each_other_in_geometry_and_range() -> None:
    spec = model_spec()
    for left, right in zip(LEFT_ARM, RIGHT_ARM, strict=True):
        assert right.joint == left.joint.replace("left", "right")
        assert right.origin_m == (left.origin_m[0], -left.origin_m[1], left.origin_m[2])
        assert right.upper_rad - right.lower_rad == pytest.approx(left.upper_rad - left.lower_rad)
        side = 1 if left.joint in SAME_PARTS else -1
        one, other = spec.body(left.link), spec.body(right.link)
        assert other.mass == one.mass
        assert other.ipos.tolist() == [one.ipos[0], side * one.ipos[1], one.ipos[2]]
        assert other.fullinertia.tolist() == np.multiply(one.fullinertia, (1, 1, 1, side, 1, side)).tolist()


def test_gravity_in_the_zero_pose_is_as_reckoned_elsewhere() -> None:
    torque = GravityModel().gravity_torque(ZEROS, 0.0)
    np.testing.assert_allclose(torque[[0, 3, 7, 10]], [-3.1, -3.0, -3.1, -3.0], atol=0.05)


def test_gravity_torque_holds_the_modelled_arms_still() -> None:
    model = model_spec().compile()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    for _ in range(5):
        q = rng.uniform(joints.LOWER, joints.UPPER)
        data.qpos[:] = [0.0, *q]
        data.qvel[:] = 0.0
        data.qfrc_applied[1:] = GravityModel().gravity_torque(q, 0.0)
        mujoco.mj_forward(model, data)
        assert np.abs(data.qacc[1:]).max() < 1e-6


def test_a_payload_weighs_with_its_lever() -> None:
    bare, loaded = GravityModel(), GravityModel({"left": Payload(1.0, (0.1, 0.0, 0.0))})
    extra = loaded.gravity_torque(ZEROS, 0.0) - bare.gravity_torque(ZEROS, 0.0)
    # Forearm forward: elbow to hand 0.121 + 0.087 + 0.02 + 0.1 m.
    assert extra[3] == pytest.approx(-9.81 * 0.328, abs=1e-6)
    np.testing.assert_allclose(extra[7:], 0.0, atol=1e-9)


def test_the_waist_does_not_matter_while_the_robot_stands_upright() -> None:
    model = GravityModel()
    np.testing.assert_allclose(model.gravity_torque(ZEROS, 1.0), model.gravity_torque(ZEROS, 0.0), atol=1e-9)


def test_an_upside_down_robot_feels_the_opposite_torque() -> None:
    model = GravityModel()
    up = model.gravity_torque(ZEROS, 0.0, (0.0, 0.0, 1.0))
    np.testing.assert_allclose(up, -model.gravity_torque(ZEROS, 0.0), atol=1e-9)


def test_mass_can_be_scaled_body_by_body() -> None:
    scaled = GravityModel(mass_scale={link.link: 1.1 for link in ARMS})
    expected = 1.1 * GravityModel().gravity_torque(ZEROS, 0.0)
    np.testing.assert_allclose(scaled.gravity_torque(ZEROS, 0.0), expected, atol=1e-9)


def test_gravity_points_down_in_the_frame_of_a_tilted_imu() -> None:
    np.testing.assert_allclose(gravity_direction([1, 0, 0, 0]), DOWN)
    nose_down = gravity_direction([np.cos(0.15), 0, np.sin(0.15), 0])
    assert nose_down is not None
    np.testing.assert_allclose(nose_down, [np.sin(0.3), 0, -np.cos(0.3)], atol=1e-9)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [2, 0, 0, 0]])
def test_numbers_that_are_no_rotation_give_no_direction(quaternion: list[float]) -> None:
    assert gravity_direction(quaternion) is None
