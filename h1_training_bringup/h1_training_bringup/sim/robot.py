# SPDX-License-Identifier: Apache-2.0
"""The simulated H1-2, without ROS: its body, its own controller, arm_sdk's share of the arms, and the state it reports.

It goes by a clock that is handed in. A late caller makes it catch up, but at most by `_CATCH_UP_STEPS`: what is more is
given up and counted, so that a busy machine makes the robot slower and never the process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.robot_model import gravity_direction
from h1_training_bringup.sim.robot_body import DOFS, STEP_NS, Dofs, MotorCommands, RobotBody, deviating_masses
from h1_training_bringup.sim.robot_command import ArmSdkInbox
from h1_training_bringup.sim.robot_faults import InjectedFaults, apply_fault
from h1_training_bringup.sim.robot_state import StateWriter, tilt_quaternion
from h1_training_bringup.sim.task import PUSH, TASKS
from h1_training_node.parameter import parameter

_CATCH_UP_STEPS = 50
OWN_POSE = np.array([0.0, *(0.12, 0.10, 0.0, 0.35, 0.0, 0.0, 0.0), *(0.12, -0.10, 0.0, 0.35, 0.0, 0.0, 0.0)])
"""(15,), rad: where the robot's own controller keeps waist and arms: upper arms hang, forearms point ahead."""
_OWN_POSE_ABOVE_TABLE = np.array([0.0, *(0.0, 0.10, *(0.0,) * 5), *(0.0, -0.10, *(0.0,) * 5)])
"""The same where there is a table that the hands meet."""
_ARM_KP, _ARM_KD = (120.0, 120.0, 80.0, 80.0, 50.0, 50.0, 50.0), (3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0)
_OWN_KP: Dofs = np.array([200.0, *_ARM_KP, *_ARM_KP])
_OWN_KD: Dofs = np.array([5.0, *_ARM_KD, *_ARM_KD])
"""Of its own controller; near unitree_sdk2:example/h1/high_level/h1_2_arm_sdk_dds_example.cpp."""


@dataclass(frozen=True)
class RobotParameters:
    """The simulated robot's parameters."""

    seed: int = parameter(0, "of masses, noise and demonstrations; another seed is another robot", low=0)
    mass_deviation: float = parameter(0.1, "masses differ from nominal by up to this share", low=0, high=0.5)
    friction_scale: float = parameter(1.0, "factor on the joints' dry and viscous friction", low=0, high=10)
    left_payload_kg: float = parameter(0.0, "what the left wrist carries", unit="kg", low=0, high=5)
    right_payload_kg: float = parameter(0.0, "what the right wrist carries", unit="kg", low=0, high=5)
    mode_machine: int = parameter(6, "the robot's type in LowState", low=0, high=255)
    arm_sdk_timeout: str = parameter(
        "none",
        "what silence on arm_sdk does, which is not known of a real H1-2: none, the last command stands; "
        "ramp, the robot's own controller has the arms again within 2 s",
        choices=("none", "ramp"),
    )
    person: bool = parameter(True, "a person guides the arms in DAMPING")
    task: str = parameter("reach", "what there is to do; only to push, the hands meet table and cube", choices=TASKS)
    person_force_n: float = parameter(30.0, "greatest force of the person at a wrist", unit="N", low=0, high=60)


class SimulatedRobot:
    """One robot, advanced by whoever holds it.

    Args:
        parameters: see `RobotParameters`.
        now_ns: when it begins to live; any clock that `advance` is called with too.

    Attributes:
        inbox: where arm_sdk samples go.
        body: waist and arms.
        lost_ns: time given up because the caller was too late.
    """

    def __init__(self, parameters: RobotParameters, now_ns: int) -> None:
        self.inbox = ArmSdkInbox(parameters.mode_machine, ramps_down=parameters.arm_sdk_timeout == "ramp")
        self._payloads_kg = (parameters.left_payload_kg, parameters.right_payload_kg)
        masses = deviating_masses(parameters.seed, parameters.mass_deviation)
        pushes = parameters.task == PUSH
        self._own_pose = _OWN_POSE_ABOVE_TABLE if pushes else OWN_POSE
        self.body = RobotBody(self._own_pose, masses, parameters.friction_scale, self._payloads_kg, pushes=pushes)
        self.lost_ns = 0
        self._writer = StateWriter(parameters.mode_machine, parameters.seed)
        self._begin_ns = now_ns
        self._steps = 0
        self._faults = InjectedFaults()
        self._samples = 0
        self._last_sample: bytes | None = None

    def inject(self, line: str) -> None:
        """Cause a fault, see `robot_faults`.

        Raises:
            FaultError: no such fault.
        """
        before = dict(self._faults.payload_kg)
        self._faults = apply_fault(self._faults, line)
        for side in before.keys() | self._faults.payload_kg.keys():
            extra_kg = self._faults.payload_kg.get(side, 0.0)
            if extra_kg != before.get(side, 0.0):
                self.body.set_payload(side, self._payloads_kg[side] + extra_kg)
        self.body.set_stuck(self._faults.stuck)
        down = gravity_direction(tilt_quaternion(self._faults.anomalies.tilt_rad))
        assert down is not None
        self.body.set_gravity(down)

    def advance(self, now_ns: int, person_n: NDArray[np.float64] | None = None) -> None:
        """Live on until `now_ns`. `person_n`: (2, 3), N, what a person does at the wrists meanwhile."""
        due = (now_ns - self._begin_ns) // STEP_NS - self._steps
        if due > _CATCH_UP_STEPS:
            given_up = due - _CATCH_UP_STEPS
            self.lost_ns += given_up * STEP_NS
            self._begin_ns += given_up * STEP_NS
            due = _CATCH_UP_STEPS
        if due <= 0:
            return
        self.body.pull(self._faults.push_n if person_n is None else self._faults.push_n + person_n)
        self.inbox.advance(now_ns)
        self.body.command(self._effective_command())
        self.body.step(due)
        self._steps += due

    def state_sample(self) -> bytes | None:
        """The LowState of this instant as CDR bytes, or None where a fault keeps it back."""
        self._samples += 1
        if self._faults.silent or self._samples % self._faults.state_divisor:
            return None
        body = self.body
        if self._last_sample is None or not self._faults.repeats:
            self._last_sample = self._writer.sample(
                body.q, body.dq, body.ddq, body.tau, self._steps, self._faults.anomalies
            )
        return self._last_sample

    def _effective_command(self) -> MotorCommands:
        """weight · arm_sdk + (1 - weight) · own controller, as torques; the latter knows its own masses."""
        weight, asked = self.inbox.weight, self.inbox.motors
        own_tau = self.body.carrying_torque + _OWN_KP * self._own_pose
        asked_tau = asked.tau + asked.kp * asked.q + asked.kd * asked.dq
        works: Dofs = np.where(self._faults.anomalies.disabled, 0.0, 1.0)
        return MotorCommands(
            q=np.zeros(DOFS),
            dq=np.zeros(DOFS),
            tau=works * (weight * asked_tau + (1 - weight) * own_tau),
            kp=works * (weight * asked.kp + (1 - weight) * _OWN_KP),
            kd=works * (weight * asked.kd + (1 - weight) * _OWN_KD),
        )
