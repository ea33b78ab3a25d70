"""One recorder to a folder: a lock file keeps a second session out; the kernel frees it when its holder ends."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

LOCK_FILE = ".recorder.lock"


class FolderInUseError(RuntimeError):
    """Another recorder writes here; the message says which."""


class FolderLock:
    """Keeps other recorders out of a folder until `release`, or until this process ends, however it ends.

    Raises:
        FolderInUseError: another process holds it.
        OSError: the lock file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise FolderInUseError(f"{folder} is in use by another session ({holder}); end that one first") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    @property
    def is_there(self) -> bool:
        """Whether the lock file is still the one that is held; a folder may have been deleted and made anew."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Let others in."""
        os.close(self._descriptor)


class FolderLocks:
    """The locks of one recorder."""

    def __init__(self) -> None:
        self._held: dict[Path, FolderLock] = {}

    def hold(self, folder: Path) -> None:
        """Keep other recorders out of `folder`; nothing if it is held already.

        Raises:
            FolderInUseError: another one is in it.
            OSError: the lock file cannot be made.
        """
        if folder in self._held and not self._held[folder].is_there:
            self._held.pop(folder).release()
        if folder not in self._held:
            self._held[folder] = FolderLock(folder)

    def release(self) -> None:
        """Let others in everywhere."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()
