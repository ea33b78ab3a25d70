# SPDX-License-Identifier: Apache-2.0
"""A label given after the save: in the file, however it is interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorder_builders import names_in, ordinary

from h1_recorder.episode.episode import read, summary
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.episode.validate import problems


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return ordinary().write(tmp_path / ".episode_0.mcap")


def test_a_label_sets_outcome_and_advantage_and_nothing_else(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    before = read(path)
    label_episode(path, "failure")
    after = read(path)
    assert (after.attributes["outcome"], after.attributes["advantage"]) == ("failure", False)
    assert {**after.attributes, "outcome": "success", "advantage": True} == before.attributes
    np.testing.assert_array_equal(after.qpos, before.qpos)
    assert names_in(path.parent) == {"episode_0.hdf5", ".episode_0.mcap"}


def test_a_label_that_broke_the_file_is_redone_from_the_journal(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    path.write_bytes(path.read_bytes()[:1000])
    label_episode(path, "failure")
    assert summary(path).outcome == "failure"
    assert problems(path) == []
    assert names_in(path.parent) == {"episode_0.hdf5", ".episode_0.mcap"}


@pytest.mark.parametrize("broken", [True, False])
def test_a_label_interrupted_by_the_end_of_the_process_is_finished_at_the_next_start(
    journal: Path, broken: bool
) -> None:
    path = Path(save_journal(journal).path)
    journal.with_suffix(".outcome").write_text("failure")
    if broken:
        path.write_bytes(path.read_bytes()[:1000])
    save_journal(journal)
    assert summary(path).outcome == "failure"
    assert problems(path) == []
    assert not journal.with_suffix(".outcome").exists()


def test_without_its_journal_a_broken_file_cannot_be_labelled_and_is_left_alone(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    path.write_bytes(b"broken")
    journal.unlink()
    with pytest.raises(SaveError, match="journal is gone"):
        label_episode(path, "failure")
    assert path.read_bytes() == b"broken"
