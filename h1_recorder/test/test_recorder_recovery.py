# SPDX-License-Identifier: Apache-2.0
"""What an earlier session left behind is made an episode at the start, and only that."""

from __future__ import annotations

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


def test_a_live_save_goes_before_the_recovery_of_old_journals(bench: Any) -> None:
    one = bench()
    one.recorder.jobs.recover([Path("/nowhere/.episode_9.mcap")], lambda *_: None)
    one.recorder.jobs.label(Path("/nowhere/episode_1.hdf5"), "success", lambda *_: None)
    one.recorder.tick()
    assert InProcess.asked[0][0] == "label"
