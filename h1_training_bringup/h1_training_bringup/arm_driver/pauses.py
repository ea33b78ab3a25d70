# SPDX-License-Identifier: Apache-2.0
"""Pauses of the driver's own process: it was stopped, swapped out, or not given a core.

While it paused, the guard may have taken over, and its word for that may still be on the way or lost. So after a pause
the driver asks the guard before it commands the arms again. After a long one it never does: the guard has the arms by
then, or takes them because of the silence, and whatever this process still knows of the arms is too old to act on.
"""

from __future__ import annotations

from enum import Enum, auto

from h1_training_bringup.arm_driver.trajectory import PERIOD_S

_PAUSE_NS = 50_000_000
"""The shortest silence after which a guard may be made to take over."""
_PATIENCE_PERIODS = round(1.0 / PERIOD_S)
"""A guard that lived would have answered by then, or taken over because of the silence.

Counted only while the robot is heard: a process that was stopped for a while may find itself deaf (its shared-memory
ports were given up by the others), and then no answer means nothing.
"""
_DEAF_PERIODS = round(3.0 / PERIOD_S)


class ProcessState(Enum):
    """How this process itself is doing."""

    RUNS = auto()
    ASKS = auto()
    """It waits for the guard's word."""
    UNANSWERED = auto()
    """The guard gave none; reported once, then it runs."""
    HUNG = auto()


class Pauses:
    """Looks at the time between two periods.

    Args:
        hung_ns: a pause after which there is no going on.

    Attributes:
        question: number of the question that is open, for whoever puts it; 0 if none is.
    """

    def __init__(self, hung_ns: int) -> None:
        self._hung_ns = hung_ns
        self._stepped_ns: int | None = None
        self._asked = 0
        self._waited_periods = self._asking_periods = 0
        self.question = 0

    @property
    def is_deaf(self) -> bool:
        """Whether the guard's word has been waited for so long, heard or not, that nothing will come of it."""
        return self._asking_periods > _DEAF_PERIODS

    def step(self, now_ns: int, *, has_arms: bool, hears_robot: bool) -> ProcessState:
        """One period.

        Args:
            now_ns: session time.
            has_arms: without them there is nothing to ask.
            hears_robot: a state of the robot came since the last period.
        """
        paused_ns = 0 if self._stepped_ns is None else now_ns - self._stepped_ns
        self._stepped_ns = now_ns
        if not has_arms:
            self.question = 0
            return ProcessState.RUNS
        if paused_ns > self._hung_ns:
            return ProcessState.HUNG
        if paused_ns > _PAUSE_NS:
            # An answer to an earlier question was given before this pause: it says nothing about it.
            self._asked += 1
            self.question, self._waited_periods = self._asked, 0
        if self.question == 0:
            self._asking_periods = 0
            return ProcessState.RUNS
        self._asking_periods += 1
        self._waited_periods += hears_robot
        if self._waited_periods > _PATIENCE_PERIODS:
            self.question = 0
            return ProcessState.UNANSWERED
        return ProcessState.ASKS

    def answered(self, question: int) -> bool:
        """The answer to `question` came; whether it is the one that is open, which it closes."""
        is_open = question == self.question
        if is_open:
            self.question = 0
        return is_open
