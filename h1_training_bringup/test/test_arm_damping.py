# SPDX-License-Identifier: Apache-2.0
"""DAMPING as a person meets it, on bodies whose masses differ from the model's; by simulated time."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import Rig, joint_settings, reading
from arm_scenarios import damp, from_full_speed, guided, guided_about, let_go, place, robots, with_wrong_payload
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.arm_driver.damping import Damping, GravityTorque
from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.robot_model import GravityModel

pytestmark = pytest.mark.long


def test_arms_let_go_at_twenty_poses_drift_and_start_within_their_bounds() -> None:
    drift, entry = let_go(20)
    assert drift <= 0.1
    assert entry <= 0.02


def test_arms_at_full_policy_speed_stop_within_their_bounds() -> None:
    way, speed = from_full_speed()
    assert way <= 0.1
    assert speed < 0.1


def test_ten_newton_at_the_wrist_guide_an_arm_at_twenty_poses() -> None:
    assert guided() >= 0.5


def test_ten_newton_guide_a_hanging_arm_forward_outward_up_and_backward() -> None:
    assert guided_about() >= 0.5


def test_an_unknown_half_kilogram_makes_an_arm_sink_slowly_at_twenty_poses() -> None:
    assert 0.0 < with_wrong_payload(sinks=True) <= 0.5


def test_a_modelled_half_kilogram_that_is_gone_makes_it_rise_slowly_at_twenty_poses() -> None:
    assert 0.0 < with_wrong_payload(sinks=False) <= 0.3


def test_the_bodies_do_differ_from_the_model() -> None:
    *_, (rig, masses) = robots()
    place(rig, np.zeros(COUNT), masses)
    known = GravityModel().gravity_torque(rig.q, 0.0)
    assert np.abs(rig.robot.body.carrying_torque[1:] - known).max() > 0.15


def test_the_imu_says_where_down_is() -> None:
    rig = Rig()
    rig.take()
    damp(rig, 0.1)
    upright = rig.sent[-1][1].tau
    rig.robot.inject("tilt 0.4")
    rig.run(0.05)
    assert np.abs(rig.sent[-1][1].tau - upright).max() > 0.5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=COUNT, max_size=COUNT),
    st.lists(st.floats(-30, 30), min_size=COUNT, max_size=COUNT),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda down: sum(part * part for part in down) > 0.01),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_read_the_torque_is_finite_and_bounded(
    q: list[float], dq: list[float], down: tuple[float, float, float], lost: bool, sinks: bool
) -> None:
    joints = joint_settings()
    damping = Damping(joints, GravityTorque(GravityModel(), joints.feedforward_nm, "torso"))
    sensed = reading(0, q, dq=np.array(dq), down=np.array(down) / np.linalg.norm(down))
    damping.enter(reading(0, 0.0))
    for _ in range(5):
        torque = damping.torque(sensed, is_lost=lost, let_down=sinks)
        assert np.isfinite(torque).all()
        assert (np.abs(torque) <= joints.feedforward_nm + joints.friction_nm + 1e-9).all()
        assert (damping.kd > 0).all()
