# SPDX-License-Identifier: Apache-2.0
"""Rigid-body model of waist and arms, for gravity torque (driver, guard) and for dynamics (simulated robot).

MuJoCo, from our own table of links; the pelvis is fixed. Degree of freedom 0 is the waist, 1..14 are the
arm joints. No collisions: the driver's limits keep to joint ranges, not to geometry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

import mujoco
import numpy as np
from numpy.typing import ArrayLike

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.arm_driver.kinematics import LEFT_ARM, RIGHT_ARM, TORSO, Link

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


@dataclass(frozen=True)
class ModelOptions:
    """What a model differs in from the bare table of links.

    Attributes:
        mass_scale: by link name, factor on mass and inertia; 1 where absent.
        payloads: by side, `"left"` and `"right"`.
        gravity: direction of gravity in the pelvis frame; need not be normalized.
        damping: viscous friction of each arm joint, N·m·s/rad.
        friction: dry friction of each arm joint, N·m.
        armature: rotor inertia as seen at each arm joint, kg·m².
        waist_damping, waist_friction, waist_armature: the same of the waist.
        timestep_s: of a simulation.
    """

    mass_scale: Mapping[str, float] = field(default_factory=dict)
    payloads: Mapping[str, Payload] = field(default_factory=dict)
    gravity: tuple[float, float, float] = DOWN
    damping: float = 0.0
    friction: float = 0.0
    armature: float = 0.01
    waist_damping: float = 0.0
    waist_friction: float = 0.0
    waist_armature: float = 0.01
    timestep_s: float = 0.002


def model_xml(options: ModelOptions) -> str:
    """MJCF of waist and arms. Bodies and joints are named as in the URDF; sites `left_wrist`, `right_wrist`."""
    gravity = np.asarray(options.gravity) / np.linalg.norm(options.gravity) * GRAVITY_M_S2
    arms = "".join(_chain(arm, side, options) for side, arm in zip(SIDES, (LEFT_ARM, RIGHT_ARM), strict=True))
    waist = (options.waist_damping, options.waist_friction, options.waist_armature)
    return (
        '<mujoco model="h1_2_arms"><compiler angle="radian" autolimits="true"/>'
        f'<option gravity="{_numbers(gravity)}" timestep="{options.timestep_s}" integrator="implicitfast">'
        '<flag contact="disable"/></option>'
        f'<worldbody><body name="pelvis">{_open(TORSO, waist, options)}{arms}</body></body></worldbody></mujoco>'
    )


def build_model(options: ModelOptions | None = None) -> mujoco.MjModel:
    """The compiled model: nq = nv = 15, waist first, then the arms in our order."""
    model = mujoco.MjModel.from_xml_string(model_xml(options or ModelOptions()))
    assert model.nv == 1 + COUNT
    return model


def _chain(arm: tuple[Link, ...], side: str, options: ModelOptions) -> str:
    dynamics = (options.damping, options.friction, options.armature)
    opened = "".join(_open(link, dynamics, options) for link in arm)
    payload = options.payloads.get(side, Payload())
    load = ""
    if payload.mass_kg > 0:
        inertia = 0.4 * payload.mass_kg * _PAYLOAD_RADIUS_M**2
        load = (
            f'<body name="{side}_payload" pos="{_numbers(payload.com_m)}">'
            f'<inertial pos="0 0 0" mass="{payload.mass_kg}" diaginertia="{_numbers([inertia] * 3)}"/></body>'
        )
    return f'{opened}<site name="{side}_wrist"/>{load}{"</body>" * len(arm)}'


def _open(link: Link, dynamics: tuple[float, float, float], options: ModelOptions) -> str:
    damping, friction, armature = dynamics
    scale = options.mass_scale.get(link.link, 1.0)
    half = link.roll_rad / 2
    quaternion = (np.cos(half), np.sin(half), 0.0, 0.0)
    limits = (link.lower_rad, link.upper_rad)
    return (
        f"<body name={quoteattr(link.link)} pos={_quoted(link.origin_m)} quat={_quoted(quaternion)}>"
        f"<inertial pos={_quoted(link.com_m)} mass={_quoted([link.mass_kg * scale])}"
        f" fullinertia={_quoted(np.asarray(link.inertia_kg_m2) * scale)}/>"
        f"<joint name={quoteattr(link.joint)} axis={_quoted(link.axis)} range={_quoted(limits)}"
        f' damping="{damping}" frictionloss="{friction}" armature="{armature}"/>'
    )


def _numbers(values: ArrayLike) -> str:
    return " ".join(f"{value:.12g}" for value in np.asarray(values, float))


def _quoted(values: ArrayLike) -> str:
    return f'"{_numbers(values)}"'


class GravityModel:
    """The torque that carries the arms against gravity; 15 µs a call.

    Args:
        payloads: by side, what the wrists carry.
        mass_scale: by link name, as in `ModelOptions`.
    """

    def __init__(self, payloads: Mapping[str, Payload] | None = None, mass_scale: Mapping[str, float] | None = None):
        self._model = build_model(ModelOptions(payloads=payloads or {}, mass_scale=mass_scale or {}))
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
