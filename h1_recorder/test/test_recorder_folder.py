# SPDX-License-Identifier: Apache-2.0
"""The folder of an epoch: locked, indices taken and free, what is discarded, restored, deleted in time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from recorder_bench import bench_maker

from h1_recorder.episode.folder import (
    DISCARDED,
    discard,
    free_index,
    prune_discarded,
    prune_kept_journals,
    remove_leftovers,
    restore,
)
from h1_training_node.folder_lock import RECORDER_LOCK, FolderInUseError, FolderLock

bench = pytest.fixture(bench_maker)


def test_a_second_recorder_is_kept_out_of_the_folder_and_reads_who_is_in_it(bench: Any, tmp_path: Path) -> None:
    first, second = bench(), bench()
    first.record()
    second.hear()
    answer = second.start()
    assert not answer.accepted
    assert f"process {os.getpid()}" in answer.reason and "end that one first" in answer.reason


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, RECORDER_LOCK, leased=False)
    with pytest.raises(FolderInUseError):
        FolderLock(tmp_path, RECORDER_LOCK, leased=False)
    lock.release()
    FolderLock(tmp_path, RECORDER_LOCK, leased=False).release()


def test_the_first_free_index_is_free_of_episodes_journals_and_discarded_ones(tmp_path: Path) -> None:
    (tmp_path / DISCARDED).mkdir()
    for name in ("episode_0.hdf5", ".episode_1.mcap", f"{DISCARDED}/episode_2.hdf5", ".episode_4.hdf5.part", "notes"):
        (tmp_path / name).touch()
    assert free_index(tmp_path) == 3
    assert free_index(tmp_path / "not there") == 0


def test_a_discarded_episode_can_be_restored_but_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "episode_0.hdf5"
    path.write_text("one")
    (aside,) = discard([path, tmp_path / ".episode_0.mcap"])
    assert not path.exists()
    path.write_text("two")
    with pytest.raises(FileExistsError):
        restore(aside)
    path.unlink()
    assert restore(aside).read_text() == "one"


def test_what_was_discarded_is_deleted_after_its_days(tmp_path: Path) -> None:
    for name in ("episode_0.hdf5", "episode_1.hdf5"):
        (tmp_path / name).touch()
    old, new = discard([tmp_path / "episode_0.hdf5", tmp_path / "episode_1.hdf5"])
    os.utime(old, (0, time.time() - 8 * 86_400))
    assert prune_discarded(tmp_path, 7.0) == [old]
    assert new.exists()


def test_kept_journals_are_bounded_but_one_without_its_episode_is_never_deleted(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f".episode_{index}.mcap").write_bytes(bytes(100))
        os.utime(tmp_path / f".episode_{index}.mcap", (0, time.time() - 1000 * (4 - index)))
        if index > 0:
            (tmp_path / f"episode_{index}.hdf5").touch()
    deleted = prune_kept_journals(tmp_path, days=1.0, most_bytes=150)
    assert [path.name for path in deleted] == [".episode_1.mcap", ".episode_2.mcap"]


def test_a_journal_whose_episode_was_uploaded_and_deleted_is_only_a_kept_one(tmp_path: Path) -> None:
    (tmp_path / ".episode_0.mcap").write_bytes(bytes(100))
    (tmp_path / ".episode_0.uploaded").touch()
    assert prune_kept_journals(tmp_path, days=1.0, most_bytes=50) == [tmp_path / ".episode_0.mcap"]


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".episode_0.hdf5.part").touch()
    (tmp_path / "episode_1.hdf5").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["episode_1.hdf5"]
