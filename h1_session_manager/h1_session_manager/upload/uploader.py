# SPDX-License-Identifier: Apache-2.0
"""Uploads with rsync beside the session: each file validated, sent, and proved by rsync's own checksums.

Runs in a thread; progress and result go to `deliver`, in that thread. Only finished episodes that are not in the
ledger are looked at. What may pass by itself (a cut connection) is tried again with growing waits.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from h1_session_manager.upload.ledger import FileState, Ledger, finished_episodes
from h1_session_manager.upload.programs import FileProgress, RsyncRun, Validator, ValidatorError
from h1_session_manager.upload.rsync import RsyncJob, UploadError, differing_files, free_bytes
from h1_session_manager.upload.rsync_options import RsyncOptionError
from h1_session_manager.values import CHECKING, Reached, Synced, SyncProgress
from h1_training_node.message_numbers import SyncState

_MARGIN_S = 30.0
_VERIFY_S = 3600.0
"""Checksums print nothing while they read; rsync's own time-out still guards the connection."""
_PROBE_S = 30.0
_LONGEST_WAIT_S = 60.0
_MAY_BE_FULL = frozenset({3, 10, 11, 12, 20, 23, 30})
"""Exit statuses that a full target leads to, among other things."""
Deliver = Callable[[SyncProgress | Synced | Reached], None]


@dataclass(frozen=True)
class Patience:
    """How often what may pass by itself is tried again, and the first wait in s, which doubles each time."""

    retries: int = 3
    first_wait_s: float = 2.0

    def wait_s(self, attempt: int) -> float:
        """Before attempt 1, 2, ..."""
        return float(min(_LONGEST_WAIT_S, self.first_wait_s * 2 ** (attempt - 1)))


