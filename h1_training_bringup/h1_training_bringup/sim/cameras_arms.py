# SPDX-License-Identifier: Apache-2.0
"""Where the arms are, for those who draw them: joint angles to round segments from the shoulders to the finger tips."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.robot_model import SIDES, model_spec

Array = NDArray[np.float64]

_CHAIN = ("shoulder_roll", "shoulder_yaw", "elbow", "wrist_pitch", "wrist_yaw")
_CHAIN_LOOKS = ((0.05, "upper"), (0.045, "upper"), (0.04, "fore"), (0.032, "wrist"))
"""Radius, m, and look of the segments between the links of `_CHAIN`."""
_HAND = (
    *(((0.01, 0.6 * y, 0.0), (0.095, y, -0.004), 0.016, "palm") for y in (-0.026, 0.0, 0.026)),
    *(((0.1, y, -0.004), (0.145, 1.1 * y, -0.012), 0.009, "finger") for y in (-0.033, -0.011, 0.011, 0.033)),
    *(((0.145, 1.1 * y, -0.012), (0.18, 1.1 * y, -0.035), 0.008, "finger") for y in (-0.033, -0.011, 0.011, 0.033)),
    ((0.04, 0.025, -0.004), (0.085, 0.06, -0.015), 0.011, "finger"),
    ((0.085, 0.06, -0.015), (0.125, 0.062, -0.028), 0.009, "finger"),
)
"""Segments of the right hand in the frame of its wrist_yaw_link: begin, end, radius, m, and look. Thumb at +y."""

_GRIP = (
    *(((x, -0.04, 0.035), (x, 0.045, 0.03), 0.012, "skin") for x in (-0.115, -0.09, -0.065, -0.04)),
    ((-0.08, 0.035, 0.03), (-0.05, 0.16, 0.1), 0.026, "skin"),
    ((-0.05, 0.16, 0.1), (0.02, 0.46, 0.22), 0.045, "sleeve"),
)
"""The hand and the forearm of a person who guides the left wrist, in the same frame, from outside."""

_ONE_SIDE = (*_CHAIN_LOOKS, *((radius, look) for *_, radius, look in (*_HAND, *_GRIP)))
LOOKS = tuple(look for _, look in _ONE_SIDE) * len(SIDES)
RADII_M = np.array([radius for radius, _ in _ONE_SIDE] * len(SIDES))
"""(n,), of the segments in `ArmSegments.segments_m`."""
IS_PERSON = np.array([look in ("skin", "sleeve") for look in LOOKS])
"""(n,), which segments are not the robot's."""


@dataclass(frozen=True)
class ArmSegments:
    """Both arms as they are now, pelvis frame.

    Attributes:
        segments_m: (n, 2, 3), beginnings and ends; see `LOOKS`, `RADII_M`, `IS_PERSON`.
        wrists_m, wrist_rotations: (2, 3) and (2, 3, 3), of the wrist_yaw_links.
    """

    segments_m: Array
    wrists_m: Array
    wrist_rotations: Array


class Skeleton:
    """Forward kinematics of both arms, waist held."""

    def __init__(self) -> None:
        self._model = model_spec().compile()
        self._data = mujoco.MjData(self._model)
        self._bodies = [[self._model.body(f"{side}_{name}_link").id for name in _CHAIN] for side in SIDES]
        hand, grip = (np.array([(begin, end) for begin, end, *_ in parts]) for parts in (_HAND, _GRIP))
        mirror = np.array([1.0, -1.0, 1.0])
        self._hands = (np.concatenate([hand * mirror, grip]), np.concatenate([hand, grip * mirror]))

    def pose(self, q: Array) -> ArmSegments:
        """The arms at the 14 joint angles `q`, rad."""
        self._data.qpos[-COUNT:] = q
        mujoco.mj_kinematics(self._model, self._data)
        segments, wrists, rotations = [], [], []
        for ids, hand in zip(self._bodies, self._hands, strict=True):
            chain = self._data.xpos[ids]
            rotation = self._data.xmat[ids[-1]].reshape(3, 3).copy()
            segments += [np.stack([chain[:-1], chain[1:]], axis=1), chain[-1] + hand @ rotation.T]
            wrists.append(chain[-1])
            rotations.append(rotation)
        return ArmSegments(np.concatenate(segments), np.array(wrists), np.array(rotations))
