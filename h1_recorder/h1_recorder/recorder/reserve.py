"""Room on the disk for a file before it is written, so that a full disk is noticed where it can still be told.

HDF5 does not bear a disk that fills under it: it fails again when the file is closed, and ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from pathlib import Path

from h1_recorder.recorder.disk import free_bytes

_KEEP_SIZE = 1
_UNKNOWN_HERE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def reserve(path: Path, size: int) -> None:
    """Reserve `size` bytes for the file at `path` beyond what it holds; its length stays as it is.

    Where the file system cannot (NFS, exFAT), at least see that there is as much room now.

    Raises:
        OSError: there is not so much room, quotas and limits of this process included.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and size > limit:
        raise _error(errno.EFBIG, path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.fallocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))
    finally:
        os.close(descriptor)
    number = ctypes.get_errno() if failed else 0
    if number in _UNKNOWN_HERE and free_bytes(path.parent) < size:
        number = errno.ENOSPC
    if number and number not in _UNKNOWN_HERE:
        raise _error(number, path)


def release_rest(path: Path) -> None:
    """Give back what was reserved behind the end of the file.

    Raises:
        OSError: the file is gone.
    """
    os.truncate(path, path.stat().st_size)


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
