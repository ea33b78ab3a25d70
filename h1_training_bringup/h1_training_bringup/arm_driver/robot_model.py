# SPDX-License-Identifier: Apache-2.0
"""Rigid-body model of waist and arms, for gravity torque (driver, guard) and for dynamics (simulated robot).

MuJoCo, from our URDF; the pelvis is fixed. Degree of freedom 0 is the waist, 1..14 are the arm joints. No collisions:
those are looked at with other shapes (`collision_model`, the simulated table).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from h1_training_bringup.arm_driver.joints import COUNT, URDF, Joints

GRAVITY_M_S2 = 9.81
DOWN = (0.0, 0.0, -1.0)
"""Direction of gravity for an upright robot."""
SIDES = ("left", "right")
_PAYLOAD_RADIUS_M = 0.04


@dataclass(frozen=True)
class Payload:
    """What a wrist carries: a hand, a tool, an object.

    Attributes:
        mass_kg: 0 for the bare wrist.
        com_m: centre of mass in the frame of the side's wrist_yaw_link; +x leads to the fingers.
    """

    mass_kg: float = 0.0
    com_m: tuple[float, float, float] = (0.09, 0.0, 0.0)


def model_spec(
    payloads: Mapping[str, Payload] | None = None, mass_scale: Mapping[str, float] | None = None
) -> mujoco.MjSpec:
    """Waist and arms as the URDF has them, without contacts; named as there. Compiled: nq = nv = 15, waist first.

    Args:
        payloads: by side, `"left"` and `"right"`, what the wrists carry.
        mass_scale: by link name, factor on mass and inertia; 1 where absent.
    """
    spec = mujoco.MjSpec.from_file(str(URDF))
    spec.compiler.fusestatic = False  # a payload stays a body, and the wrist's centre of mass where it is
    for body in reversed(spec.bodies):
        if not body.joints and body.name not in ("world", "pelvis"):
            spec.delete(body)  # the frames of sensors
    spec.option.gravity = (0.0, 0.0, -GRAVITY_M_S2)
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags = mujoco.mjtDisableBit.mjDSBL_CONTACT
    for name, scale in (mass_scale or {}).items():
        body = spec.body(name)
        body.mass *= scale
        body.fullinertia *= scale
    for side, payload in (payloads or {}).items():
        if payload.mass_kg > 0:
            load = spec.body(f"{side}_wrist_yaw_link").add_body(name=f"{side}_payload")
            load.explicitinertial, load.mass, load.ipos = True, payload.mass_kg, payload.com_m
            load.inertia = [0.4 * payload.mass_kg * _PAYLOAD_RADIUS_M**2] * 3
    return spec


class GravityModel:
    """The torque that carries the arms against gravity; 15 µs a call.

    Args:
        payloads, mass_scale: as in `model_spec`.
    """

    def __init__(self, payloads: Mapping[str, Payload] | None = None, mass_scale: Mapping[str, float] | None = None):
        self._model = model_spec(payloads, mass_scale).compile()
        self._data = mujoco.MjData(self._model)
        self._torque = np.zeros(1 + COUNT)
        self._gravity, self._qpos = self._model.opt.gravity, self._data.qpos  # views

    def gravity_torque(self, q: ArrayLike, waist: float, gravity_dir: ArrayLike = DOWN) -> Joints:
        """Joint torque, N·m, shape (14,), that holds the arms still.

        Args:
            q: (14,), rad, measured.
            waist: rad.
            gravity_dir: unit vector of gravity in the pelvis frame.
        """
        model, data = self._model, self._data
        self._gravity[:] = gravity_dir
        self._gravity *= GRAVITY_M_S2
        self._qpos[0] = waist
        self._qpos[1:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_rne(model, data, 0, self._torque)
        return self._torque[1:].copy()


def gravity_direction(quaternion: Iterable[float]) -> tuple[float, float, float] | None:
    """Gravity's direction in the frame of an IMU, or None if the quaternion is none.

    Args:
        quaternion: (w, x, y, z), rotation from the IMU's frame to an upright one's.
    """
    w, x, y, z = quaternion
    norm = w * w + x * x + y * y + z * z
    if not 0.9 < norm < 1.1:  # also false for NaN
        return None
    scale = 1 / norm
    return 2 * scale * (w * y - x * z), -2 * scale * (y * z + w * x), scale * (x * x + y * y - w * w - z * z)
