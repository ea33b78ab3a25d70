# SPDX-License-Identifier: Apache-2.0
"""What a save does with a disk. It needs nothing but to write, read and rename; every other ability is used if there.

Hard links, syncs of folders, permissions, preallocation and locks are missing on one disk or another (exFAT, SMB, NFS,
FUSE, overlays), and say so by any error number: a missing one costs what it would have given, never the episode.
`lacking` finds out once, before anything is recorded.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

_AT_FDCWD, _RENAME_NOREPLACE, _FALLOC_FL_KEEP_SIZE = -100, 1, 1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS, errno.ENOTTY)
"""Of fdatasync(2): this file cannot be synced. Any other number is the disk's word that data are lost."""
_libc = ctypes.CDLL(None, use_errno=True)


def free_bytes(folder: Path) -> int | None:
    """Bytes that we may still write to the file system of `folder`, which need not be made yet; None if it cannot say.

    Raises:
        FileNotFoundError, NotADirectoryError, PermissionError: of the folder itself.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def rename_new(source: Path, target: Path) -> None:
    """Rename without ever replacing a file.

    Atomically where the disk can (renameat2, else a hard link); else by looking first, which the folder's lock allows.

    Raises:
        FileExistsError: `target` is there; `source` stays as it is.
        OSError: it cannot be renamed.
    """
    for rename in (_renameat2, _link_and_unlink):
        try:
            rename(source, target)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "the name is taken", str(target)) from None
        except OSError:
            continue  # not on this disk; if anything else is wrong, the last way says so
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "the name is taken", str(target))
    source.rename(target)


def _renameat2(source: Path, target: Path) -> None:
    try:
        call = _libc.renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
        raise _error(ctypes.get_errno(), target)


def _link_and_unlink(source: Path, target: Path) -> None:
    os.link(source, target)
    try:
        source.unlink()
    except OSError:
        target.unlink()
        raise


def sync_file(descriptor: int) -> None:
    """Wait until the disk has a file's bytes; nothing on a disk that cannot sync.

    Raises:
        OSError: the disk could not take them.
    """
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_folder(folder: Path) -> bool:
    """Wait until the disk has a folder's names; False if it cannot: a power failure may then cost new names."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def keep_private(path: Path) -> None:
    """Images of people are not for everybody: nobody but owner and group may read, where the disk knows of owners."""
    with contextlib.suppress(OSError):
        path.chmod(0o640)


def preallocate(path: Path, size: int) -> None:
    """Have the disk keep `size` bytes for the file at `path` beyond what it holds; its length stays as it is.

    HDF5 does not survive a disk that fills under it: it fails again as the file is closed, and ends the process. Where
    the disk cannot keep space, at least see that there is as much now.

    Raises:
        OSError: there is not so much space, quotas and limits of this process included.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and size > limit:
        raise _error(errno.EFBIG, path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        number = _fallocate(descriptor, size)
    finally:
        os.close(descriptor)
    if number and number not in _NO_SPACE:
        free = free_bytes(path.parent)
        number = errno.ENOSPC if free is not None and free < size else 0
    if number:
        raise _error(number, path)


def _fallocate(descriptor: int, size: int) -> int:
    """Error number; 0 = done."""
    failed = _libc.fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))
    return ctypes.get_errno() if failed else 0


def release_rest(path: Path) -> None:
    """Free what was preallocated behind the end of the file."""
    with contextlib.suppress(OSError):
        os.truncate(path, path.stat().st_size)


def lock_for_edit(descriptor: int) -> None:
    """Take HDF5's own lock on a file (`flock`), where the disk has locks; closing the descriptor frees it.

    Raises:
        BlockingIOError: another program has the file open.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def mapped(path: Path, *, whole: bool = False) -> memoryview:
    """The bytes of a file, mapped into memory, or read where the disk cannot map; `whole` maps them at once.

    Raises:
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return memoryview(b"")
        flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if whole else 0)  # half the time of a fault a page
        try:
            return memoryview(mmap.mmap(file.fileno(), size, flags=flags, prot=mmap.PROT_READ))
        except OSError:
            return memoryview(file.read())


def lacking(folder: Path) -> list[str]:
    """What the disk of `folder` cannot do, a line each with what follows from it; empty if nothing is missing.

    The first line begins with "cannot be used" if it cannot do what a save needs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe_", dir=folder, ignore_cleanup_errors=True) as name:
            return _lacking(Path(name))
    except OSError as error:
        return [f"cannot be used: {error.strerror or error}; nothing is recorded there"]


def _lacking(folder: Path) -> list[str]:
    """By trying it all in a folder of its own.

    Raises:
        OSError: it cannot even write, read and rename.
    """
    one, two = folder / "one", folder / "two"
    one.write_bytes(b"probe")
    one.rename(two)
    if two.read_bytes() != b"probe":
        raise OSError(errno.EIO, "what was written does not read back")
    descriptor = os.open(two, os.O_RDWR | os.O_CLOEXEC)
    try:
        tried: list[tuple[Callable[[], object], str]] = [
            (lambda: os.fdatasync(descriptor), "cannot sync files: a power failure may cost what was recorded last"),
            (lambda: _required(sync_folder(folder)), "cannot sync folders: a power failure may cost a new file's name"),
            (lambda: _never_replacing(two, one), "cannot rename without replacing: only the lock keeps files safe"),
            (lambda: fcntl.flock(descriptor, fcntl.LOCK_EX), "has no locks: a lease file keeps a second session out"),
            (lambda: os.fchmod(descriptor, 0o640), "has no permissions: whoever can read the disk sees the images"),
            (lambda: _required(not _fallocate(descriptor, 4096)), "cannot keep space: it is only looked at"),
            (
                lambda: _required(free_bytes(folder)),
                "does not say how much is free: a full disk is seen when it is full",
            ),
        ]
        return [text for attempt, text in tried if not _works(attempt)]
    finally:
        os.close(descriptor)


def _never_replacing(source: Path, target: Path) -> None:
    try:
        _renameat2(source, target)
    except OSError:
        _link_and_unlink(source, target)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _required(it: object) -> None:
    if not it:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
