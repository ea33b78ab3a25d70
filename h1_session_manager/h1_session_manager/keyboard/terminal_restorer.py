# SPDX-License-Identifier: Apache-2.0
"""The terminal as it was, however a process that changed it ends: a small process outlives even `kill -9`."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from typing import Any


class TtyRestorer:
    """Remembers a terminal's settings, and puts them back.

    Make it before the settings are changed, and before threads are started.

    Args:
        fd: the terminal.
        final_output: what is written to it first, if this process did not get to `close`.

    Raises:
        termios.error: not a terminal.
    """

    def __init__(self, fd: int, final_output: bytes = b"") -> None:
        self._fd = fd
        self._final_output = final_output
        self._saved: list[Any] = termios.tcgetattr(fd)
        self._pipe, self._restorer_id = self._fork()

    def close(self) -> None:
        """Put the terminal back as it was; the restoring process ends. The descriptor stays open."""
        if self._pipe < 0:
            return
        _restore(self._fd, self._saved)
        os.write(self._pipe, b".")
        os.close(self._pipe)
        self._pipe = -1
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._restorer_id, 0)

    def _fork(self) -> tuple[int, int]:
        """Fork the restoring process; returns the pipe's end by whose closing it notices our end, and its id."""
        reading, writing = os.pipe()
        restorer = os.fork()
        if restorer != 0:
            os.close(reading)
            return writing, restorer
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)
            low, high = sorted((reading, self._fd))  # all else is the parent's, and must not be kept open by us
            os.closerange(0, low)
            os.closerange(low + 1, high)
            os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
            if os.read(reading, 1) == b"":
                with contextlib.suppress(OSError):
                    os.write(self._fd, self._final_output)
                _restore(self._fd, self._saved)
        finally:
            os._exit(0)


def without_traps(attributes: list[Any]) -> list[Any]:
    r"""Terminal settings in which Ctrl+Z and Ctrl+\ are no signals: they would freeze or kill the whole graph,
    the arm driver and its guard among them. Ctrl+C stays one."""
    result = [*attributes[:6], list(attributes[6])]
    for control in (termios.VSUSP, termios.VQUIT):
        result[6][control] = b"\0"  # _POSIX_VDISABLE
    return result


def _restore(fd: int, saved: list[Any]) -> None:
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
