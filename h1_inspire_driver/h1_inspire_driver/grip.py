# SPDX-License-Identifier: Apache-2.0
"""What is to be written to the fingers, and when: the newest command while it is fresh, or "stay where you are".

Pure decisions; the hand's thread asks, and reports what it has written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from h1_inspire_driver.registers import ANGLE_UNITS, FINGERS, LEAVE, opening_of, raw_angle

TOLERATED_OVERSHOOT = 0.25
"""A policy may overshoot 0..1 a little, which is clipped; further out it uses another unit (0..1000, rad)."""


class BadCommandError(ValueError):
    """A command that is refused whole; the message says why."""


@dataclass(frozen=True)
class Command:
    """Six raw angles (or `LEAVE`), and when they were computed.

    Attributes:
        stamp_ns: session time at which the command was computed.
        angles: (6,) raw, 0..1000 or -1.
    """

    stamp_ns: int
    angles: tuple[int, ...]


def command_of(stamp_ns: int, openings: Sequence[float]) -> Command:
    """A command from openings, (6,), 0 closed .. 1 open, NaN leaves the finger.

    Raises:
        BadCommandError: not six, not finite, or far outside 0..1.
    """
    if len(openings) != len(FINGERS):
        raise BadCommandError(f"{len(openings)} angles; expected {len(FINGERS)}")
    for finger, opening in zip(FINGERS, openings, strict=True):
        if math.isinf(opening) or not (
            math.isnan(opening) or -TOLERATED_OVERSHOOT <= opening <= 1 + TOLERATED_OVERSHOOT
        ):
            raise BadCommandError(f"{finger} is {opening:g}; expected 0 (closed) to 1 (open), or NaN to leave it")
    return Command(stamp_ns, tuple(raw_angle(opening) for opening in openings))


class Grip:
    """Follows one hand's commands and remembers what was written to the hand.

    Args:
        command_timeout_ns: an older command is ignored.
        write_interval_ns: least time between two writes.
        min_change: raw; a command that moves no finger by this much from what was written is not written.
    """

    def __init__(self, *, command_timeout_ns: int, write_interval_ns: int, min_change: int) -> None:
        self._command_timeout_ns = command_timeout_ns
        self._write_interval_ns = write_interval_ns
        self._min_change = min_change
        self._targets: list[int | None] = [None] * len(FINGERS)
        self._hand_knows = False
        self._may_be_moving = True
        self._last_write_ns = 0

    @property
    def targets(self) -> tuple[float, ...]:
        """(6,) 0 closed .. 1 open, as last written; NaN where nothing ever was."""
        return tuple(math.nan if target is None else opening_of(target) for target in self._targets)

    @property
    def may_be_moving(self) -> bool:
        """A target was written, or was left by somebody before us, at which the fingers may not have arrived."""
        return self._may_be_moving

    def reconnected(self) -> None:
        """The hand may have been switched off: what was written is forgotten, and it must be stopped again."""
        self._hand_knows = False
        self._may_be_moving = True

    def may_write_at_ns(self, answer_ns: int) -> int:
        """Session time from which the next write is allowed.

        Args:
            answer_ns: how long this hand takes to answer. A slow hand is written less often, so that it is still
                read at 20 Hz.
        """
        return self._last_write_ns + max(self._write_interval_ns, 3 * answer_ns)

    def is_fresh(self, command: Command, now_ns: int) -> bool:
        """Neither too old nor, by the same measure, from the future."""
        return abs(now_ns - command.stamp_ns) <= self._command_timeout_ns

    def differs(self, command: Command) -> bool:
        """Does `command` differ enough from what was written last?"""
        for angle, target in zip(command.angles, self._targets, strict=True):
            if angle == LEAVE:
                continue
            if target is None or not self._hand_knows or abs(angle - target) >= max(self._min_change, 1):
                return True
        return False

    def written(self, angles: Sequence[int], now_ns: int, *, is_hold: bool) -> None:
        """`angles`, (6,) raw, were acknowledged at `now_ns`; `is_hold`: they are where the fingers are."""
        self._targets = [old if new == LEAVE else new for old, new in zip(self._targets, angles, strict=True)]
        self._hand_knows = True
        self._may_be_moving = not is_hold
        self._last_write_ns = now_ns

    def wrote_setting(self, now_ns: int) -> None:
        """Something else than angles was written: it counts for the pace alone."""
        self._last_write_ns = now_ns


def staying(measured: Sequence[int]) -> tuple[int, ...]:
    """The angles, (6,) raw, that make fingers stay which were measured at `measured`."""
    return tuple(min(max(angle, 0), ANGLE_UNITS) for angle in measured)
