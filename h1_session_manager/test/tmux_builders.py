# SPDX-License-Identifier: Apache-2.0
"""A real terminal of 80x24 for a test: tmux, on a socket of its own."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path


class Tmux:
    """One window; its shell ends with the test."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def run(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self.run("send-keys", "-t", "s", *keys)

    def screen(self) -> str:
        return self.run("capture-pane", "-p", "-t", "s")

    def settings(self) -> str:
        """The terminal's settings, as stty says them from outside."""
        tty = self.run("display-message", "-p", "-t", "s", "#{pane_tty}").strip()
        return subprocess.run(["stty", "-a", "-F", tty], capture_output=True, text=True, check=True).stdout

    def is_alternate(self) -> bool:
        return self.run("display-message", "-p", "-t", "s", "#{alternate_on}").strip() == "1"


@contextlib.contextmanager
def terminal(folder: Path, command: list[str], columns: int = 80, lines: int = 24) -> Iterator[Tmux]:
    """A terminal in which `command` runs, and a shell after it. The environment is the test's own."""
    tmux = Tmux(folder / "tmux")
    script = f"trap : INT; {shlex.join(command)}; echo ended with $?; exec sleep 600"
    size = ("-x", str(columns), "-y", str(lines))
    tmux.run("-f", "/dev/null", "new-session", "-d", "-s", "s", *size, "sh", "-c", script)
    try:
        yield tmux
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            tmux.run("kill-server")
