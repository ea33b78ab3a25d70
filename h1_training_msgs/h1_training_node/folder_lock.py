# SPDX-License-Identifier: Apache-2.0
"""One session to a folder: a lock file keeps a second one out, and says who holds it.

The kernel frees the lock (`flock`) when its holder has ended, however it ended. Some network disks have no locks, or
locks that other computers do not see. So the file also is a lease: it names its holder, who renews it; one that is not
renewed for `LEASE_S`, by the disk's own clock, or whose process has ended on this computer, may be taken over.

Whoever starts a session takes `FolderLock(save_dir, SESSION_LOCK)` before anything else and hands it down in the
environment (`export`); a recorder that is started alone takes it itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any

SESSION_LOCK = ".session.lock"
"""In a `save_dir`, held for as long as a session lives."""

RECORDER_LOCK = ".recorder.lock"
"""In a folder of episodes, held by the recorder that writes there; whoever cleans up takes it, too."""

HOLDER_VARIABLE = "H1_SAVE_DIR_LOCKED"
"""In the environment of a session's processes: the `save_dir` that their session holds."""

LEASE_S = 30.0
_RENEW_S = 5.0
_SETTLE_S = 0.3
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderInUseError(RuntimeError):
    """Another session writes here; the message says which."""


class FolderLock:
    """Keeps other sessions out of a folder until `release`, or until this process ends.

    Args:
        folder: to hold; it is made if it is not there.
        name: of the lock file in it.
        leased: also keep those out who cannot see the lock; a folder inside one that is leased needs no lease.
        lease_s: how long a lease of another computer counts without being renewed.

    Attributes:
        remark: what the operator should know about locks on this disk; usually empty.

    Raises:
        FolderInUseError: another process holds it.
        OSError: the lock file cannot be made.
    """

    def __init__(
        self, folder: Path, name: str = SESSION_LOCK, *, leased: bool = True, lease_s: float = LEASE_S
    ) -> None:
        self.folder, self._path, self._lease_s = folder, folder / name, lease_s
        self.remark = ""
        self._released, self._renewing = threading.Event(), threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            self._has_locks = self._locked()
            if leased:
                self._refuse_living_holder()
            self._entry = json.dumps(_myself()).encode() + b"\n"
            self._write()
            if leased and not self._has_locks:
                self._settle()
        except BaseException:
            os.close(self._descriptor)
            raise
        if leased:
            threading.Thread(target=self._renew, name="folder-lease", daemon=True).start()

    @property
    def is_there(self) -> bool:
        """Whether the lock file is still the one that is held; a folder may have been deleted and made again."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def fileno(self) -> int:
        """The lock's descriptor: a child that inherits it keeps the lock until it has ended as well."""
        return self._descriptor

    def export(self, environ: MutableMapping[str, str]) -> None:
        """Let processes that are started with `environ` know that their session holds this folder."""
        environ[HOLDER_VARIABLE] = str(self.folder.resolve())

    def release(self) -> None:
        """Let others in."""
        with self._renewing:
            if not self._released.is_set():
                self._released.set()
                with contextlib.suppress(OSError):  # a lease that is given up counts no longer
                    os.ftruncate(self._descriptor, 0)
                os.close(self._descriptor)

    def _locked(self) -> bool:
        """Lock the file; False if the disk has no locks."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(self._refusal(self._holder())) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self.remark = (
                f"the disk of {self.folder} has no locks ({error.strerror}): a lease file keeps other sessions out; "
                f"after a crash on another computer wait {self._lease_s:.0f} s"
            )
            return False
        return True

    def _refuse_living_holder(self) -> None:
        """Believe the lease of a holder whose lock this computer cannot see.

        Raises:
            FolderInUseError: it lives.
        """
        holder = self._holder()
        if not holder:
            return
        if holder.get("host") == socket.gethostname():
            lives = not self._has_locks and _started(holder.get("pid")) == holder.get("started") is not None
        else:
            lives = self._lease_age_s() < self._lease_s
        if lives:
            raise FolderInUseError(self._refusal(holder))

    def _lease_age_s(self) -> float:
        """Since the file was written, by the clock that wrote it: that of the disk, not of this computer."""
        with tempfile.TemporaryFile(dir=self.folder) as now:
            now.write(b"\0")
            now.flush()
            return os.fstat(now.fileno()).st_mtime - os.fstat(self._descriptor).st_mtime

    def _settle(self) -> None:
        """Without locks two may take a lease at once: the last one to write has it.

        Raises:
            FolderInUseError: another one wrote later.
        """
        time.sleep(_SETTLE_S)
        if self._read() != self._entry:
            raise FolderInUseError(self._refusal(self._holder()))

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(self._read())
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _refusal(self, holder: Mapping[str, Any]) -> str:
        who = "process {pid} on {host} since {since}".format_map({"pid": "?", "host": "?", "since": "?", **holder})
        return f"{self.folder} is in use by another session ({who}); end that one first, or choose another folder"

    def _read(self) -> bytes:
        return os.pread(self._descriptor, 500, 0)

    def _write(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, self._entry, 0)

    def _renew(self) -> None:
        while not self._released.wait(min(_RENEW_S, self._lease_s / 4)):
            with self._renewing, contextlib.suppress(OSError):
                if not self._released.is_set():  # else the descriptor is another file's by now
                    os.pwrite(self._descriptor, self._entry, 0)


def is_held_by_own_session(folder: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Whether this process belongs to a session that holds `folder` already."""
    held = (os.environ if environ is None else environ).get(HOLDER_VARIABLE)
    return held is not None and Path(held) == folder.resolve()


def _myself() -> dict[str, Any]:
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "started": _started(os.getpid())}


def _started(pid: object) -> str | None:
    """When a process of this computer was started, in the kernel's ticks; None if there is none of that number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
