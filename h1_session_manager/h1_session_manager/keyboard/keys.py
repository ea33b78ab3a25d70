# SPDX-License-Identifier: Apache-2.0
"""Where keys come from: the terminal, which is restored however the process ends; buttons of a gamepad or pedal.

What restores it is a small process that outlives even `kill -9`.

cbreak with ISIG on: keys arrive without Enter, and Ctrl+C stays a signal to the whole group. Ctrl+Z and Ctrl+\\ are
none any more: stopping the whole graph in mid-motion must not be a slip of the finger.
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
from collections.abc import Sequence
from typing import Any

TERMINAL = "/dev/tty"
_MOST_BYTES = 64
_ESCAPE = "\x1b"
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.)")
_NAMED = {
    **{_ESCAPE: "escape", " ": "space", "\t": "tab", "\n": "enter", "\r": "enter"},
    **{"\x08": "backspace", "\x7f": "backspace"},
}
"""Keys that print nothing. They ask for nothing either, but any key cancels an announced motion."""


class NoTerminalError(OSError):
    """This process has no terminal to read keys from."""


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
            self._restorer = TtyRestorer(self._fd)
        except termios.error:
            os.close(self._fd)
            raise NoTerminalError(0, "not a terminal", path) from None
        # In the background, changing or reading the terminal would stop the whole process instead of failing.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        atexit.register(self.close)
        tty.setcbreak(self._fd, termios.TCSADRAIN)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, without_traps(termios.tcgetattr(self._fd)))

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
        self._restorer.close()
        os.close(fd)


def keys_in(data: bytes) -> list[str]:
    """The keys in what the terminal sent: letters as they are, others by name; arrow and function keys are `escape`."""
    text = _SEQUENCE.sub(_ESCAPE, data.decode("utf-8", errors="ignore"))
    return [_NAMED.get(key, key) for key in text if key in _NAMED or key.isprintable()]


class JoyKeys:
    """Turns presses into keys: a button counts once when it goes down, however long it is held.

    Args:
        mapping: "BUTTON:KEY" each, e.g. ("0:s", "1:e").

    Raises:
        ValueError: a mapping that is not of that form.
    """

    def __init__(self, mapping: Sequence[str]) -> None:
        self._keys: dict[int, str] = {}
        for entry in mapping:
            button, separator, key = entry.partition(":")
            if not separator or not button.strip().isdigit() or len(key.strip()) != 1:
                raise ValueError(f"'{entry}' is no BUTTON:KEY, e.g. '0:s'")
            self._keys[int(button)] = key.strip()
        self._down: frozenset[int] | None = None

    def pressed(self, buttons: Sequence[int]) -> list[str]:
        """The keys of the buttons that went down with this message; held at the first message counts as held."""
        down = frozenset(index for index, value in enumerate(buttons) if value)
        before, self._down = self._down, down
        if before is None:
            return []
        return [self._keys[index] for index in sorted(down - before) if index in self._keys]
