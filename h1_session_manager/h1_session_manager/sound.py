"""The person's own sounds and voice: commands without a shell, never waited for."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence


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
