"""How far an upload is, file by file, from what rsync prints: a file's name as it begins, progress of all between."""

from __future__ import annotations

from collections.abc import Mapping

from h1_session_manager.upload.ledger import FileState
from h1_session_manager.upload.rsync import Progress, parse_progress


class FileProgress:
    """One rsync's progress.

    Args:
        files: what is sent, with sizes.
    """

    def __init__(self, files: Mapping[str, FileState]) -> None:
        self._files = files
        self._name = ""
        self._number = 0
        self._begun_bytes = self._bytes = 0

    def take(self, line: str) -> Progress | None:
        """A line of rsync's; its progress of all, if it is one of that."""
        progress = parse_progress(line)
        if progress is not None:
            self._bytes = progress.bytes_sent
        elif (name := line.strip()) in self._files and name != self._name:
            self._name, self._number, self._begun_bytes = name, self._number + 1, self._bytes
        return progress

    @property
    def text(self) -> str:
        """The file being sent, which one it is of how many, and its own share: 'NAME (2 of 7, 45%)'."""
        if not self._name:
            return ""
        size = self._files[self._name].size
        share = min(1.0, (self._bytes - self._begun_bytes) / size) if size else 1.0
        return f"{self._name} ({self._number} of {len(self._files)}, {share:.0%})"
