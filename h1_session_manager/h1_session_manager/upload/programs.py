# SPDX-License-Identifier: Apache-2.0
"""The programs that an upload runs: rsync (names in, lines out, every stand-still bounded) and `episodes validate`.

The recorder's validation is a program, not an import. All of it blocks: for a thread.
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from h1_session_manager.upload.ledger import FileState
from h1_session_manager.upload.rsync import UploadError, failure, parse_progress
from h1_session_manager.values import SyncProgress
from h1_training_node.process import ENDS_WITH_PARENT

_MOST_ERRORS = 8192
_VALIDATION_S = 600.0
_LOW_PRIORITY = (("nice", "-n", "19"), ("ionice", "-c", "3"))


Validator = Callable[[Path, bool], str]
"""What is wrong with a file, empty if nothing is; looked at with low priority where nobody waits for it."""


class RsyncRun:
    """Carries out rsync's command lines until it is stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End a running rsync, from another thread; what was sent is kept and used by the next one."""
        self.stopped.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    def execute(
        self,
        command: list[str],
        names: Iterable[str],
        on_line: Callable[[str], None],
        silence_s: float,
        *,
        low_priority: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run rsync on `names`, handing over each line that it prints (progress lines end in a carriage return).

        Raises:
            UploadError: it could not be run, failed, was silent for `silence_s`, or was stopped.
        """
        if shutil.which(command[0]) is None:
            raise UploadError(f"{command[0]} is not installed here; install it (apt install {command[0]})")
        command = _behind((*(_LOW_PRIORITY if low_priority else ()), ENDS_WITH_PARENT), command)
        with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as errors:
            listed.write(b"".join(name.encode() + b"\0" for name in names))
            listed.seek(0)
            self._process = subprocess.Popen(
                command, stdin=listed, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
            with self._process as process:
                if self.stopped.is_set():
                    process.terminate()
                is_in_time = _read(process, on_line, silence_s)
                if not is_in_time:
                    process.kill()
            if self.stopped.is_set():
                raise UploadError("ended with the session; the rest is owed")
            if not is_in_time:
                raise UploadError(f"rsync stood still for {silence_s:g} s; check the network", is_passing=True)
            if process.returncode != 0:
                raise failure(process.returncode, _tail(errors))


def _behind(prefixes: Iterable[tuple[str, ...]], command: list[str]) -> list[str]:
    """`command` behind those of `prefixes` that are installed."""
    return [word for prefix in prefixes if shutil.which(prefix[0]) for word in prefix] + command


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


def _tail(errors: IO[bytes]) -> str:
    size = errors.seek(0, 2)
    errors.seek(max(0, size - _MOST_ERRORS))
    return errors.read().decode("utf-8", errors="replace")


class FileProgress:
    """One rsync's progress.

    Args:
        files: what is sent, with sizes.
    """

    def __init__(self, files: Mapping[str, FileState]) -> None:
        self._files = files
        self._name = ""
        self._number = 0
        self._begun_bytes = self._bytes = 0

    def take(self, line: str) -> SyncProgress | None:
        """A line of rsync's; its progress of all, if it is one of that."""
        progress = parse_progress(line)
        if progress is not None:
            self._bytes = progress.bytes_sent
        elif (name := line.strip()) in self._files and name != self._name:
            self._name, self._number, self._begun_bytes = name, self._number + 1, self._bytes
        return progress

    @property
    def text(self) -> str:
        """The file being sent, which one it is of how many, and its own share: 'NAME (2 of 7, 45%)'."""
        if not self._name:
            return ""
        size = self._files[self._name].size
        share = min(1.0, (self._bytes - self._begun_bytes) / size) if size else 1.0
        return f"{self._name} ({self._number} of {len(self._files)}, {share:.0%})"


class ValidatorError(RuntimeError):
    """No file can be checked; the message says what to do."""


def episodes_program() -> Path:
    """The recorder's `episodes`.

    Raises:
        ValidatorError: it is not installed.
    """
    try:
        program = Path(get_package_prefix("h1_recorder")) / "lib" / "h1_recorder" / "episodes"
    except PackageNotFoundError:
        program = None
    if program is None or not program.is_file():
        raise ValidatorError("h1_recorder is not installed here, so no episode can be checked; build it, or set "
                             "rsync_validate to false to send unchecked")  # fmt: skip
    return program


def validate(path: Path, low_priority: bool) -> str:
    """What `episodes validate` finds wrong with `path`; empty if nothing is.

    Images are looked at but not decoded: the recorder has read the file back, and an upload must not take a core.

    Raises:
        ValidatorError: it cannot be run.
    """
    prefixes = (*(_LOW_PRIORITY[:1] if low_priority else ()), ENDS_WITH_PARENT)
    command = _behind(prefixes, [str(episodes_program()), "validate", "--fast", str(path)])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VALIDATION_S, check=False)
    except OSError as error:
        raise ValidatorError(f"episodes validate cannot be run: {error}") from None
    except subprocess.TimeoutExpired:
        return f"could not be checked within {_VALIDATION_S:g} s"
    if done.returncode == 0:
        return ""
    found = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip()]
    if done.returncode == 1 and found:
        return "; ".join(found[:3])
    said = (done.stderr.strip().splitlines() or ["no reason named"])[-1]
    raise ValidatorError(f"episodes validate ended with status {done.returncode}: {said[:200]}")
