# SPDX-License-Identifier: Apache-2.0
"""The computer that the session runs on: is its clock sane, does heat slow its processor down?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from h1_training_node.clock import NS_PER_S

_CPU = Path("/sys/devices/system/cpu")
_THROTTLE = "cpu[0-9]*/thermal_throttle/core_throttle_count"
"""How often each core was slowed down by heat since the start."""
_NO_EARLIER_S = 1_735_689_600.0
"""2025-01-01 UTC: a clock before it was never set."""
_CLOCK_JUMP_S = 1.0
_THROTTLED_S = 60.0


@dataclass(frozen=True)
class HostHealth:
    """The clock (UTC, s; and how far it is from the session's) and the count of throttlings by heat."""

    utc_s: float
    clock_jump_s: float = 0.0
    throttled: int = 0

    def problems(self) -> list[str]:
        """What keeps an episode from starting."""
        if self.utc_s >= _NO_EARLIER_S:
            return []
        day = datetime.fromtimestamp(self.utc_s, UTC).date()
        return [f"clock: it says {day}, so would every file; set it (timedatectl)"]

    def warnings(self, throttled_ns: int | None, now_ns: int) -> list[str]:
        """What a person should know. `throttled_ns`: when heat was last seen to slow a core; None: never."""
        warnings = []
        if abs(self.clock_jump_s) > _CLOCK_JUMP_S:
            warnings.append(
                f"clock: it was set by {self.clock_jump_s:+.1f} s during the session, whose stamps keep the old "
                "time; start the session again for the new one"
            )
        if throttled_ns is not None and (now_ns - throttled_ns) / NS_PER_S < _THROTTLED_S:
            warnings.append("processor: slowed down by heat in the last minute; check its cooling")
        return warnings


def measure(session_ns: int, cpu: Path = _CPU) -> HostHealth:
    """The computer now. `session_ns`: session time, against which the system clock is held."""
    utc_ns = time.time_ns()
    return HostHealth(utc_s=utc_ns / 1e9, clock_jump_s=(utc_ns - session_ns) / 1e9, throttled=_throttled(cpu))


def _throttled(cpu: Path) -> int:
    count = 0
    for path in cpu.glob(_THROTTLE):
        try:
            count += int(path.read_text())
        except (OSError, ValueError):  # a core that was just switched off
            continue
    return count
