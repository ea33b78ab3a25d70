# SPDX-License-Identifier: Apache-2.0
"""Waist and arms as numbers, read from our URDF: where each joint sits, which motor turns it, what that can do.

Sources: unitree_ros:robots/h1_2_description/h1_2_handless.urdf for the URDF, whose frames are REP-103 (x forward, y
left, z up) and all parallel in the zero pose but for the tilted shoulder pitch; motor order
unitree_ros2:example/src/src/h1-2/lowlevel/low_level_ctrl_hg.cpp. Masses are for MuJoCo to read (`robot_model`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ament_index_python.packages import get_package_share_directory
from numpy.typing import NDArray

URDF = Path(get_package_share_directory("h1_training_bringup")) / "urdf/h1_2_arms.urdf"
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Link:
    """One moving body and the joint on which it hangs.

    Attributes:
        joint, link: names of the joint and of the body.
        origin_m: the joint in the parent's frame.
        axis: the joint's axis in its own frame.
        lower_rad, upper_rad: range of the joint.
        effort_nm, velocity_rad_s: what the motor can do.
    """

    joint: str
    link: str
    origin_m: Vector
    axis: Vector
    lower_rad: float
    upper_rad: float
    effort_nm: float
    velocity_rad_s: float


def _link(joint: ElementTree.Element) -> Link:
    limits = ("lower", "upper", "effort", "velocity")
    return Link(
        joint.attrib["name"],
        _at(joint, "child", "link"),
        _vector(joint, "origin"),
        _vector(joint, "axis"),
        *(float(_at(joint, "limit", name)) for name in limits),
    )


def _at(joint: ElementTree.Element, path: str, attribute: str) -> str:
    return str(joint.findall(path)[0].attrib[attribute])


def _vector(joint: ElementTree.Element, path: str) -> Vector:
    x, y, z = map(float, _at(joint, path, "xyz").split())
    return x, y, z


TORSO, *_ARMS = (
    _link(joint) for joint in ElementTree.parse(URDF).getroot().iter("joint") if joint.attrib["type"] == "revolute"
)
ARMS = tuple(_ARMS)
"""The 14 arm bodies in the order that is used everywhere: left 7, then right 7."""
LEFT_ARM, RIGHT_ARM = ARMS[:7], ARMS[7:]

Joints = NDArray[np.float64]
"""Shape (14,): left 7, then right 7."""

COUNT = len(ARMS)
NAMES = tuple(link.joint for link in ARMS)
WAIST_NAME = TORSO.joint

WAIST_MOTOR = 12
FIRST_ARM_MOTOR = 13
ARM_MOTORS = slice(FIRST_ARM_MOTOR, FIRST_ARM_MOTOR + COUNT)
"""motor_cmd and motor_state 13..26 are the arms in our order."""

WEIGHT_MOTOR = 27
"""arm_sdk's weight, 0..1, travels in this unused motor's `q` (unitree_sdk2 h1_2_arm_sdk_dds_example.cpp)."""

MOTOR_ENABLED, MOTOR_DISABLED = 1, 0
"""MotorCmd.mode and MotorState.mode."""


def _column(name: str) -> Joints:
    values = np.array([getattr(link, name) for link in ARMS])
    values.setflags(write=False)
    return values


LOWER = _column("lower_rad")
UPPER = _column("upper_rad")
EFFORT = _column("effort_nm")
"""N·m, greatest torque of each motor."""
VELOCITY = _column("velocity_rad_s")
"""rad/s, greatest speed of each motor; what the session allows is far below (config/arms.yaml)."""

# wireless_remote: two bytes of head, then 16 buttons (unitree_ros2:example/src/src/g1/lowlevel/gamepad.hpp).
REMOTE_BUTTONS = (
    *("R1", "L1", "start", "select", "R2", "L2", "F1", "F2"),
    *("A", "B", "X", "Y", "up", "right", "down", "left"),
)
REMOTE_BUTTONS_OFFSET = 2
