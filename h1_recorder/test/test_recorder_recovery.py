# SPDX-License-Identifier: Apache-2.0
"""What an earlier session left behind is made an episode at the start, and only that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from recorder_bench import InProcess, bench_maker
from recorder_builders import ordinary

from h1_recorder.episode.folder import DISCARDED
from h1_recorder.recorder.recovery import recover
from h1_training_node.folder_lock import RECORDER_LOCK, FolderLock

bench = pytest.fixture(bench_maker)


def test_journals_left_behind_become_episodes_at_the_start_and_are_reported(bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "training_session_epoch1"
    folder.mkdir()
    journal = ordinary().write(folder / ".episode_5.mcap")
    journal.write_bytes(journal.read_bytes()[:250_000])
    one = bench()
    assert recover(one.recorder, one.parameters, lambda _, *event: one.events.append(event)) == [journal]
    for _ in range(3):
        one.recorder.tick()
    assert (folder / "episode_5.hdf5").exists()
    assert not journal.exists()
    assert "from a journal left behind" in dict(one.events)["journal_recovered"]


def test_what_cannot_be_cleaned_up_keeps_no_journal_from_being_recovered(bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "training_session_epoch1"
    old = folder / DISCARDED / "episode_3_of_last_week"
    old.mkdir(parents=True)  # a folder, which somebody put there
    os.utime(old, (0, 0))
    journal = ordinary().write(folder / ".episode_5.mcap")
    one = bench()
    assert recover(one.recorder, one.parameters, lambda _, *event: one.events.append(event)) == [journal]
    assert str(folder) in dict(one.events)["folder_unusable"]
    for _ in range(3):
        one.recorder.tick()
    assert (folder / "episode_5.hdf5").exists()


@pytest.mark.parametrize("keep_journal", [True, False])
def test_an_episode_that_was_uploaded_and_deleted_here_is_not_made_again(
    bench: Any, tmp_path: Path, keep_journal: bool
) -> None:
    folder = tmp_path / "training_session_epoch1"
    folder.mkdir()
    journal = ordinary().write(folder / ".episode_0.mcap")
    (folder / ".episode_0.uploaded").touch()
    one = bench(keep_journal=keep_journal)
    assert recover(one.recorder, one.parameters, lambda _, *event: one.events.append(event)) == []
    assert one.events == []
    assert journal.exists() == keep_journal
    assert (folder / DISCARDED / journal.name).exists() != keep_journal, "it can still be had back for a week"


def test_a_folder_of_another_session_is_not_recovered(bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "training_session_epoch1"
    folder.mkdir()
    ordinary().write(folder / ".episode_0.mcap")
    lock = FolderLock(folder, RECORDER_LOCK, leased=False)
    one = bench()
    assert recover(one.recorder, one.parameters, lambda _, *event: one.events.append(event)) == []
    assert "in use by another session" in dict(one.events)["folder_in_use"]
    lock.release()


class Halfway(InProcess):
    """Has done its first journal, and is still at the next; another job is done at once."""

    def __init__(self, arguments: Sequence[str]) -> None:
        more = [argument for argument in arguments if argument.endswith(".mcap")][1:]
        self._is_busy = bool(more)
        super().__init__([argument for argument in arguments if argument not in more])

    def poll(self) -> int | None:
        return None if self._is_busy else 0


@pytest.mark.parametrize("ended_by", ["a save", "the end of the session"])
def test_what_was_recovered_before_something_ended_it_is_reported_all_the_same(
    bench: Any, tmp_path: Path, ended_by: str
) -> None:
    folder = tmp_path / "training_session_epoch1"
    folder.mkdir()
    first, second = (ordinary().write(folder / f".episode_{index}.mcap") for index in (3, 4))
    one = bench(spawn=Halfway)
    recover(one.recorder, one.parameters, lambda _, *event: one.events.append(event))
    one.recorder.tick()
    assert one.events == []
    if ended_by == "a save":
        one.recorder.jobs.label(folder / "episode_3.hdf5", "success", lambda *_: None)
        for _ in range(4):
            one.recorder.tick()
        assert InProcess.asked[-1][-1] == str(second), "what is left, and no more"
    else:
        one.recorder.jobs.drop_recovery()
    names = [detail.partition(": ")[0] for reason, detail in one.events if reason == "journal_recovered"]
    expected = [folder / "episode_3.hdf5", *([folder / "episode_4.hdf5"] if ended_by == "a save" else [])]
    assert names == [str(path) for path in expected]
    assert len(one.events) == len(names) and not first.exists()


def test_a_live_save_goes_before_the_recovery_of_old_journals(bench: Any) -> None:
    one = bench()
    one.recorder.jobs.recover([Path("/nowhere/.episode_9.mcap")], lambda *_: None)
    one.recorder.jobs.label(Path("/nowhere/episode_1.hdf5"), "success", lambda *_: None)
    one.recorder.tick()
    assert InProcess.asked[0][0] == "label"
