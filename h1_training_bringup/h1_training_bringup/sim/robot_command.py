# SPDX-License-Identifier: Apache-2.0
"""What arrives at the simulated robot on arm_sdk: checked, then latched.

What a real H1-2 does when commands stop is not known: accounts of a G1 say that the last one stands, and that the
weight is ramped down. Both can be had here, and the arm driver has to be safe with both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, WAIST_MOTOR, WEIGHT_MOTOR
from h1_training_bringup.arm_driver.wire import CrcError, Record, WireError, decode_low_cmd
from h1_training_bringup.sim.robot_body import MotorCommands

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
