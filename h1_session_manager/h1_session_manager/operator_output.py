# SPDX-License-Identifier: Apache-2.0
"""What reaches the operator: lines on the terminal, in a thread of their own; sounds and a voice, by commands.

A terminal may stand still (Ctrl+S, a slow SSH line) or be gone; neither may hold up the session's heartbeat, on which
the arms depend. What does not fit the queue is dropped, and a terminal that is gone is not written to any more.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import queue
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import Any, TextIO

LINES_VARIABLE = "H1_OPERATOR_LINES"
"""Set by a runner that shows these lines on the terminal itself: the file that they go to."""
_QUEUE = 1000
_FEWEST_COLUMNS = 40
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Where the lines go to a file, its disk may be full for a while."""
_PAUSE, _PAUSE_S = "\0", 0.25


def wrapped(line: str, columns: int) -> str:
    """`line` broken at blanks for a terminal of so many columns (0: not at all); what follows is indented."""
    if len(line) <= columns or columns < _FEWEST_COLUMNS:
        return line
    end = line[len(line.rstrip()) :]
    indent = line[: len(line) - len(line.lstrip())]
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line.strip(), columns, initial_indent=indent, subsequent_indent=f"{indent}  ", **options) + end


class Terminal:
    """Writes lines and keeps the prompt last, with the cursor behind it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._prompt = ""
        self._queue: queue.Queue[str | None] = queue.Queue(_QUEUE)
        self._is_gone = False
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()

    def say(self, lines: tuple[str, ...], prompt: str = "", *, replaces_prompt: bool = False) -> None:
        """Write `lines`, then the prompt: a new one, or the one that stood there before."""
        text = "\n" if self._prompt else ""
        columns = self._columns()
        text += "".join(f"{wrapped(line, columns)}\n" for line in lines)
        if replaces_prompt:
            self._prompt = wrapped(prompt, columns)
        self._put(text + self._prompt)

    def bell(self, times: int = 1) -> None:
        """Ring, if there is somebody to hear it. Terminals make one of rings without a pause between them."""
        with contextlib.suppress(OSError, ValueError):
            if self._stream.isatty() or LINES_VARIABLE in os.environ:
                self._put("\a" + f"{_PAUSE}\a" * (times - 1))

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is left, for at most `timeout_s`."""
        if self._prompt:
            self._put("\n")
            self._prompt = ""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _columns(self) -> int:
        """Of the terminal; 0: this writes to none, and whoever prints the lines wraps them."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError, io.UnsupportedOperation):
            return 0

    def _put(self, text: str) -> None:
        if text:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(text)

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            if self._is_gone:
                continue
            try:
                for number, part in enumerate(text.split(_PAUSE)):
                    if number:
                        time.sleep(_PAUSE_S)
                    self._stream.write(part)
                    self._stream.flush()
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._is_gone = getattr(error, "errno", None) not in _FULL


class Sound:
    """Plays `command`, one at a time; an empty one plays nothing."""

    def __init__(self, command: Sequence[str], name: str = "sound_command") -> None:
        self._command = [word for word in command if word]
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is anything to play."""
        return bool(self._command)

    def play(self, *words: str, urgent: bool = False) -> str:
        """Start it, `words` behind the command; returns what stands in the way, and is silent from then on.

        While one is playing a further one is left out, but for an urgent one, which takes its place. In a process
        session of its own, so that Ctrl+C does not cut off what is said because of it.
        """
        if not self._command:
            return ""
        if self._process is not None and self._process.poll() is None:
            if not urgent:
                return ""
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        try:
            self._process = subprocess.Popen(
                [*self._command, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            command, self._command = self._command, []
            return f"{command[0]}: {error.strerror}; check {self._name}"
        return ""
