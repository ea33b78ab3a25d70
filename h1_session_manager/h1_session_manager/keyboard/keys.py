# SPDX-License-Identifier: Apache-2.0
"""Where keys come from: the terminal, which is restored however the process ends; buttons of a gamepad or pedal.

cbreak with ISIG on: keys arrive without Enter, and Ctrl+C stays a signal to the whole group. Ctrl+Z and Ctrl+\\ are
none any more: stopping the whole graph in mid-motion must not be a slip of the finger.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import signal
import termios
import tty
from collections.abc import Sequence

from h1_session_manager.keyboard.terminal_restorer import TtyRestorer, without_traps

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