class Uploader:
    """One upload at a time. One that is waited for takes over from one in the background, which would be slow."""

    def __init__(
        self, job: RsyncJob, deliver: Deliver, *, patience: Patience | None = None, validate: Validator | None = None
    ) -> None:
        self._job = job
        self._deliver = deliver
        self._patience = Patience() if patience is None else patience
        self._validate = validate
        self._judged: dict[tuple[str, FileState], str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._run = RsyncRun()
        self._in_background = False
        self._awaited, self._ended = threading.Event(), threading.Event()
        self._last = SyncProgress(SyncState.IDLE)
        self._owed = 0
        self._listed: frozenset[str] = frozenset()
        self._sending = FileProgress({})

    def start(self, *, background: bool = False) -> None:
        """Begin; `background` is for what nobody waits for: at low priority."""
        with self._lock:
            if self._thread is not None:
                if self._in_background and not background:
                    self._awaited.set()
                    self._run.stop()  # what it has sent is kept
                return
            self._run = RsyncRun()
            self._awaited.clear()
            self._ended.clear()
            self._in_background = background
            self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)
            self._thread.start()

    def probe(self) -> None:
        """Find out whether the target can be reached; the answer is a `Reached`."""
        threading.Thread(target=self._probe, name="upload probe", daemon=True).start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End a running upload; what was sent is kept and used by the next one."""
        with self._lock:
            self._ended.set()
            self._run.stop()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    # --- in the thread ---

    def _work(self) -> None:
        while True:
            result = self._result()
            with self._lock:
                follows = self._gives_way and not self._ended.is_set()
                if follows:
                    self._run, self._in_background = RsyncRun(), False
                    self._awaited.clear()
                else:
                    self._thread = None
            if not follows:
                self._deliver(result)
                return

    @property
    def _gives_way(self) -> bool:
        """It runs in the background, and somebody waits by now."""
        return self._in_background and self._awaited.is_set()

    def _result(self) -> Synced:
        background = self._in_background
        try:
            self._owed, self._listed = 0, frozenset()
            files = self._with_patience()
        except Exception as error:  # a thread must not end in silence: SYNCING waits for it
            expected = isinstance(error, (UploadError, RsyncOptionError, ValidatorError))
            reason = str(error) if expected else f"{type(error).__name__}: {error}"
            if not self._gives_way:
                self._report(SyncProgress(SyncState.FAILED, reason=reason))
            return Synced(reason=reason, background=background)
        self._report(SyncProgress(SyncState.DONE, progress=1.0))
        return Synced(files=files, background=background)

    def _with_patience(self) -> int:
        source = Path(self._job.source)
        if not source.is_dir():
            raise UploadError(f"{source} does not exist; nothing to upload")
        if problem := self._job.problem():
            raise UploadError(problem)
        attempt = 0
        by_checksum = False
        while True:
            try:
                return self._upload_and_verify(source, by_checksum)
            except UploadError as error:
                attempt += 1
                if not error.is_passing or attempt > self._patience.retries or self._awaited.is_set():
                    raise
                wait_s = self._patience.wait_s(attempt)
                by_checksum = isinstance(error, DifferenceError)
                again = f"{error}; attempt {attempt + 1} of {self._patience.retries + 1} in {wait_s:g} s"
                self._report(SyncProgress(SyncState.RUNNING, progress=self._last.progress, reason=again))
                if self._run.stopped.wait(wait_s):
                    raise UploadError("ended with the session; the rest is owed") from None

    def _upload_and_verify(self, source: Path, by_checksum: bool) -> int:
        """Send what is not in the ledger, prove it, and note it there; returns how many files are at the target."""
        ledger = Ledger.load(source, self._job.target)
        files = ledger.unverified()
        if self._in_background:  # an episode that is finished meanwhile may still get its label
            self._listed = self._listed or frozenset(files)
            files = {name: state for name, state in files.items() if name in self._listed}
        self._owed = len(files)
        if files:
            self._report(SyncProgress(SyncState.RUNNING))
        damaged = self._take_out_damaged(source, files)
        if files:
            self._send(files, by_checksum)
            self._report(SyncProgress(SyncState.VERIFYING, progress=self._last.progress))
            found: list[str] = []
            self._execute(self._job.verify_command(), files, found.append, _VERIFY_S)
            differing = differing_files(found)
            ledger.add({name: state for name, state in files.items() if name not in differing}, time.time())
            self._owed = len(ledger.unverified())
            if differing:
                raise DifferenceError(differing, self._job.target)
        if damaged:
            names = "; ".join(f"{name}: {why}" for name, why in damaged.items())
            raise UploadError(f"{len(damaged)} damaged, not sent: {names}. See `episodes validate`; set rsync_validate "
                              "to false to send it all the same")  # fmt: skip
        return len(finished_episodes(source))

    def _take_out_damaged(self, source: Path, files: dict[str, FileState]) -> dict[str, str]:
        damaged: dict[str, str] = {}
        for number, (name, state) in enumerate(list(files.items()) if self._validate else (), 1):
            if self._run.stopped.is_set():
                raise UploadError("ended with the session; the rest is owed")
            self._report(SyncProgress(SyncState.RUNNING, f"{name} ({number} of {self._owed}, {CHECKING})"))
            if (name, state) not in self._judged and self._validate is not None:
                self._judged[name, state] = self._validate(source / name, self._in_background)
            if why := self._judged[name, state]:
                damaged[name] = why
                del files[name]
        return damaged

    def _send(self, files: dict[str, FileState], by_checksum: bool) -> None:
        if not self._job.is_remote:
            self._make_local_target()
        command = self._job.upload_command(by_checksum=by_checksum)
        self._sending = FileProgress(files)
        try:
            self._execute(command, files, self._on_line, self._job.timeout_s + _MARGIN_S)
        except UploadError as error:
            if error.status in _MAY_BE_FULL and not self._run.stopped.is_set():
                self._check_space(max(state.size for state in files.values()), error)
            raise

    def _check_space(self, needed: int, error: UploadError) -> None:
        """rsync's last words about a full disk do not always come through: the target is asked itself.

        Raises:
            UploadError: there is no space there.
        """
        free = free_at(self._job)
        if free is not None and free < needed:
            raise UploadError(
                f"the target is full; free some space there ({free / 1e6:,.1f} MB free, the largest file has "
                f"{needed / 1e6:,.1f} MB)"
            ) from error

    def _execute(
        self, command: list[str], files: dict[str, FileState], on_line: Callable[[str], None], silence_s: float
    ) -> None:
        self._run.execute(
            command,
            files,
            on_line,
            silence_s,
            low_priority=self._in_background,
            environment=self._job.environment,
        )

    def _make_local_target(self) -> None:
        try:
            self._job.local_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UploadError(f"{self._job.target} cannot be made: {error.strerror}; check rsync.target") from None

    def _probe(self) -> None:
        reason = self._job.problem()
        try:
            if not reason and self._job.is_remote:
                command = self._job.probe_command()
                RsyncRun().execute(command, (), lambda _line: None, _PROBE_S, environment=self._job.environment)
            elif not reason:
                self._make_local_target()
            owed = sum(
                state.size for state in Ledger.load(Path(self._job.source), self._job.target).unverified().values()
            )
            free = None if reason else free_at(self._job)
            if free is not None and free < owed:
                reason = (
                    f"{free / 1e6:,.0f} MB free at the target, {owed / 1e6:,.0f} MB to be sent; free some space there"
                )
        except (UploadError, RsyncOptionError, OSError) as error:
            reason = str(error)
        self._deliver(Reached(reason))

    def _on_line(self, line: str) -> None:
        progress = self._sending.take(line)
        if progress is None:
            self._last = replace(self._last, file=self._sending.text)
            return
        self._report(replace(progress, file=self._sending.text))

    def _report(self, progress: SyncProgress) -> None:
        self._last = replace(progress, files_owed=self._owed)
        self._deliver(self._last)


def free_at(job: RsyncJob) -> int | None:
    """Bytes free where `job` goes; None if that cannot be found out. Blocks."""
    try:
        if not job.is_remote:
            return shutil.disk_usage(job.local_folder).free
        command = job.space_command()
        if command is None:
            return None
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_S)
    except (OSError, RsyncOptionError, subprocess.TimeoutExpired):
        return None
    return free_bytes(done.stdout) if done.returncode == 0 else None


class DifferenceError(UploadError):
    """Files are not the same at the target after they were sent; sent by checksum they may be."""

    def __init__(self, differing: list[str], target: str) -> None:
        names = ", ".join(differing[:3]) + (" ..." if len(differing) > 3 else "")
        super().__init__(f"{len(differing)} files differ at {target} after the upload: {names}", is_passing=True)
