# SPDX-License-Identifier: Apache-2.0
"""What the simulated hands meet where the task is to push: a table, and a cube on it that slides and turns.

Only these three meet: hand and cube, hand and table, cube and table. Of a hand it is the box around palm and straight
fingers as the cameras draw them. MuJoCo keeps the cube's state behind that of the robot's joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.robot_model import SIDES
from h1_training_bringup.sim.scene import OBJECT_SIZE_M, TABLE_TOP_M, TABLE_X_M, TABLE_Y_M, SceneObject

CUBE_DOFS = 6
_CUBE_QPOS = 7
"""Position and quaternion."""
_MASS_KG = 0.15
_SLIDING, _GRIPPING, _TURNING = 0.4, 0.9, 0.005
"""Friction of wood on wood, of rubber fingertips on wood, and about the contact's normal, m."""
_HAND_MIDDLE_M, _HAND_HALF_M = (0.095, 0.0, -0.012), (0.085, 0.042, 0.023)
"""In the frame of a wrist_yaw_link: to the fingertips, which are 0.06 m ahead of the hand's middle."""
_PLATE_HALF_M = 0.02


@dataclass(frozen=True)
class Cube:
    """Where the cube is.

    Attributes:
        position_m: (3,), its centre, pelvis frame.
        yaw_rad: how it is turned about the vertical.
    """

    position_m: NDArray[np.float64]
    yaw_rad: float

    @classmethod
    def of(cls, data: mujoco.MjData) -> Cube:
        """As `data` has it."""
        x, y, z, w, i, j, k = data.qpos[-_CUBE_QPOS:]
        return cls(np.array([x, y, z]), float(np.arctan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))))

    @staticmethod
    def put(data: mujoco.MjData, thing: SceneObject) -> None:
        """To where `thing` is, at rest."""
        half = thing.yaw_rad / 2
        data.qpos[-_CUBE_QPOS:] = (*thing.position_m, np.cos(half), 0.0, 0.0, np.sin(half))
        data.qvel[-CUBE_DOFS:] = 0.0


def add_table(spec: mujoco.MjSpec) -> None:
    """Add table, cube and the hands' shapes to a model of the arms, and let them meet."""
    spec.option.disableflags = 0
    (near, far), (right, left) = TABLE_X_M, TABLE_Y_M
    half = ((far - near) / 2, (left - right) / 2, _PLATE_HALF_M)
    middle = ((far + near) / 2, (left + right) / 2, TABLE_TOP_M - _PLATE_HALF_M)
    cube = spec.worldbody.add_body(name="cube", pos=(0.5, 0.25, TABLE_TOP_M + OBJECT_SIZE_M / 2))
    cube.add_freejoint()
    _add_box(spec.worldbody, "table", middle, half)
    _add_box(cube, "cube", (0.0, 0.0, 0.0), (OBJECT_SIZE_M / 2,) * 3, mass=_MASS_KG)
    for side in SIDES:
        _add_box(spec.body(f"{side}_wrist_yaw_link"), f"{side} hand", _HAND_MIDDLE_M, _HAND_HALF_M, mass=0.0)
    pairs = [("table", "cube", _SLIDING)]
    for side in SIDES:
        pairs += [("table", f"{side} hand", _SLIDING), ("cube", f"{side} hand", _GRIPPING)]
    for one, other, friction in pairs:
        spec.add_pair(geomname1=one, geomname2=other, condim=4, friction=[friction, friction, _TURNING, 0.0, 0.0])


def _add_box(
    body: mujoco.MjsBody, name: str, middle: tuple[float, ...], half: tuple[float, ...], mass: float = 0.0
) -> None:
    box = mujoco.mjtGeom.mjGEOM_BOX
    body.add_geom(name=name, type=box, pos=middle, size=half, mass=mass, contype=0, conaffinity=0)
