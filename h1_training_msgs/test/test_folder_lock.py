# SPDX-License-Identifier: Apache-2.0
"""A folder that a session holds: who else may have it, and when."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from h1_training_node import folder_lock
from h1_training_node.folder_lock import SESSION_LOCK, FolderInUseError, FolderLock, is_held_by_own_session
from h1_training_node.session_end import END_NOTE, note_lost_node, noted_reason
from h1_training_testing import wait_until

HOLD = """
import sys, time
from pathlib import Path
from h1_training_node.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def other_holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    number = getattr(request, "param", errno.ENOLCK)

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(folder_lock, "_SETTLE_S", 0.0)


def write_lease(folder: Path, age_s: float = 0.0, **holder: Any) -> None:
    path = folder / SESSION_LOCK
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2026-11-27 10:00:00", **holder}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_second_session_is_refused_with_who_holds_the_folder_and_since_when(tmp_path: Path) -> None:
    process = other_holder(tmp_path / "data")
    try:
        with pytest.raises(FolderInUseError) as refused:
            FolderLock(tmp_path / "data")
        assert f"process {process.pid} on {socket.gethostname()} since 20" in str(refused.value)
    finally:
        process.kill()
        process.wait()


def test_a_holder_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    process = other_holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    FolderLock(tmp_path).release()


def test_a_folder_is_free_after_its_release_and_may_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        lock = FolderLock(tmp_path)
        assert lock.is_there and lock.remark == ""
        lock.release()


def test_a_lock_file_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / SESSION_LOCK).unlink()
    assert not lock.is_there
    lock.release()


def test_a_lease_of_another_computer_counts_while_it_is_renewed_even_where_locks_seem_to_work(tmp_path: Path) -> None:
    write_lease(tmp_path)
    with pytest.raises(FolderInUseError, match="process 1 on elsewhere since 2026-11-27 10:00:00"):
        FolderLock(tmp_path)
    write_lease(tmp_path, age_s=folder_lock.LEASE_S + 1)
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("no_locks", folder_lock._NO_LOCKS, indirect=True)
def test_without_locks_a_lease_is_taken_and_said(tmp_path: Path, no_locks: None) -> None:
    lock = FolderLock(tmp_path)
    assert "has no locks" in lock.remark
    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_without_locks_a_process_of_this_computer_that_has_ended_keeps_nobody_out(
    tmp_path: Path, no_locks: None
) -> None:
    write_lease(tmp_path, host=socket.gethostname(), pid=os.getpid(), started="1")
    FolderLock(tmp_path).release()


def test_of_two_that_take_a_lease_at_once_one_has_it(
    tmp_path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: write_lease(tmp_path))
    with pytest.raises(FolderInUseError, match="elsewhere"):
        FolderLock(tmp_path)


def test_a_lease_is_renewed(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, lease_s=0.04)
    before = (tmp_path / SESSION_LOCK).stat().st_mtime_ns
    wait_until(lambda: (tmp_path / SESSION_LOCK).stat().st_mtime_ns != before, "the lease is renewed", 5.0)
    lock.release()


def test_another_error_than_no_locks_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        FolderLock(tmp_path / "file")


def test_processes_of_a_session_know_what_it_holds(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    assert not is_held_by_own_session(tmp_path, environ)
    lock = FolderLock(tmp_path)
    lock.export(environ)
    assert is_held_by_own_session(tmp_path / "x" / "..", environ)
    assert not is_held_by_own_session(tmp_path / "other", environ)
    lock.release()


def test_a_lost_node_is_the_reason_of_a_journal_that_was_cut_then_and_of_no_other(tmp_path: Path) -> None:
    epoch = tmp_path / "training_session_epoch1"
    epoch.mkdir()
    note_lost_node(tmp_path, "recorder lost: killed by SIGKILL", 100 * 10**9)
    for last_ns in (95 * 10**9, 101 * 10**9):
        assert noted_reason(epoch, last_ns) == "recorder lost: killed by SIGKILL"
    for last_ns in (10 * 10**9, 200 * 10**9):
        assert noted_reason(epoch, last_ns) == ""
    (tmp_path / END_NOTE).write_text("{")
    assert noted_reason(epoch, 100 * 10**9) == ""


def test_a_lease_that_is_being_renewed_as_it_is_given_up_is_written_into_no_other_file(tmp_path, monkeypatch) -> None:
    """A descriptor that was closed is the next file's."""
    renewals, go_on, ended = threading.Semaphore(0), threading.Event(), threading.Event()
    write = os.pwrite

    def slow(descriptor: int, data: bytes, offset: int) -> int:
        renewals.release()
        go_on.wait(20.0)
        written = write(descriptor, data, offset)
        ended.set()
        return written

    lock = FolderLock(tmp_path, lease_s=0.04)
    monkeypatch.setattr(os, "pwrite", slow)
    assert renewals.acquire(timeout=20.0), "a renewal has begun"
    releasing = threading.Thread(target=lock.release)
    releasing.start()
    releasing.join(0.3)
    with (tmp_path / "episode_0.hdf5").open("wb", buffering=0) as episode:
        episode.write(b"an episode")
        go_on.set()
        assert ended.wait(20.0)
    releasing.join(20.0)
    assert (tmp_path / "episode_0.hdf5").read_bytes() == b"an episode"
