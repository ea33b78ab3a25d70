# SPDX-License-Identifier: Apache-2.0
"""The operator's lines: one stream in `operator.log` beside the other logs, shown by whoever started the session alone.

The session manager's standard output and the supervisor's own lines are that stream. Only one process writes to the
terminal, so that a warning never stands behind a prompt; while the console has the terminal nothing is shown, and when
it is gone, however it ended, the lines go on in plain.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from h1_training_node.clock import NS_PER_S
from h1_training_node.report_once import ReportOnce

LINES_VARIABLE = "H1_OPERATOR_LINES"
"""In which file the session's lines are, for the console."""
PLAIN_FROM_HERE = "  The session goes on in plain lines; the command `console` shows it again elsewhere"
_SMALLEST = (80, 24)
_LAST_LINES = 12
_WARNING = re.compile(r"^\[(WARN|ERROR|FATAL)\] (?:\[[\d.]+\] )?(?:\[[^\]]+\]:? ?)?(.*)$")
_REPEAT_S = 10.0
_SAID_ELSEWHERE = re.compile(r"emergency_stop: by (session_manager|arm_driver/emergency_stop: service called)")
"""What the session manager did or reports itself: one cause, one line."""


def console_problem() -> str:
    """Why this terminal cannot show the console; empty if it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "standard input and output are no terminal"
    if os.environ.get("TERM", "dumb") == "dumb":
        return "TERM is not set to a terminal that can draw"
    size = os.get_terminal_size(sys.stdout.fileno())
    if size.columns < _SMALLEST[0] or size.lines < _SMALLEST[1]:
        return f"the terminal has {size.columns} x {size.lines} characters, {_SMALLEST[0]} x {_SMALLEST[1]} are needed"
    return ""


def _wrapped(line: str) -> str:
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # no terminal
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    found = textwrap.wrap(
        line, max(columns, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(found) if len(line) > columns else line


class OperatorScreen:
    """The stream of lines.

    Args:
        path: the file that keeps them.
        hidden: the console has the terminal.
        now: the time of day.
    """

    def __init__(self, path: Path, *, hidden: bool = False, now: Callable[[], datetime] = datetime.now) -> None:
        self._now = now
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._read_bytes = 0
        self._hidden = hidden

    def fileno(self) -> int:
        """What the session manager writes to."""
        return self._file.fileno()

    def print(self, *lines: str, keeps_prompt: bool = True) -> None:
        """Lines of the supervisor's own, above the prompt if there is one; wrapped at words where a terminal is narrow.
        Warnings, which begin with `!`, get the time of day.

        Args:
            lines: whole lines.
            keeps_prompt: False: what was asked for is over, the prompt does not come again.
        """
        prompt = self._path.read_bytes().rpartition(b"\n")[2].replace(b"\a", b"")
        text = "".join(f"{_wrapped(self._timed(line))}\n" for line in lines)
        self.write((b"\n" if prompt else b"") + text.encode() + (prompt if keeps_prompt else b""))

    def write(self, data: bytes) -> None:
        """What comes next in the stream. A full disk ends nothing: then it goes to the terminal alone."""
        try:
            self._file.write(data)
        except OSError:
            self.follow()
            self._bring_to_terminal(data)

    def text(self) -> str:
        """All lines so far."""
        return self._path.read_text(errors="replace")

    def _timed(self, line: str) -> str:
        return f"{self._now():%H:%M:%S} {line}" if line.startswith("!") else line

    def show(self) -> None:
        """The console is gone: the last lines, and from now on all that come."""
        if self._hidden:
            self._hidden = False
            lines = self._path.read_bytes().splitlines(keepends=True)
            self._read_bytes = sum(map(len, lines[:-_LAST_LINES]))
        self.follow()

    def follow(self) -> None:
        """Bring what was written since to the terminal, if the console does not have it."""
        if self._hidden:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            data = file.read()
        self._read_bytes += len(data)
        self._bring_to_terminal(data)

    def _bring_to_terminal(self, data: bytes) -> None:
        if self._hidden or not data:
            return
        # A terminal that is gone must not stand in the way of an orderly end.
        with contextlib.suppress(OSError):
            text = (data if sys.stdout.isatty() else data.replace(b"\a", b"")).decode(errors="replace")
            sys.stdout.write("\n".join(map(_wrapped, text.split("\n"))))
            sys.stdout.flush()


class Warnings:
    """Picks out of a node's log lines what the operator must see: warnings and errors.

    Args:
        monotonic_s: the clock, s. The same line of the same node is picked once in 10 s.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._reports = ReportOnce(round(_REPEAT_S * NS_PER_S))

    def text(self, name: str, line: str) -> str | None:
        """What to show of `line` of the node `name`; None if it is no warning, or was shown just now."""
        match = _WARNING.match(line)
        if match is None or _SAID_ELSEWHERE.match(match[2]):
            return None
        is_due = self._reports.is_due((name, match[2]), round(self._monotonic_s() * NS_PER_S))
        return match[2] if is_due else None
