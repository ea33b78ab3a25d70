"""Journals that have become verified episodes: kept until the session has decided, then deleted or kept in bounds."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from h1_recorder.episode.folder import prune_kept_journals
from h1_recorder.recorder.disk import GB
from h1_recorder.recorder.parameters import RecorderParameters


class Droppable:
    """Such journals, until `drop`.

    Args:
        parameters: say whether journals are kept, and within which limits.
    """

    def __init__(self, parameters: RecorderParameters) -> None:
        self._parameters = parameters
        self._paths: list[Path] = []

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, journal: Path) -> None:
        """Its episode was read back."""
        self._paths.append(journal)

    def keep(self) -> None:
        """They are needed after all."""
        self._paths = []

    def drop(self, *, wait: bool = False) -> None:
        """Delete them, in a thread: for a large file that takes a disk a tenth of a second, and messages arrive."""
        paths, self._paths = self._paths, []
        if paths:
            thread = threading.Thread(target=self._drop, args=(paths,), name="drop-journals", daemon=True)
            thread.start()
            if wait:
                thread.join()

    def _drop(self, paths: list[Path]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                if self._parameters.keep_journal:
                    most = self._parameters.keep_journal_gb * GB
                    prune_kept_journals(path.parent, days=self._parameters.keep_journal_days, most_bytes=most)
                else:
                    path.unlink(missing_ok=True)
