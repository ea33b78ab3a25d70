"""Uploads with rsync beside the session: transfer, then proof by rsync's own checksums.

Runs in a thread; progress and result go to `deliver`, in that thread. Every step is bounded: rsync by its own
time-out on a stand-still, and a whole run that prints nothing by ours.
"""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from h1_session_manager.rsync import RsyncJob, RsyncOptionError, differing_files, meaning, parse_progress
from h1_session_manager.values import Synced, SyncProgress, SyncState

_MARGIN_S = 30.0
_VERIFY_S = 3600.0
"""Checksums print nothing while they read; rsync's own time-out still watches the connection."""
_MOST_ERRORS = 8192
Deliver = Callable[[SyncProgress | Synced], None]


class UploadError(RuntimeError):
    """The upload failed; the message says why and what to do."""


class Uploader:
    """One upload at a time."""

    def __init__(self, job: RsyncJob, deliver: Deliver) -> None:
        self._job = job
        self._deliver = deliver
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._last = SyncProgress(SyncState.IDLE)

    def start(self) -> None:
        """Begin, unless an upload is under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End a running upload; what was sent is kept and used by the next one."""
        self._stopped.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            files = self._upload_and_verify()
        except (UploadError, RsyncOptionError) as error:
            self._tell(SyncState.FAILED, reason=str(error))
            self._deliver(Synced(reason=str(error)))
        except Exception as error:  # a thread must not end in silence: SYNCING waits for it
            self._tell(SyncState.FAILED, reason=f"{type(error).__name__}: {error}")
            self._deliver(Synced(reason=f"{type(error).__name__}: {error}"))
        else:
            self._tell(SyncState.DONE, progress=1.0)
            self._deliver(Synced(files=files))

    def _upload_and_verify(self) -> int:
        source = Path(self._job.source)
        if not source.is_dir():
            raise UploadError(f"{source} does not exist; nothing to upload")
        self._tell(SyncState.RUNNING)
        if not self._job.is_remote:
            self._make_local_target()
        self._execute(self._job.upload_command(), self._on_line, self._job.timeout_s + _MARGIN_S)
        self._tell(SyncState.VERIFYING, progress=self._last.progress)
        found: list[str] = []
        self._execute(self._job.verify_command(), found.append, _VERIFY_S)
        if differing := differing_files(found):
            names = ", ".join(differing[:3]) + (" ..." if len(differing) > 3 else "")
            raise UploadError(f"{len(differing)} files differ at {self._job.target} after the upload: {names}")
        return sum(1 for path in source.rglob("*") if path.is_file() and not _is_hidden(path, source))

    def _make_local_target(self) -> None:
        try:
            Path(self._job.target).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UploadError(f"{self._job.target} cannot be made: {error.strerror}; check rsync.target") from None

    def _on_line(self, line: str) -> None:
        if progress := parse_progress(line):
            self._tell(
                SyncState.RUNNING,
                file=self._last.file,
                progress=progress.share,
                bytes_sent=progress.bytes_sent,
                bytes_per_second=progress.bytes_per_second,
                seconds_left=progress.seconds_left,
            )
        elif line.strip() and not line.startswith(("sending ", "sent ", "total size")):
            self._last = SyncProgress(SyncState.RUNNING, file=line.strip(), progress=self._last.progress)

    def _execute(self, command: list[str], on_line: Callable[[str], None], silence_s: float) -> None:
        """Run rsync, handing over each line that it prints (progress lines end in a carriage return).

        Raises:
            UploadError: it could not be run, failed, or was silent for `silence_s`.
        """
        with tempfile.TemporaryFile() as errors:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=False
                )
            except FileNotFoundError:
                raise UploadError("rsync is not installed; install it (apt install rsync)") from None
            with self._process as process:
                is_in_time = self._read(process, on_line, silence_s)
                if not is_in_time:
                    process.kill()
            if self._stopped.is_set():
                raise UploadError("ended with the session; the rest is owed")
            if not is_in_time:
                raise UploadError(f"rsync stood still for {silence_s:g} s; check the network")
            if process.returncode != 0:
                raise UploadError(meaning(process.returncode, _tail(errors)))

    @staticmethod
    def _read(process: subprocess.Popen[bytes], on_line: Callable[[str], None], silence_s: float) -> bool:
        """Read until rsync closes its output; False if it stood still for too long."""
        assert process.stdout is not None
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + silence_s
            while True:
                if not selector.select(timeout=0.5):
                    if time.monotonic() > deadline:
                        return False
                    continue
                chunk = process.stdout.read1(65536)  # type: ignore[attr-defined]
                if not chunk:
                    return True
                deadline = time.monotonic() + silence_s
                *complete, buffer = (buffer + chunk).replace(b"\r", b"\n").split(b"\n")
                for line in complete:
                    if line.strip():
                        on_line(line.decode("utf-8", errors="replace"))

    def _tell(
        self,
        state: SyncState,
        *,
        file: str = "",
        progress: float = 0.0,
        bytes_sent: int = 0,
        bytes_per_second: float = 0.0,
        seconds_left: float = -1.0,
        reason: str = "",
    ) -> None:
        self._last = SyncProgress(
            state, file, progress, bytes_sent, bytes_per_second, seconds_left, files_owed=0, reason=reason
        )
        self._deliver(self._last)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts) or path.suffix == ".tmp"


def _tail(errors: IO[bytes]) -> str:
    size = errors.seek(0, 2)
    errors.seek(max(0, size - _MOST_ERRORS))
    return errors.read().decode("utf-8", errors="replace")
