# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's waist and arms as a rigid body with motors, dry friction and rotor inertia.

Masses differ from the nominal ones, as a real robot's differ from its URDF. The motors' law is that of the robot,
tau = kp (q - q_m) + kd (dq - dq_m) + tau_ff (unitree_sdk2:example/h1/README.md), clamped to the motor's torque. It is
given to MuJoCo as affine actuators: the integrator then treats kd implicitly, and light wrists stay stable under it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from h1_training_bringup.arm_driver.joints import ARMS, COUNT, TORSO
from h1_training_bringup.arm_driver.robot_model import GRAVITY_M_S2, SIDES, Payload, model_spec
from h1_training_bringup.sim.scene import GRASP_IN_WRIST_M, SceneObject
from h1_training_bringup.sim.table import CUBE_DOFS, Cube, add_table

DOFS = 1 + COUNT
"""Waist, then left 7, then right 7: motors 12..26."""
STEP_NS = 1_000_000
"""Physics at 1 kHz."""

_WAIST_FRICTION_NM, _WAIST_VISCOUS = 3.0, 2.0
_ARM_FRICTION_NM = (0.8, 0.8, 0.5, 0.5, 0.2, 0.2, 0.2)
_ARM_VISCOUS = (0.3, 0.3, 0.2, 0.2, 0.05, 0.05, 0.05)
"""N·m and N·m·s/rad, shoulder to wrist. No public source: moderate values for geared motors of this size."""
_WAIST_ARMATURE, _ARM_ARMATURE = 0.05, 0.01
_FRICTION_IMPEDANCE = (0.995, 0.999)
"""MuJoCo's dry friction is soft: with its default of 0.9 joints creep under loads that no gear yields to."""
_STUCK_VISCOUS = 1e6

Dofs = NDArray[np.float64]
"""Shape (15,)."""


def deviating_masses(seed: int, deviation: float) -> dict[str, float]:
    """Factors on the links' masses, uniform in 1 ± `deviation`, by link name; the same for the same seed."""
    random = np.random.default_rng([3, seed])
    names = (TORSO.link, *(link.link for link in ARMS))
    return {name: float(random.uniform(1 - deviation, 1 + deviation)) for name in names}


@dataclass
class MotorCommands:
    """What the motors of waist and arms are asked for; each of shape (15,)."""

    q: Dofs = field(default_factory=lambda: np.zeros(DOFS))
    dq: Dofs = field(default_factory=lambda: np.zeros(DOFS))
    tau: Dofs = field(default_factory=lambda: np.zeros(DOFS))
    kp: Dofs = field(default_factory=lambda: np.zeros(DOFS))
    kd: Dofs = field(default_factory=lambda: np.zeros(DOFS))


