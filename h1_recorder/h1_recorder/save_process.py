"""Saves and labels episodes in a process of its own, so that it costs no other node a moment.

The child is `python -m h1_recorder` with one of its own commands, in a process group of its own (a Ctrl+C at the
terminal is not for it), at low priority, and it dies with its parent: what it was about to save is still in the
journal, and a second recorder never meets the first one's saver in the same folder. It reports on its standard
output, one JSON object a line; what else it has to say goes to the parent's standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_NICE = 10


class SaveProcess:
    """A running child.

    Args:
        arguments: of `python -m h1_recorder`.

    Attributes:
        progress: 0..1, as last reported.
        reports: everything reported but progress, in order.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "h1_recorder", *arguments, "--child-of", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._rest = b""
        self.progress = 0.0
        self.reports: list[dict[str, Any]] = []

    def poll(self) -> int | None:
        """Take in what was reported; the exit status once it has ended, else None."""
        if self._process.stdout is None:
            return self._process.returncode
        status = self._process.poll()  # before reading, so that nothing is left unread when it has ended
        while True:
            try:
                block = os.read(self._out, 65536)
            except BlockingIOError:
                break
            if not block:
                break
            self._rest += block
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._take(line)
        if status is not None:
            self._process.stdout.close()
            self._process.stdout = None
        return status

    def kill(self) -> None:
        """End it at once; a file without its final name is all that it leaves."""
        if self._process.poll() is None:
            self._process.kill()

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except ValueError:
            return
        if "progress" in report:
            self.progress = float(report["progress"])
        else:
            self.reports.append(report)


def become_child_of(parent: int) -> bool:
    """In the child: die with `parent`, step back behind everybody else; False if the parent is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    os.nice(_NICE)
    return os.getppid() == parent


def save_arguments(journals: Sequence[Path], outcome: str | None = None) -> list[str]:
    """Arguments that save these journals."""
    return ["recover", "--json", *(["--outcome", outcome] if outcome else []), *map(str, journals)]


def label_arguments(episode: Path, outcome: str) -> list[str]:
    """Arguments that label a finished episode."""
    return ["label", "--json", "--outcome", outcome, str(episode)]
