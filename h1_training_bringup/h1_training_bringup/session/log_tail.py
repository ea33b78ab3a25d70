# SPDX-License-Identifier: Apache-2.0
"""Follows the nodes' log files and picks out what the operator must see: warnings and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_LINE = re.compile(r"^\[(WARN|ERROR|FATAL)\] (?:\[[\d.]+\] )?(?:\[[^\]]+\]:? ?)?(.*)$")
_REPEAT_S = 10.0
_SAID_ELSEWHERE = re.compile(r"emergency_stop: by (session_manager|arm_driver/emergency_stop: service called)")
"""What the session manager did or reports itself: one cause, one line."""


class Warnings:
    """Picks warnings out of a node's log lines.

    Args:
        monotonic_s: the clock, s. The same line of the same node is picked once in 10 s.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._printed_s: dict[tuple[str, str], float] = {}

    def text(self, name: str, line: str) -> str | None:
        """What to show of `line` of the node `name`; None if it is no warning, or was shown just now."""
        match = _LINE.match(line)
        if match is None or _SAID_ELSEWHERE.match(match[2]):
            return None
        now, key = self._monotonic_s(), (name, match[2])
        if now - self._printed_s.get(key, -_REPEAT_S) < _REPEAT_S:
            return None
        self._printed_s[key] = now
        return match[2]


class LogTail:
    """New warnings of some growing files.

    Args:
        files: log file by node name; a file may not exist yet.
        monotonic_s: the clock of `Warnings`.
    """

    def __init__(self, files: Mapping[str, Path], monotonic_s: Callable[[], float]) -> None:
        self._files = dict(files)
        self._offsets = dict.fromkeys(files, 0)
        self._warnings = Warnings(monotonic_s)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Node name and text of every warning written since the last call."""
        for name, path in self._files.items():
            for line in self._new_lines(name, path):
                text = self._warnings.text(name, line)
                if text is not None:
                    yield name, text

    def end_of(self, name: str, count: int = 5) -> list[str]:
        """The last `count` lines of a node's log, for when it died."""
        try:
            return self._files[name].read_text(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def _new_lines(self, name: str, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets[name])
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[name] += len(whole)
        return whole.decode(errors="replace").splitlines()
