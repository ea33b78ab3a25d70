# SPDX-License-Identifier: Apache-2.0
"""The session clock: CLOCK_MONOTONIC plus an offset to UTC that is fixed once, when the graph starts.

All stamps of one session come from it, so that the system clock may be set (NTP, a person, daylight rules)
without moving a single row of an episode. Whoever starts the graph hands the offset down in the environment;
a node that is started alone fixes one for itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from dataclasses import dataclass

NS_PER_S = 1_000_000_000

OFFSET_VARIABLE = "H1_SESSION_CLOCK_OFFSET_NS"


def _measured_offset_ns() -> int:
    """UTC minus CLOCK_MONOTONIC, now; the two monotonic readings bound the error."""
    before = time.monotonic_ns()
    utc = time.time_ns()
    after = time.monotonic_ns()
    return utc - (before + after) // 2


@dataclass(frozen=True)
class SessionClock:
    """Nanoseconds since the Unix epoch that only ever advance.

    Attributes:
        offset_ns: what is added to CLOCK_MONOTONIC, ns.
    """

    offset_ns: int

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> SessionClock:
        """The clock that the graph was started with, or a new one.

        Raises:
            ValueError: the variable is set, but is not a whole number.
        """
        text = (os.environ if environ is None else environ).get(OFFSET_VARIABLE)
        if text is None:
            return cls(_measured_offset_ns())
        try:
            return cls(int(text))
        except ValueError:
            raise ValueError(
                f"{OFFSET_VARIABLE} is {text!r}; expected a whole number of nanoseconds. Unset it to start alone."
            ) from None

    def export(self, environ: MutableMapping[str, str]) -> None:
        """Hand this clock to processes that are started with `environ`."""
        environ[OFFSET_VARIABLE] = str(self.offset_ns)

    def now_ns(self) -> int:
        """Session time, ns since the Unix epoch."""
        return time.monotonic_ns() + self.offset_ns

    def system_clock_jump_ns(self) -> int:
        """How far the system clock has been moved since the session began, ns (drift included)."""
        return _measured_offset_ns() - self.offset_ns


class SuspensionDetector:
    """Notices that the whole computer slept (a lid that was closed): CLOCK_MONOTONIC, and so the session, stood still.

    Args:
        least_ns: shorter ones are none; the two clocks are not read at one instant.
    """

    def __init__(self, least_ns: int) -> None:
        self._least_ns = least_ns
        self._known_ns = _suspended_ns()

    def slept_ns(self) -> int:
        """How long it was suspended since the last call, ns; 0 if it was not."""
        slept_ns = _suspended_ns() - self._known_ns
        self._known_ns += max(slept_ns, 0)
        return slept_ns if slept_ns >= self._least_ns else 0


def _suspended_ns() -> int:
    """How long it has been since it was started, ns; too little by what passes between two readings, never too much."""
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns - time.monotonic_ns()