class RobotBody:
    """Waist and arms; the pelvis stands still.

    Args:
        q: (15,), rad, where they begin, at rest.
        mass_scale: by link name.
        friction_scale: factor on dry and viscous friction.
        payloads_kg: what the left and the right wrist carry from the start.
        pushes: there is a table with a cube on it, and the hands meet both (`table.py`); else nothing meets anything.
    """

    def __init__(
        self,
        q: Dofs,
        mass_scale: dict[str, float] | None = None,
        friction_scale: float = 1.0,
        payloads_kg: tuple[float, float] = (0.0, 0.0),
        *,
        pushes: bool = False,
    ) -> None:
        self._pushes = pushes
        self._mass_scale = mass_scale or {}
        self._friction_nm = friction_scale * np.array([_WAIST_FRICTION_NM, *_ARM_FRICTION_NM, *_ARM_FRICTION_NM])
        self._viscous = friction_scale * np.array([_WAIST_VISCOUS, *_ARM_VISCOUS, *_ARM_VISCOUS])
        self._payloads_kg = list(payloads_kg)
        self._stuck = np.zeros(DOFS, bool)
        self._gravity_direction = np.array([0.0, 0.0, -1.0])
        self._build()
        self._data.qpos[:DOFS] = q
        mujoco.mj_forward(self._model, self._data)

    def _build(self) -> None:
        payloads = {side: Payload(kg) for side, kg in zip(SIDES, self._payloads_kg, strict=True)}
        self._model = _with_motors(model_spec(payloads, self._mass_scale), self._pushes)
        self._data = mujoco.MjData(self._model)
        self._wrists = np.array([self._model.body(f"{side}_wrist_yaw_link").id for side in SIDES])
        self._model.opt.gravity[:] = self._gravity_direction * GRAVITY_M_S2
        self._set_friction()

    def _set_friction(self) -> None:
        self._model.dof_frictionloss[:DOFS] = self._friction_nm
        self._model.dof_solimp[:DOFS, :2] = _FRICTION_IMPEDANCE
        self._model.dof_damping[:DOFS] = np.where(self._stuck, _STUCK_VISCOUS, self._viscous)

    @property
    def q(self) -> Dofs:
        """Measured angles, rad."""
        return np.asarray(self._data.qpos[:DOFS])

    @property
    def dq(self) -> Dofs:
        """Measured speeds, rad/s."""
        return np.asarray(self._data.qvel[:DOFS])

    @property
    def ddq(self) -> Dofs:
        """rad/s²."""
        return np.asarray(self._data.qacc[:DOFS])

    @property
    def tau(self) -> Dofs:
        """What the motors did in the last step, N·m."""
        return np.asarray(self._data.actuator_force)

    @property
    def carrying_torque(self) -> Dofs:
        """What holds this very body against gravity (and moves it along), N·m, as of the last step."""
        return np.asarray(self._data.qfrc_bias[:DOFS])

    @property
    def wrists(self) -> NDArray[np.float64]:
        """Positions of both wrists' centres of mass, (2, 3), m, pelvis frame."""
        return np.asarray(self._data.xipos[self._wrists])

    @property
    def hands(self) -> NDArray[np.float64]:
        """Middles of both hands, (2, 3), m, pelvis frame."""
        turns = self._data.xmat[self._wrists].reshape(-1, 3, 3)
        return np.asarray(self._data.xpos[self._wrists] + turns @ GRASP_IN_WRIST_M)

    @property
    def hands_let_go(self) -> NDArray[np.float64]:
        """Where the hands come to be once nobody pulls: the waist, which gives way, is straight again."""
        cosine, sine = np.cos(self._data.qpos[0]), np.sin(self._data.qpos[0])
        straightened = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return np.asarray(self.hands @ straightened.T)

    @property
    def cube(self) -> Cube:
        """Where the cube is now; only of a body that `pushes`."""
        return Cube.of(self._data)

    def put(self, thing: SceneObject) -> None:
        """Put the cube where `thing` is, at rest; only of a body that `pushes`."""
        Cube.put(self._data, thing)
        mujoco.mj_forward(self._model, self._data)

    def command(self, motors: MotorCommands) -> None:
        """Ask this of the motors from now on."""
        self._data.ctrl[:] = motors.kp * motors.q + motors.kd * motors.dq + motors.tau
        self._model.actuator_biasprm[:, 1] = -motors.kp
        self._model.actuator_biasprm[:, 2] = -motors.kd

    def pull(self, forces: NDArray[np.float64]) -> None:
        """Pull at the wrists from now on with `forces`, (2, 3), N, pelvis frame."""
        self._data.xfrc_applied[self._wrists, :3] = forces

    def step(self, count: int) -> None:
        """Go on by `count` steps of `STEP_NS`."""
        mujoco.mj_step(self._model, self._data, count)

    def place(self, q: Dofs) -> None:
        """Be at `q`, (15,), rad, at rest, at once."""
        self._data.qpos[:DOFS], self._data.qvel[:] = q, 0.0
        mujoco.mj_forward(self._model, self._data)

    def set_gravity(self, direction: ArrayLike) -> None:
        """Let gravity point along the unit vector `direction`, pelvis frame: the robot has tilted."""
        self._gravity_direction = np.asarray(direction, float)
        self._model.opt.gravity[:] = self._gravity_direction * GRAVITY_M_S2

    def set_payload(self, side: int, mass_kg: float) -> None:
        """Put `mass_kg` (in all) onto the wrist of `side`, 0 left or 1 right, without stopping its motion."""
        before, ctrl, bias = self._data, self._data.ctrl.copy(), self._model.actuator_biasprm.copy()
        self._payloads_kg[side] = mass_kg
        self._build()
        self._data.qpos[:], self._data.qvel[:], self._data.time = before.qpos, before.qvel, before.time
        self._data.ctrl[:] = ctrl
        self._model.actuator_biasprm[:] = bias
        mujoco.mj_forward(self._model, self._data)

    def set_stuck(self, stuck: NDArray[np.bool_]) -> None:
        """Jam the joints that are true in `stuck`, (15,); free the others."""
        self._stuck = stuck.copy()
        self._set_friction()


def _with_motors(spec: mujoco.MjSpec, pushes: bool) -> mujoco.MjModel:
    """The model with one affine actuator a joint, in the joints' order; after them the cube, if it `pushes` one."""
    spec.option.timestep = STEP_NS / 1e9
    for link in (TORSO, *ARMS):
        joint = spec.joint(link.joint)
        joint.armature = _WAIST_ARMATURE if link is TORSO else _ARM_ARMATURE
        joint.actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE  # it is the motor that is limited, below
        motor = spec.add_actuator(name=link.joint, target=link.joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        motor.gainprm[0] = 1.0
        motor.forcelimited, motor.forcerange = True, [-link.effort_nm, link.effort_nm]
    if pushes:
        add_table(spec)
    model = spec.compile()
    assert model.nu == DOFS and model.nv == DOFS + (CUBE_DOFS if pushes else 0)
    return model
