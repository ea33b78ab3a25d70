"""Pauses of the driver's own process: it was stopped, swapped out, or not given a core.

While it paused, the guard may have taken over; its word for that may still be on the way. So the first thing after a
pause is to listen, not to speak. After a long one the driver never speaks again: the guard has the arms by then, or
takes them because of the silence, and whatever this process still knows of the arms is too old to act on.
"""

from __future__ import annotations

from enum import Enum, auto

_SHORT_NS, _SHORT_PERIODS = 50_000_000, 2
_LONG_NS, _LONG_PERIODS = 90_000_000, 10
"""The guard speaks after 100 ms (50 at least). Listening must not be what makes a short pause long enough for that."""


class Own(Enum):
    """How this process itself is doing."""

    RUNS = auto()
    LISTENS = auto()
    HUNG = auto()


class Pauses:
    """Looks at the time between two periods.

    Args:
        hung_ns: a pause after which there is no going on.
    """

    def __init__(self, hung_ns: int) -> None:
        self._hung_ns = hung_ns
        self._stepped_ns: int | None = None
        self._listen_periods = 0

    def step(self, now_ns: int) -> Own:
        """One period."""
        paused_ns = 0 if self._stepped_ns is None else now_ns - self._stepped_ns
        self._stepped_ns = now_ns
        if paused_ns > self._hung_ns:
            return Own.HUNG
        if paused_ns > _SHORT_NS:
            periods = _LONG_PERIODS if paused_ns > _LONG_NS else _SHORT_PERIODS
            self._listen_periods = max(self._listen_periods, periods)
        if self._listen_periods == 0:
            return Own.RUNS
        self._listen_periods -= 1
        return Own.LISTENS
