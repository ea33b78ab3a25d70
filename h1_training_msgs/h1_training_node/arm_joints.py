# SPDX-License-Identifier: Apache-2.0
"""The 14 arm joints: names, range, and the one rule by which an action is no pose of these arms.

Order everywhere: left 7, then right 7 (shoulder pitch, roll, yaw, elbow, wrist roll, pitch, yaw). Range:
unitreerobotics/unitree_ros:robots/h1_2_description/h1_2.urdf; a test of the arm driver compares it with its model.

A policy that asks for a little more than the range is common, and the arm driver clips that. One that asks for much
more has not been un-normalised, counts degrees, or is another robot's: its actions are refused whole by the bridge, by
the driver, and by the validation of episodes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ARM_JOINT_NAMES = tuple(
    f"{side}_{part}_joint"
    for side in ("left", "right")
    for part in ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
)

LOWER_RAD = np.array(
    [-3.14, -0.38, -2.66, -0.95, -3.01, -0.4625, -1.27, -3.14, -3.4, -3.01, -0.95, -2.75, -0.4625, -1.27]
)
UPPER_RAD = np.array([1.57, 3.4, 3.01, 3.18, 2.75, 0.4625, 1.27, 1.57, 0.38, 2.66, 3.18, 3.01, 0.4625, 1.27])
"""(14,) rad, ends of each joint's range."""
LOWER_RAD.setflags(write=False)
UPPER_RAD.setflags(write=False)

ACTION_TOLERANCE_RAD = 0.3
"""How far beyond its joint's range a commanded value may lie and still be clipped instead of refused."""


def is_within_range(positions_rad: npt.ArrayLike, tolerance_rad: float = ACTION_TOLERANCE_RAD) -> npt.NDArray[np.bool_]:
    """Which values are finite and within their joint's range and the tolerance.

    Args:
        positions_rad: (..., 14).
        tolerance_rad: beyond either end.

    Returns:
        (..., 14); NaN and infinity are not within.
    """
    values = np.asarray(positions_rad)
    return np.asarray((values >= LOWER_RAD - tolerance_rad) & (values <= UPPER_RAD + tolerance_rad))


def beyond_range(positions_rad: npt.ArrayLike, tolerance_rad: float = ACTION_TOLERANCE_RAD) -> str:
    """The first value that is no position of its joint, in words; empty if all are.

    Args:
        positions_rad: (14,) or (T, 14).
        tolerance_rad: beyond either end.
    """
    values = np.asarray(positions_rad)
    within = is_within_range(values, tolerance_rad)
    if within.all():
        return ""
    first = tuple(np.argwhere(~within)[0])
    joint = int(first[-1])
    step = f" at step {first[0]}" if len(first) > 1 else ""
    return (
        f"{ARM_JOINT_NAMES[joint]} is {values[first]:.4g} rad{step}; "
        f"its range is {LOWER_RAD[joint]:g} to {UPPER_RAD[joint]:g} rad"
    )
