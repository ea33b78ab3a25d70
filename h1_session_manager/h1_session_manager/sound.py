"""The person's own sound, when the session needs the person: a command without a shell, never waited for."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class Sound:
    """Plays `command`, one at a time; an empty one plays nothing."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = [word for word in command if word]
        self._process: subprocess.Popen[bytes] | None = None

    def play(self) -> str:
        """Start it; returns what stands in the way, and is silent from then on."""
        if not self._command or (self._process is not None and self._process.poll() is None):
            return ""
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            command, self._command = self._command, []
            return f"{command[0]}: {error.strerror}; check sound_command"
        return ""
