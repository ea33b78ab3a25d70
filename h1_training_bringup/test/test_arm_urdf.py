# SPDX-License-Identifier: Apache-2.0
"""The URDF: what it must have for the arm driver, for rviz2, and for whoever places an image."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import mujoco
import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, LEFT_ARM, NAMES, RIGHT_ARM, URDF, WAIST_NAME
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_node.cameras import CAMERA_FRAMES


def test_each_shape_of_an_arm_leads_from_its_joint_to_the_next() -> None:
    shapes = {link.get("name"): link.find("visual/origin") for link in ElementTree.parse(URDF).iter("link")}
    for arm in (LEFT_ARM, RIGHT_ARM):
        for link, following in pairwise(arm):
            middle = np.array(shapes[link.link].get("xyz").split(), float)
            np.testing.assert_allclose(2 * middle, following.origin_m, atol=1e-6)


def test_it_has_the_joints_of_joint_states_and_the_waist() -> None:
    moving = [joint.get("name") for joint in ElementTree.parse(URDF).iter("joint") if joint.get("type") == "revolute"]
    assert moving == [WAIST_NAME, *NAMES]


def test_the_frames_of_all_images_are_in_it() -> None:
    links = {link.get("name") for link in ElementTree.parse(URDF).iter("link")}
    assert set(CAMERA_FRAMES.values()) <= links


def test_its_arms_hang_as_heavily_as_the_drivers_model() -> None:
    model = mujoco.MjModel.from_xml_string(URDF.read_text())
    data = mujoco.MjData(model)
    q = np.random.default_rng(2).uniform(-0.4, 0.4, COUNT)
    data.qpos[:] = [0.3, *q]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.qfrc_bias[1:], GravityModel().gravity_torque(q, 0.3), atol=1e-5)
