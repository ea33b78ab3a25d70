"""Single keys from the terminal, which is given back as it was however the process ends.

cbreak with ISIG on: keys arrive without Enter, and Ctrl+C stays a signal to the whole group. A small watcher
process holds the other end of a pipe: even after `kill -9` it puts the terminal right.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import select
import signal
import termios
import tty
from typing import Any

TERMINAL = "/dev/tty"
_MOST_BYTES = 64
_ESCAPE = "\x1b"
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.)")
_NAMED = {
    **{_ESCAPE: "escape", " ": "space", "\t": "tab", "\n": "enter", "\r": "enter"},
    **{"\x08": "backspace", "\x7f": "backspace"},
}
"""Keys that print nothing. They ask for nothing either, but any key takes an announced motion back."""


class NoTerminalError(OSError):
    """This process has no terminal to read keys from."""


class TtyKeys:
    """The terminal in cbreak mode, until `close`.

    Args:
        path: of the terminal.

    Raises:
        NoTerminalError: there is none.
    """

    def __init__(self, path: str = TERMINAL) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            raise NoTerminalError(error.errno, f"no terminal to read keys from: {error.strerror}", path) from None
        try:
            self._saved = termios.tcgetattr(self._fd)
        except termios.error:
            os.close(self._fd)
            raise NoTerminalError(0, "not a terminal", path) from None
        # In the background, changing or reading the terminal would stop the whole process instead of failing.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        self._pipe, self._watcher = self._watch()
        atexit.register(self.close)
        tty.setcbreak(self._fd, termios.TCSADRAIN)

    def read(self, timeout_s: float) -> list[str] | None:
        """The keys typed within `timeout_s`; None when the terminal is gone. Blocks: not for a callback."""
        try:
            if not select.select([self._fd], [], [], timeout_s)[0]:
                return []
            data = os.read(self._fd, _MOST_BYTES)
        except (OSError, ValueError):  # hung up, or closed meanwhile
            return None
        if not data:
            return None
        return keys_in(data)

    def close(self) -> None:
        """Put the terminal back as it was; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        atexit.unregister(self.close)
        _restore(fd, self._saved)
        os.close(self._pipe)
        os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._watcher, 0)

    def _watch(self) -> tuple[int, int]:
        """Fork the watcher; returns the pipe's end whose closing tells it that this process is gone, and its id."""
        reading, writing = os.pipe()
        watcher = os.fork()
        if watcher != 0:
            os.close(reading)
            return writing, watcher
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            low, high = sorted((reading, self._fd))  # all else is the parent's, and must not be kept open by us
            os.closerange(0, low)
            os.closerange(low + 1, high)
            os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
            os.read(reading, 1)
            _restore(self._fd, self._saved)
        finally:
            os._exit(0)


def keys_in(data: bytes) -> list[str]:
    """The keys in what the terminal sent: letters as they are, others by name; arrow and function keys are `escape`."""
    text = _SEQUENCE.sub(_ESCAPE, data.decode("utf-8", errors="ignore"))
    return [_NAMED.get(key, key) for key in text if key in _NAMED or key.isprintable()]


def _restore(fd: int, saved: list[Any]) -> None:
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
