# SPDX-License-Identifier: Apache-2.0
"""The console's hold on the terminal: textual's own streams, Ctrl+C as a signal, and a way back whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import termios
from pathlib import Path
from typing import Any

from textual.drivers.linux_driver import LinuxDriver

from h1_session_manager.keyboard.keys import NoTerminalError, TtyRestorer, without_traps

_FINAL_OUTPUT = b"\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?7h\x1b[0m\r\n"
"""Leave the alternate screen, show the cursor, no reports of focus, paste and size, wrap lines, plain colours."""
SMALLEST = (80, 24)


class SignallingDriver(LinuxDriver):
    """textual's driver, but that Ctrl+C stays a signal, even if the screen should hang."""

    @classmethod
    def _patch_lflag(cls, attrs: int) -> int:
        return super()._patch_lflag(attrs) | termios.ISIG

    def start_application_mode(self) -> None:
        """Also after a suspension."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        termios.tcsetattr(self.fileno, termios.TCSANOW, without_traps(termios.tcgetattr(self.fileno)))


class ConsoleTerminal:
    """Hands textual the terminal, and descriptors 1 and 2 a file, so that no library's complaint tears the screen.

    Args:
        path: of the terminal.
        log: what other code of this process prints goes there; None: where it went before.

    Raises:
        NoTerminalError: there is none.
    """

    def __init__(self, path: str, log: Path | None) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            self._restorer = TtyRestorer(self._fd, _FINAL_OUTPUT)
        except (OSError, termios.error) as error:
            raise NoTerminalError(0, f"no terminal to show the console on: {error}", path) from None
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        self._before: tuple[Any, ...] = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
        for name in ("COLUMNS", "LINES"):  # a shell's memory; textual would take it for the size, whatever that is now
            os.environ.pop(name, None)
        self.size = os.get_terminal_size(self._fd)
        reading = os.fdopen(os.dup(self._fd), "r")
        writing = os.fdopen(os.dup(self._fd), "w")
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = reading, writing, writing  # type: ignore[misc]

    def close(self) -> None:
        """The terminal as it was."""
        self._restorer.close()
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self._before  # type: ignore[misc]

    def say(self, text: str) -> None:
        """A line on the terminal, for when the console is not there."""
        os.write(self._fd, f"{text}\n".encode())


class LineFile:
    """The operator's lines as they are appended to a file, for a console that is the session's own screen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[str]:
        """The whole lines since the last call, without the prompts, which stand elsewhere on the screen."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode(errors="replace").replace("\a", "").splitlines()
        return [line for line in lines if line.strip() and not line.endswith(": ")]
