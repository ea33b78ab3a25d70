# SPDX-License-Identifier: Apache-2.0
"""The simulated H1-2, without ROS: its body, its own controller, arm_sdk's share of the arms, and the state it reports.

It goes by a clock that is handed in. A late caller makes it catch up, but at most by `_CATCH_UP_STEPS`: what is more is
given up and counted, so that a busy machine makes the robot slower and never the process.

What a real H1-2 does when commands stop is not known: accounts of a G1 say that the last one stands, and that the
weight is ramped down. Both can be had here, and the arm driver has to be safe with both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT, WAIST_MOTOR, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.robot_model import gravity_direction
from h1_training_bringup.arm_driver.wire import CrcError, Record, WireError, decode_low_cmd
from h1_training_bringup.sim.robot_body import DOFS, STEP_NS, Dofs, MotorCommands, RobotBody, deviating_masses
from h1_training_bringup.sim.robot_faults import InjectedFaults, apply_fault
from h1_training_bringup.sim.robot_state import StateWriter, tilt_quaternion
from h1_training_bringup.sim.task import PUSH, TASKS
from h1_training_node.parameter import parameter

_MOTORS = slice(WAIST_MOTOR, WAIST_MOTOR + 1 + COUNT)
_FIELDS = ("q", "dq", "tau", "kp", "kd")
_SILENT_AFTER_NS, _RAMP_NS = 500_000_000, 1_500_000_000
"""With `ramps_down`: silence from here on, and the time from all of the weight to none."""
_BURST_GAP_NS = 1_000_000_000
"""Refusals closer together than this are one burst, and are said once."""


@dataclass
class CommandCounters:
    """How many commands came, and why some were refused; since the start."""

    accepted: int = 0
    wrong_crc: int = 0
    malformed: int = 0
    not_finite: int = 0
    foreign_mode_machine: int = 0


class ArmSdkInbox:
    """Takes arm_sdk samples as they come off the wire.

    Args:
        mode_machine: the robot's own; a command that echoes another one is obeyed, but said.
        ramps_down: silence returns the arms to the robot's own controller.

    Attributes:
        motors: the last command accepted, waist and arms.
        weight: its share of the arms, 0..1.
        counters: see `CommandCounters`.
    """

    def __init__(self, mode_machine: int, *, ramps_down: bool = False) -> None:
        self._mode_machine = mode_machine
        self._ramps_down = ramps_down
        self._received_ns = self._advanced_ns = 0
        self._last_complaint_ns: dict[str, int] = {}
        self.motors = MotorCommands()
        self.weight = 0.0
        self.counters = CommandCounters()

    @property
    def is_compliant(self) -> bool:
        """The last command lets a person move the arms: no stiffness, some damping, and a weight."""
        kp, kd = self.motors.kp[1:], self.motors.kd[1:]
        return self.weight > 0 and not kp.any() and bool((kd > 0).any())

    def advance(self, now_ns: int) -> None:
        """Time goes on until `now_ns`, whether commands come or not."""
        passed_ns, self._advanced_ns = now_ns - self._advanced_ns, now_ns
        if self._ramps_down and now_ns - self._received_ns > _SILENT_AFTER_NS:
            self.weight = max(self.weight - passed_ns / _RAMP_NS, 0.0)

    def take(self, sample: bytes, now_ns: int) -> str | None:
        """Accept a command or refuse it whole; the previous one then stays.

        Returns:
            A line for the log at the first refusal of a burst, else None.
        """
        try:
            record = decode_low_cmd(sample)
        except CrcError as error:
            self.counters.wrong_crc += 1
            return self._once("wrong_crc", f"arm_sdk command refused, wrong CRC: {error}", now_ns)
        except WireError as error:
            self.counters.malformed += 1
            return self._once("malformed", f"arm_sdk command refused: {error}", now_ns)
        fields = {name: record["motor_cmd"][name][_MOTORS].astype(float) for name in _FIELDS}
        weight = float(record["motor_cmd"]["q"][WEIGHT_MOTOR])
        if not (np.isfinite(weight) and all(np.isfinite(values).all() for values in fields.values())):
            self.counters.not_finite += 1
            return self._once("not_finite", "arm_sdk command refused: it has numbers that are not finite", now_ns)
        self.motors, self._received_ns = MotorCommands(**fields), now_ns
        self.weight = min(max(weight, 0.0), 1.0)
        self.counters.accepted += 1
        return self._check_mode_machine(record, now_ns)

    def _check_mode_machine(self, record: Record, now_ns: int) -> str | None:
        got = int(record["mode_machine"])
        if got == self._mode_machine:
            return None
        self.counters.foreign_mode_machine += 1
        text = f"arm_sdk command has mode_machine {got}, the robot's is {self._mode_machine}; obeyed all the same"
        return self._once("mode_machine", text, now_ns)

    def _once(self, kind: str, text: str, now_ns: int) -> str | None:
        last = self._last_complaint_ns.get(kind)
        self._last_complaint_ns[kind] = now_ns
        return text if last is None or now_ns - last > _BURST_GAP_NS else None


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
