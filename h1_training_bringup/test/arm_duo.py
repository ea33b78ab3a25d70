# SPDX-License-Identifier: Apache-2.0
"""Driver and guard on one simulated robot, in virtual time: what both do when one stands still, dies, or ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arm_builders import MS, Rig

from h1_training_bringup.arm_driver.command import ArmCommand
from h1_training_bringup.arm_driver.guard import ArmGuard
from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.parameters import GuardParameters

_WATCH_EVERY = 5
"""Periods of the driver, 20 ms."""


@dataclass
class Duo(Rig):
    """A `Rig` whose robot is heard, and whose commands are overheard, by the guard.

    Attributes:
        driver_runs: its process gets time; the guard's always does.
        guard_sent: what the guard has sent, with its time.
        gravity_at_first: (14,), N·m, what carried the arms at its first command.
    """

    driver_runs: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.guard = ArmGuard(self.joints, GuardParameters())
        self.guard_answers = False  # by the rig, which has no guard; see `tick`
        self.guard_sent: list[tuple[int, ArmCommand]] = []
        self.guard_notices: list[str] = []
        receive = self.intake.receive

        def both_receive(sample: bytes, at_ns: int) -> None:
            receive(sample, at_ns)
            self.guard.intake.receive(sample, at_ns)

        self.intake.receive = both_receive  # type: ignore[method-assign]
        self.gravity_at_first = np.zeros(COUNT)

    def tick(self) -> None:
        if self.driver_runs and not self.controller.has_ended:
            super().tick()
            if self.command is not None:
                self.guard.observe(self._encoder.encode(self.command))
            if question := self.controller.question:
                self.controller.guard_answered(self.now_ns, question, is_watching=self.guard.is_asked())
            if self.guard.has_taken_over:
                self.controller.yield_to_guard(self.now_ns)
        else:
            self._live_on()
        self._tick_guard()

    def _live_on(self) -> None:
        """Four milliseconds without a driver."""
        for _ in range(2):
            self.now_ns += 2 * MS
            self.robot.advance(self.now_ns, self.person)
            if (sample := self.robot.state_sample()) is not None:
                self.intake.receive(sample, self.now_ns)
        self._ticks += 1

    def _tick_guard(self) -> None:
        if self.guard.has_ended:
            return
        if not self.guard.has_taken_over and self._ticks % _WATCH_EVERY == 0:
            self.guard.check(self.now_ns)
        if self.guard.has_taken_over and not self.guard_sent:
            sensed = self.guard.intake.latest()
            assert sensed is not None
            self.gravity_at_first = self.controller._gravity(sensed)
        if self.guard.has_taken_over and (command := self.guard.command(self.now_ns)) is not None:
            self.guard_sent.append((self.now_ns, command))
            self.robot.inbox.take(self._encoder.encode(command), self.now_ns)
        self.guard_notices += [notice.reason for notice in self.guard.notices]
        self.guard.notices.clear()

    def pause(self, seconds: float) -> None:
        """The driver's process stands still for so long."""
        self.driver_runs = False
        self.run(seconds)
        self.driver_runs = True

    def end(self) -> None:
        """The session ends: both are asked, as Ctrl+C does; a driver that stands still does not notice."""
        if self.driver_runs:
            self.controller.end(self.now_ns, "ending_sigint")
        self.guard.end(self.now_ns)
