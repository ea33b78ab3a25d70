# SPDX-License-Identifier: Apache-2.0
"""Which motor is which, what it can do, and the few other constants of the robot's low-level interface.

Sources: motor order unitree_ros2:example/src/src/h1-2/lowlevel/low_level_ctrl_hg.cpp; limits unitree_ros h1_2.urdf.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.kinematics import ARMS, TORSO

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
