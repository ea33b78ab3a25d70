# SPDX-License-Identifier: Apache-2.0
"""How much space the disk has, asked for where waiting for the answer delays nobody."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from h1_recorder.recorder.filesystem import free_bytes, lacking

GB = 1_000_000_000
FILE_OVER_JOURNAL = 1.8
"""An episode file repeats 30 images a second in 50 rows: at most 5/3 of its journal, and numbers."""


class DiskMonitor:
    """Asks once a second, in a thread of its own: a network file system may take its time.

    Args:
        probed: folder whose disk is probed once for what it lacks; None = none.
        period_s: from one question to the next.

    Attributes:
        free: bytes, at the last answer; None if there is none.
        exists: whether the path asked about was there.
        remarks: what the disk lacks (`filesystem.lacking`); None until it was probed.
    """

    def __init__(self, probed: Path | None = None, *, period_s: float = 1.0) -> None:
        self.remarks: list[str] | None = None if probed else []
        self._probed = probed
        self._period_s = period_s
        self._wake = threading.Event()
        self._stopped = False
        self._path: Path | None = None
        self.free: int | None = None
        self.exists = True
        threading.Thread(target=self._run, name="disk-monitor", daemon=True).start()

    def look_at(self, path: Path) -> None:
        """Ask about this file or folder from now on."""
        self._path = path
        self.exists = True
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        if self._probed is not None:
            self.remarks = lacking(self._probed)
        while not self._stopped:
            path = self._path
            if path is not None:
                self._ask(path)
            self._wake.wait(self._period_s)
            self._wake.clear()

    def _ask(self, path: Path) -> None:
        exists, free = os.access(path, os.F_OK), None  # `Path.exists` raises what a disk that is gone may answer
        with contextlib.suppress(OSError):
            free = free_bytes(path.parent if path.is_file() else path)
        if path == self._path:
            self.exists, self.free = exists, free


class Budget:
    """What an episode may still grow by: its file needs space beside its journal.

    Args:
        disk: that both are on.
        keep_free: bytes that are left to others.
    """

    def __init__(self, disk: DiskMonitor, keep_free: float) -> None:
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
