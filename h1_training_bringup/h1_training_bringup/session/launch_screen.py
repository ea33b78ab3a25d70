"""What launch's terminal shows: it is the operator's, and a prompt stays last."""

from __future__ import annotations

import codecs
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable

from launch.logging import launch_config


class Screen:
    """The operator's terminal: a prompt without an end of line stays last, whatever is said in between."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._prompt = ""

    def write(self, data: bytes) -> None:
        """What the node on the terminal puts out, as it is."""
        text = self._decoder.decode(data)
        self._prompt = (self._prompt + text).rpartition("\n")[2]
        show(text, end="")

    def line(self, text: str) -> None:
        """A line of anybody else's."""
        over = "\r\x1b[K" if sys.stdout.isatty() else "\n"
        show(f"{over}{text}\n{self._prompt}" if self._prompt else f"{text}\n", end="")


class Log:
    """What a node writes to its standard error, cut into lines; the last few are kept for when it dies."""

    def __init__(self, keep: int = 5) -> None:
        self.last: deque[str] = deque(maxlen=keep)
        self._rest = b""

    def lines(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        found = [line.decode(errors="replace").rstrip("\r") for line in whole]
        self.last.extend(found)
        return found


def show(text: str, end: str = "\n") -> None:
    """Print to the terminal; one that is gone must not stand in the way of an orderly end."""
    with contextlib.suppress(OSError):
        print(text, end=end, flush=True)


def keep_the_terminal_for_the_operator() -> None:
    """Of launch's own lines about single processes only those that ask for attention; all are in its log file."""

    def is_shown(record: logging.LogRecord) -> bool:
        # How a process ended is said by Watch, in words; and a camera that is started again is no second one.
        said: Callable[[tuple[str, ...]], bool] = record.getMessage().startswith
        hidden = ("process has died", "there are now at least 2 nodes with the name")
        return record.name == "launch" or (record.levelno >= logging.WARNING and not said(hidden))

    launch_config.get_screen_handler().addFilter(is_shown)
