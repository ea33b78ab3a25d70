"""How much room the disk has, asked for where waiting for the answer delays nobody."""

from __future__ import annotations

import os
import threading
from pathlib import Path

GB = 1_000_000_000
FILE_OVER_JOURNAL = 1.8
"""An episode file repeats 30 images a second in 50 rows: at most 5/3 of its journal, and numbers."""


def free_bytes(folder: Path) -> int:
    """Bytes that we may still write to the file system of `folder`, which need not be made yet.

    Raises:
        OSError: the file system does not answer.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskWatch:
    """Asks once a second, in a thread of its own: a network file system may take its time.

    Attributes:
        free: bytes, at the last answer; None if there is none.
        exists: whether the watched path was there.
    """

    def __init__(self, period_s: float = 1.0) -> None:
        self._period_s = period_s
        self._wake = threading.Event()
        self._stopped = False
        self._path: Path | None = None
        self.free: int | None = None
        self.exists = True
        threading.Thread(target=self._watch, name="disk-watch", daemon=True).start()

    def watch(self, path: Path) -> None:
        """Watch this file or folder from now on."""
        self._path = path
        self.exists = True
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake.set()

    def _watch(self) -> None:
        while not self._stopped:
            path = self._path
            if path is not None:
                self._ask(path)
            self._wake.wait(self._period_s)
            self._wake.clear()

    def _ask(self, path: Path) -> None:
        exists = path.exists()
        try:
            free = free_bytes(path.parent if path.is_file() else path)
        except OSError:
            free = None
        if path == self._path:
            self.exists, self.free = exists, free


class Room:
    """What an episode may still grow by: its file needs a place beside its journal.

    Args:
        disk: that both are on.
        keep_free: bytes that are left to others.
    """

    def __init__(self, disk: DiskWatch, keep_free: float) -> None:
        self._disk = disk
        self._keep_free = keep_free

    def bytes_left(self, written: int) -> float | None:
        """Behind `written` bytes of journal and their file; negative if the file no longer fits, None = not known."""
        if self._disk.free is None:
            return None
        return self._disk.free - FILE_OVER_JOURNAL * written - self._keep_free

    def seconds_left(self, written: int, in_ns: int) -> float:
        """Of recording, at the rate of `written` bytes in `in_ns`; -1 = not known."""
        left = self.bytes_left(written)
        if left is None or not written:
            return -1.0
        return max(0.0, left / (written * 1e9 / max(1, in_ns) * (1 + FILE_OVER_JOURNAL)))
