# SPDX-License-Identifier: Apache-2.0
"""What is to be written to the fingers, when, and whether at all: only while the session is executing, and alive.

The newest command while it is fresh, or "stay where you are". Pure decisions; the hand's thread asks, and reports what
it has written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from h1_inspire_driver.registers import ANGLE_UNITS, FINGERS, LEAVE, opening_of, raw_angle

EXECUTING = "EXECUTING"


@dataclass(frozen=True)
class _Heartbeat:
    seq: int
    state: str
    advanced_ns: int | None
    """When `seq` last advanced; None: heard once, not yet seen advancing."""


class SessionGate:
    """Judges `session/state`. Written by the executor's thread, read by the hands' threads.

    The one attribute that both touch is replaced whole, never changed in place. Hands ask with the present time, so
    the gate closes by itself when the executor, or the whole session, no longer says anything.

    Args:
        timeout_ns: the session is lost when `seq` has not advanced for this long.

    Attributes:
        foreign: who else commands the hands, or plays the session; empty if nobody. Then no command is followed.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._heartbeat: _Heartbeat | None = None
        self.foreign = ""

    def heard(self, seq: int, state: str, now_ns: int) -> None:
        """A `session/state` has arrived.

        A message that does not advance `seq` changes nothing: it is an old one again. Only when the session was
        lost may `seq` starts again (session_manager restarted), and then it must advance once before it counts.
        """
        last = self._heartbeat
        if last is None or (seq < last.seq and self._is_lost(last, now_ns)):
            self._heartbeat = _Heartbeat(seq, state, None)
        elif seq > last.seq:
            self._heartbeat = _Heartbeat(seq, state, now_ns)

    def why_closed(self, now_ns: int) -> str:
        """Why commands are ignored now; empty while they are followed."""
        heartbeat = self._heartbeat
        if self.foreign:
            return f"foreign_commander: {self.foreign}"
        if heartbeat is None:
            return "no session/state yet"
        if self._is_lost(heartbeat, now_ns):
            return "session heartbeat lost"
        if heartbeat.state != EXECUTING:
            return f"session is {heartbeat.state}"
        return ""

    def _is_lost(self, heartbeat: _Heartbeat, now_ns: int) -> bool:
        return heartbeat.advanced_ns is None or now_ns - heartbeat.advanced_ns > self._timeout_ns


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
