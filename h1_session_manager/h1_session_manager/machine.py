"""The machine that the session runs on: is its clock sane, does heat slow its processor down?"""

from __future__ import annotations

import time
from pathlib import Path

from h1_session_manager.values import Machine

_CPU = Path("/sys/devices/system/cpu")
_THROTTLE = "cpu[0-9]*/thermal_throttle/core_throttle_count"
"""How often each core was slowed down by heat since the start."""


def look(session_ns: int, cpu: Path = _CPU) -> Machine:
    """The machine now. `session_ns`: session time, against which the system clock is held."""
    utc_ns = time.time_ns()
    return Machine(utc_s=utc_ns / 1e9, clock_jump_s=(utc_ns - session_ns) / 1e9, throttled=_throttled(cpu))


def _throttled(cpu: Path) -> int:
    count = 0
    for path in cpu.glob(_THROTTLE):
        try:
            count += int(path.read_text())
        except (OSError, ValueError):  # a core that was just switched off
            continue
    return count
