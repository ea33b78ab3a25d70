# SPDX-License-Identifier: Apache-2.0
"""The URDF that rviz2 reads is the one that the table of links makes, and weighs the same."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, NAMES, WAIST_NAME
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.arm_driver.urdf import urdf_text
from h1_training_node.cameras import CAMERA_FRAMES

URDF = Path(__file__).parent.parent / "urdf" / "h1_2_arms.urdf"


def test_the_file_is_what_the_table_of_links_makes() -> None:
    assert URDF.read_text() == urdf_text(), "run: python -m h1_training_bringup.arm_driver.urdf > urdf/h1_2_arms.urdf"


def test_it_has_the_joints_of_joint_states_and_the_waist() -> None:
    moving = [joint.get("name") for joint in ElementTree.parse(URDF).iter("joint") if joint.get("type") == "revolute"]
    assert moving == [WAIST_NAME, *NAMES]


def test_the_frames_of_all_images_are_in_it() -> None:
    links = {link.get("name") for link in ElementTree.parse(URDF).iter("link")}
    assert set(CAMERA_FRAMES.values()) <= links


def test_its_arms_hang_as_heavily_as_the_drivers_model() -> None:
    model = mujoco.MjModel.from_xml_string(urdf_text())
    data = mujoco.MjData(model)
    q = np.random.default_rng(2).uniform(-0.4, 0.4, COUNT)
    data.qpos[:] = [0.3, *q]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.qfrc_bias[1:], GravityModel().gravity_torque(q, 0.3), atol=1e-5)
