# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, gets full, may not be written to, or is gone: on real file systems, each with its message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from recorder_bench import bench_maker
from recorder_builders import DAMPING

from h1_recorder.episode.episode import read
from h1_recorder.episode.validate import problems
from h1_recorder.recorder.disk import DiskMonitor
from h1_training_node.message_numbers import RecorderState
from h1_training_testing import wait_until

bench = pytest.fixture(bench_maker)
PROGRAM = Path(__file__).with_name("recorder_on_small_disk.py")


@cache
def namespace() -> tuple[str, ...]:
    """What puts a program into a mount namespace of its own; empty where that is not allowed."""
    if shutil.which("unshare") is not None:
        for command in (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount")):
            mount = ("mount", "-t", "tmpfs", "tmpfs", "/mnt")
            if subprocess.run([*command, *mount], capture_output=True, check=False).returncode == 0:
                return command
    return ()


def run(folder: Path, scenario: str) -> dict[str, Any]:
    """The result of one scenario on a small disk, or on the nearest thing that this machine allows."""
    kind = "tmpfs" if namespace() else "limit"
    command = [*namespace(), sys.executable, str(PROGRAM), str(folder), kind, scenario]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


FULL = ("No space left on device", "File too large")
"""Of a small tmpfs; of a limit, where nothing may be mounted."""


def test_on_a_full_disk_the_journal_stays_and_is_an_episode_once_there_is_space(tmp_path: Path) -> None:
    found = run(tmp_path, "on_a_full_disk")
    journal = ".episode_0.mcap"
    assert any(f"{journal}: {full}" in found["events"]["journal_failed"] for full in FULL), found
    assert "what was written until now is being saved" in found["events"]["journal_failed"]
    assert any(full in found["last_error"] for full in FULL), found
    assert "episode_0.hdf5" in found["last_error"]
    assert found["whole"], "the journal ends with a whole record"
    assert found["left"] == [journal, ".recorder.lock"], "nothing half-written is left"
    assert "from a journal left behind" in found["recovered"]["journal_recovered"]
    assert found["problems"] == []


def test_an_episode_is_finished_while_its_file_still_fits_the_disk(tmp_path: Path) -> None:
    found = run(tmp_path, "on_a_disk_that_gets_low")
    assert "finishing the episode while it fits" in found["events"]["disk_low"]
    assert "episode_saved" in found["events"] and "journal_failed" not in found["events"]
    assert found["problems"] == []


def test_a_folder_that_may_not_be_written_is_refused_by_name(tmp_path: Path) -> None:
    found = run(tmp_path, "on_a_disk_that_may_not_be_written")
    assert found["reason"].startswith(f"cannot record into {tmp_path}")
    assert "Read-only file system" in found["reason"] or "Permission denied" in found["reason"]
    assert found["state"] == "IDLE"


def test_a_place_that_cannot_be_looked_at_is_gone_and_the_next_one_is_looked_at_all_the_same(tmp_path: Path) -> None:
    disk = DiskMonitor(period_s=0.01)
    try:
        disk.look_at(tmp_path / ("x" * 300))  # too long a name: no FileNotFoundError, as of a disk that was unplugged
        wait_until(lambda: not disk.exists, "it is gone")
        disk.look_at(tmp_path)
        wait_until(lambda: disk.exists and disk.free is not None, "the next one is asked about")
    finally:
        disk.stop()


def test_a_folder_that_is_deleted_while_recording_loses_nothing(bench: Any) -> None:
    one = bench()
    answer = one.record()
    journal = one.recorder.intake.journal
    shutil.rmtree(Path(answer.path).parent)
    one.recorder.disk.stop()
    one.recorder.disk.exists = False
    one.tick_until(RecorderState.SAVED)
    reported = dict(one.events)
    assert ".episode_0.mcap is gone" in reported["journal_vanished"]
    assert "journal_rescued" not in reported, "it is where it was"
    assert one.recorder.status().last_path == answer.path
    assert problems(Path(answer.path)) == []
    assert len(read(answer.path)) == 39
    assert journal.path.exists()


def test_a_folder_that_is_moved_while_recording_is_followed_and_named(bench: Any, tmp_path: Path) -> None:
    one = bench()
    answer = one.record()
    Path(answer.path).parent.rename(tmp_path / "moved")
    one.recorder.disk.stop()
    one.recorder.disk.exists = False
    one.tick_until(RecorderState.SAVED)
    assert one.recorder.status().last_path == str(tmp_path / "moved/episode_0.hdf5")
    assert dict(one.events)["journal_rescued"].endswith(f"its episode is in {tmp_path / 'moved'}")
    assert problems(tmp_path / "moved/episode_0.hdf5") == []


def test_the_next_episode_after_a_deleted_folder_locks_the_new_one(bench: Any) -> None:
    one, other = bench(), bench()
    answer = one.record()
    shutil.rmtree(Path(answer.path).parent)
    one.recorder.finish(answer.episode_id, "operator", "success")
    one.tick_until(RecorderState.SAVED)
    one.run(20, DAMPING, "DECIDING")
    assert one.start().accepted
    other.hear()
    assert "in use by another session" in other.start().reason
