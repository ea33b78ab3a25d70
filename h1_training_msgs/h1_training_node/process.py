# SPDX-License-Identifier: Apache-2.0
"""A process of the session ends with the session: signals become a flag, and no node outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PARENT_VARIABLE = "H1_SESSION_PARENT_PID"
ENDING_VARIABLE = "H1_SESSION_ENDING"
"""The file in which whoever started the session says why it ends, before it signals anybody."""
PRIORITY_VARIABLE = "H1_SESSION_PRIORITY"
REALTIME, REALTIME_IF_ALLOWED = "realtime", "realtime_if_allowed"
"""Where realtime is not allowed, the first is worth a warning (a robot is at stake), the second is not."""
EXIT_EXPLAINED = 3
"""Of a node that ends the session in trouble and has shown the person why: its loss needs no further word."""
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")
"""Before a command that does not see to it by itself: it ends with the thread that started it, however that ends."""
_PR_SET_PDEATHSIG = 1
_LATE_S = 11.0
_HIGH_NICENESS = -10


class StopSignal:
    """Turns signals into a flag, so that a last command or save can still go out.

    Args:
        late: this process ends last (simulated peers, keyboard): it ignores the SIGINT that a terminal sends to the
            whole group, ends on SIGTERM, and 11 s after its terminal or its parent is gone.
    """

    def __init__(self, *, late: bool = False) -> None:
        self._late = late
        self._received: signal.Signals | None = None
        self._not_before = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    @property
    def received(self) -> signal.Signals | None:
        """The signal that this process should end for, or None. Later ones change nothing."""
        return self._received if time.monotonic() >= self._not_before else None

    def end_with_parent(self) -> bool:
        """Ask the kernel for a signal when the parent dies; False if it is dead already.

        Whoever starts the graph names itself in `H1_SESSION_PARENT_PID`: a parent that died before the kernel
        was asked is noticed by having another one now.
        """
        number = signal.SIGHUP if self._late else signal.SIGTERM
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        expected = os.environ.get(PARENT_VARIABLE)
        return expected is None or int(expected) == os.getppid()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._late and number == signal.SIGINT:
            return
        if self._late and number == signal.SIGTERM:
            self._not_before = 0.0
        elif self._late and self._received is None:
            self._not_before = time.monotonic() + _LATE_S
        if self._received is None:
            self._received = signal.Signals(number)


def announce_ending(path: Path, cause: str) -> None:
    """Say why the session ends, before the signals that end it: see `ending_cause`."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(cause, encoding="utf-8")
    part.replace(path)


def ending_cause(number: signal.Signals) -> str:
    """Why this process is asked to end: the cause that was announced, or the signal itself.

    Returns:
        e.g. `"recorder lost: killed by SIGKILL"` or `"interrupted by Ctrl+C"`.
    """
    try:
        cause = Path(os.environ[ENDING_VARIABLE]).read_text(encoding="utf-8")
    except (KeyError, OSError, UnicodeDecodeError):
        cause = ""
    if not cause and os.environ.get(PARENT_VARIABLE, str(os.getppid())) != str(os.getppid()):
        return "whoever started the session is gone"
    return cause or interruption(number)


def interruption(number: signal.Signals) -> str:
    """A signal as the cause of the session's end."""
    words = {signal.SIGINT: "Ctrl+C", signal.SIGHUP: "the end of the terminal (SIGHUP)"}
    return f"interrupted by {words.get(number, number.name)}"


@dataclass(frozen=True)
class Priority:
    """What the graph wanted for this process, and what it got.

    Attributes:
        wanted: `REALTIME`, `REALTIME_IF_ALLOWED`, or a niceness.
        granted: for the log, e.g. `"realtime (SCHED_RR 1)"` or `"niceness 0"`.
        is_realtime: whether realtime was granted.
    """

    wanted: str
    granted: str
    is_realtime: bool = False


def take_priority() -> Priority:
    """Take on the priority that the graph gives this process in `H1_SESSION_PRIORITY`: a niceness, or realtime.

    Realtime is for those whose silence of 50 ms already means something to the arms. Where it is not allowed (it takes
    root, or an `rtprio` limit for the user), a high ordinary priority is tried. What came of it is returned: whoever
    runs the node says so.
    """
    wanted = os.environ.get(PRIORITY_VARIABLE, "0")
    if wanted not in (REALTIME, REALTIME_IF_ALLOWED):
        os.nice(int(wanted))
        return Priority(wanted, f"niceness {os.nice(0)}")
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, _HIGH_NICENESS)
        return Priority(wanted, f"niceness {os.nice(0)}")
    return Priority(wanted, "realtime (SCHED_RR 1)", is_realtime=True)


def leave_realtime() -> None:
    """Ordinary scheduling for the calling thread, which does the slow work of a process that is `realtime`.

    It keeps a high ordinary priority: Python's lock is its own for moments, in which the others wait for it.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        return
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _HIGH_NICENESS)
