# SPDX-License-Identifier: Apache-2.0
"""What a wrist carries, from the torques that hold the arms still.

Every joint of a side says something about the mass at its wrist: the torque beyond that of the bare arm, over the
torque that one kilogram there would ask. Friction hides up to a known torque in each, which is the figure's tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.arm_driver.robot_model import SIDES, GravityModel, Payload

_FRICTION_NM = np.array([1.0, 1.0, 0.6, 0.6, 0.3, 0.3, 0.3])
"""N·m, shoulder to wrist, that a standing joint may hold by friction; no public source, moderate for such gears."""
_LEAST_LEVER_NM_PER_KG = 1.0


class WeighingError(ValueError):
    """The pose says nothing about the mass; the text says what would."""


@dataclass(frozen=True)
class Weight:
    """A payload as measured: `mass_kg` give or take `tolerance_kg`."""

    mass_kg: float
    tolerance_kg: float


def weigh(
    q: NDArray[np.float64], tau: NDArray[np.float64], coms: Mapping[str, tuple[float, float, float]]
) -> dict[str, Weight]:
    """Payload of each wrist of an upright robot.

    Args:
        q, tau: (n, 14), rad and N·m, measured while the arms stood still.
        coms: by side, m, where the payload's mass is in the frame of the wrist_yaw_link.

    Raises:
        WeighingError: the arms hang so that a mass at the wrist would hardly be felt.
    """
    pose, torque = q.mean(axis=0), tau.mean(axis=0)
    bare = GravityModel().gravity_torque(pose, 0.0)
    result = {}
    for index, side in enumerate(SIDES):
        joints = slice(index * COUNT // 2, (index + 1) * COUNT // 2)
        lever: Joints = (GravityModel({side: Payload(1.0, coms[side])}).gravity_torque(pose, 0.0) - bare)[joints]
        # Weighted by what friction can hide: a wrist that feels little friction counts for more.
        certainty = lever / _FRICTION_NM**2
        total = float(certainty @ lever)
        if np.abs(lever).max() < _LEAST_LEVER_NM_PER_KG:
            raise WeighingError(f"the {side} arm hangs straight down; raise the forearm, e.g. to the home pose")
        mass = float(certainty @ (torque - bare)[joints]) / total
        result[side] = Weight(mass, float(np.abs(certainty) @ _FRICTION_NM) / total)
    return result
