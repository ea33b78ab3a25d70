# SPDX-License-Identifier: Apache-2.0
"""What forces the arms into DAMPING, remembered until a person has acknowledged it, and how driver and guard say so.

A `Notice` is for people to read; a `RequestResult` is the answer to whoever asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from h1_training_bringup.arm_driver.joints import NAMES
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_node.message_numbers import Level

EMERGENCY_STOP = "emergency_stop"
GUARD_TOOK_OVER = "guard_took_over"
DRIVER_HUNG = "driver_hung"
GUARD_LOST = "guard_lost"
OVERHEATED = "overheated"
ROBOT_LOST = "robot_lost"
ROBOT_FROZEN = "robot_frozen"
FOREIGN_COMMANDER = "foreign_commander"

UNSEEN = (ROBOT_LOST, ROBOT_FROZEN)
"""Faults in which nothing is known of where the arms are: the torque fades, then nothing is sent."""

RELEASED_BY = {
    GUARD_TOOK_OVER: "arm_guard/release",
    DRIVER_HUNG: "arm_guard/release",
    EMERGENCY_STOP: "arm_driver/release",
}
"""Stops after which the arms stay in DAMPING until a person calls this service; no program may call it by itself.

Of several the first here counts: a driver that is silent for good releases nothing, whatever stopped it before.
"""

_BY_THE_GUARD = "the arm guard sees to the arms: arm_guard/release releases them; then start the session again"
_NOT_ACKNOWLEDGED = {
    GUARD_TOOK_OVER: _BY_THE_GUARD,
    DRIVER_HUNG: _BY_THE_GUARD,
    EMERGENCY_STOP: "it ends only by releasing the arms: arm_driver/release",
    GUARD_LOST: "nobody would see to the arms if this driver died: arm_driver/release, then start the session again",
}
"""Of several the first here is answered."""
_MOST_CAUSES = 8


@dataclass(frozen=True)
class Notice:
    """Something that a person should read: `reason` in snake_case, `detail` one line."""

    level: Level
    reason: str
    detail: str


def release_warning(seconds: float) -> Notice:
    """The warning `seconds` before arm control is released."""
    text = f"in {seconds:.0f} s the arms return to the robot's own controller, which moves them: stand clear"
    return Notice(Level.WARN, "release_warning", text)


@dataclass(frozen=True)
class RequestResult:
    """Whether a request is accepted; if not, `reason` is `name: what is so, and what to do`."""

    accepted: bool
    reason: str = ""


ACCEPTED = RequestResult(True)
NOT_RELEASED_BLIND = RequestResult(
    False,
    "robot_lost: nobody would see where the arms go; bring the robot's state back first; Ctrl+C ends the session",
)


def refused(reason: str) -> RequestResult:
    """The answer to a request that is not possible now."""
    return RequestResult(False, reason)


class Faults:
    """Latched faults, in the order in which they came up."""

    def __init__(self) -> None:
        self._latched: dict[str, str] = {}
        self._present: Mapping[str, str] = {}
        self._causes: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._latched)

    def __contains__(self, reason: str) -> bool:
        return reason in self._latched

    @property
    def unseen(self) -> str:
        """The reason of `UNSEEN` that is among them; empty if none is."""
        return next((reason for reason in self._latched if reason in UNSEEN), "")

    @property
    def first(self) -> str:
        """Reason of the oldest fault; empty if there is none."""
        return next(iter(self._latched), "")

    def update(self, present: Mapping[str, str]) -> dict[str, str]:
        """The conditions that hold now, reason to detail; returns those that are new."""
        self._present = present
        if not present:
            return {}
        new = {reason: detail for reason, detail in present.items() if reason not in self._latched}
        self._latched.update(new)
        return new

    def latch(self, reason: str, detail: str) -> bool:
        """A fault without a lasting condition; False if it is latched already."""
        if reason in self._latched:
            return False
        self._latched[reason] = detail
        return True

    def latch_cause(self, reason: str, detail: str) -> bool:
        """A fault that several may cause, each worth a word; False if this `detail` was there already."""
        cause = f"{reason}: {detail}"
        if self.latch(reason, detail):
            self._causes = {cause}
            return True
        if cause in self._causes or len(self._causes) >= _MOST_CAUSES:
            return False
        self._causes.add(cause)
        return True

    def acknowledge(self) -> str:
        """Forget what is over; returns why not, or an empty string."""
        for reason, way_out in _NOT_ACKNOWLEDGED.items():
            if reason in self._latched:
                return f"{reason}: {way_out}"
        for reason in self._latched:
            if reason in self._present:
                return f"{reason}: it lasts: {self._present[reason]}"
        self._latched.clear()
        return ""

    def clear(self) -> None:
        """The arms were released: nothing is left to acknowledge."""
        self._latched.clear()


class Temperatures:
    """The hottest motor against four steps; a step is left 3 °C below where it was entered.

    Args:
        warn, no_policy, damping, critical: °C, rising.
    """

    _HYSTERESIS = 3

    def __init__(self, warn: int, no_policy: int, damping: int, critical: int) -> None:
        self._steps = (warn, no_policy, damping, critical)
        self._texts = (
            "motors get warm",
            f"POLICY is refused until all are below {no_policy - self._HYSTERESIS} °C",
            "the arms are in DAMPING; guide them to a pose in which they hang",
            "the arms will sink slowly now: stand clear, support them",
        )
        self._step = 0
        self.text = ""

    @property
    def forbids_policy(self) -> bool:
        return self._step >= 2

    @property
    def forces_damping(self) -> bool:
        return self._step >= 3

    @property
    def is_critical(self) -> bool:
        return self._step >= 4

    def update(self, sensed: Sensed) -> Notice | None:
        """The newest reading; a notice when a higher step was reached."""
        temperature = sensed.temperature
        value = max(temperature)
        hottest = temperature.index(value)
        before = self._step
        while self._step < len(self._steps) and value >= self._steps[self._step]:
            self._step += 1
        while self._step and value < self._steps[self._step - 1] - self._HYSTERESIS:
            self._step -= 1
        self.text = f"{NAMES[hottest]} at {value} °C"
        if self._step <= before:
            return None
        level = Level.WARN if self._step < 3 else Level.ERROR
        reason = ("motor_warm", "motor_hot", OVERHEATED, "overheated_critical")[self._step - 1]
        return Notice(level, reason, f"{self.text}: {self._texts[self._step - 1]}")


class Heartbeat:
    """Session or guard is alive while its sequence number advances.

    Args:
        timeout_ns: without an advance for so long, it is lost.

    Attributes:
        advances: how often the number has advanced.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._seq: int | None = None
        self._advanced_ns: int | None = None
        self.advances = 0

    @property
    def was_seen(self) -> bool:
        """Whether it ever advanced."""
        return self._advanced_ns is not None

    def receive(self, now_ns: int, seq: int) -> None:
        """A message arrived; a repeated or lower number shows no life, but a restart counts on from it."""
        if self._seq is not None and seq > self._seq:
            self._advanced_ns = now_ns
            self.advances += 1
        self._seq = seq

    def is_alive(self, now_ns: int) -> bool:
        return self._advanced_ns is not None and now_ns - self._advanced_ns <= self._timeout_ns
