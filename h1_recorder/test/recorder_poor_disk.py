# SPDX-License-Identifier: Apache-2.0
"""Run as a program: mounts a FUSE file system that can write, read and rename, and hardly anything else.

    python recorder_poor_disk.py STORE MOUNT_POINT

What is in it is kept in the folder STORE. It has no hard links, permissions, syncs of folders, preallocation, memory
maps (direct I/O) or figures of free space; its syncs of files fail as a file system's do that has none.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import mfusepy as fuse


class PoorDisk(fuse.Operations):
    """Passes on to a folder what such a disk can do."""

    use_ns = True

    def __init__(self, store: str) -> None:
        self._store = store

    def _at(self, path: str) -> str:
        return self._store + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_atime_ns", "st_ctime_ns", "st_mtime_ns", "st_gid", "st_uid", "st_mode", "st_nlink", "st_size")
        return {name.removesuffix("_ns"): getattr(found, name) for name in names}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]  # noqa: PTH208

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)  # noqa: PTH102
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at(path))  # noqa: PTH106
        return 0

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~os.O_EXCL)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path), length)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._at(new))  # noqa: PTH104
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))  # noqa: PTH108
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        raise fuse.FuseOSError(errno.EINVAL)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        raise fuse.FuseOSError(errno.EIO)

    def link(self, target: str, source: str) -> int:
        raise fuse.FuseOSError(errno.EIO)

    def chmod(self, path: str, mode: int) -> int:
        raise fuse.FuseOSError(errno.EPERM)

    def utimens(self, path: str, times: Any = None) -> int:
        raise fuse.FuseOSError(errno.EPERM)

    def statfs(self, path: str) -> dict[str, int]:
        raise fuse.FuseOSError(errno.ENOSYS)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(exist_ok=True)
    fuse.FUSE(PoorDisk(sys.argv[1]), sys.argv[2], foreground=True, direct_io=True, nothreads=True)
