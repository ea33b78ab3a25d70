# SPDX-License-Identifier: Apache-2.0
"""The weight of arm_sdk: how arm control is acquired from the robot's own controller, and released to it."""

from __future__ import annotations

from enum import Enum, auto

from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_node.clock import NS_PER_S


class HandoverPhase(Enum):
    """What happens to the weight."""

    IDLE = auto()
    WAITING = auto()
    """The arms are asked for; the robot's state must first be good for a while."""
    RISING = auto()
    WARNING = auto()
    """The arms will be released; people have time to step away."""
    FALLING = auto()


class Handover:
    """The weight over time. It moves by the period and not by the clock: a late loop makes a slower ramp.

    Args:
        limit: the weight to take.
        rise_s: from 0 to `limit`.
        fall_s: to 0, from whatever weight there is.
        warning_s: from the warning to the fall.
    """

    def __init__(self, limit: float, rise_s: float, warning_s: float, fall_s: float) -> None:
        self._limit = limit
        self._rise, self._fall_periods = limit * PERIOD_S / rise_s, fall_s / PERIOD_S
        self._fall = 0.0
        self._warning_ns = round(warning_s * NS_PER_S)
        self._since_ns = 0
        self.weight = 0.0
        self.phase = HandoverPhase.IDLE

    @property
    def is_acquiring(self) -> bool:
        return self.phase in (HandoverPhase.WAITING, HandoverPhase.RISING)

    @property
    def is_releasing(self) -> bool:
        return self.phase in (HandoverPhase.WARNING, HandoverPhase.FALLING)

    def release_countdown_s(self, now_ns: int) -> float:
        """Time until an announced release begins to move the arms; 0 if none is announced."""
        if self.phase is not HandoverPhase.WARNING:
            return 0.0
        return max(self._warning_ns - self.waited_ns(now_ns), 0) / NS_PER_S

    def waited_ns(self, now_ns: int) -> int:
        """How long the present phase has lasted."""
        return now_ns - self._since_ns

    def begin(self, phase: HandoverPhase, now_ns: int) -> None:
        """Enter `phase`; the weight goes on from where it is."""
        self.phase, self._since_ns = phase, now_ns

    def step(self, now_ns: int) -> bool:
        """One period. True in the one in which the present ramp is done."""
        if self.phase is HandoverPhase.RISING:
            self.weight = min(self.weight + self._rise, self._limit)
            if self.weight >= self._limit:
                self.phase = HandoverPhase.IDLE
                return True
        elif self.phase is HandoverPhase.WARNING and self.waited_ns(now_ns) >= self._warning_ns:
            self._fall = self.weight / self._fall_periods
            self.begin(HandoverPhase.FALLING, now_ns)
        elif self.phase is HandoverPhase.FALLING:
            self.weight = max(self.weight - self._fall, 0.0)
            if self.weight == 0.0:
                self.phase = HandoverPhase.IDLE
                return True
        return False
