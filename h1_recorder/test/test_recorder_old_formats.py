# SPDX-License-Identifier: Apache-2.0
"""A journal and a file of format 1, stored when it was made, stay readable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from recorder_builders import START_NS

from h1_recorder.commands.diff import differences
from h1_recorder.episode.episode import read, summary
from h1_recorder.episode.info import FORMAT_VERSION
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.episode.validate import problems
from h1_training_node.cameras import CAMERAS

DATA = Path(__file__).parent / "data"
OF_THE_SAVING = {
    "attribute versions",
    "attribute camera_fps",
    *(f"attribute repeated_frames_{camera}" for camera in CAMERAS),
}
"""Which software computed the rows, and what later software says besides."""


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(DATA / "format_1.hdf5", tmp_path / "episode_0.hdf5"))


def test_a_file_of_format_1_is_read_and_good(episode: Path) -> None:
    assert problems(episode) == []
    found = read(episode)
    assert found.attributes["format_version"] == 1 <= FORMAT_VERSION
    assert (len(found), summary(episode).policy_frames, summary(episode).human_frames) == (20, 10, 10)
    assert found.stamps["qpos"][0] == START_NS + 300_000_000
    assert np.array_equal(found.applied_action[10:], found.qpos[10:]) and not found.action[10:].any()
    assert found.image("ego_cam", 0).shape == (24, 32, 3)
    assert [event["reason"] for event in found.events] == ["stale_action"]


def test_a_file_of_format_1_can_be_labelled(episode: Path) -> None:
    label_episode(episode, "failure")
    with h5py.File(episode, "r") as file:
        assert file.attrs["outcome"] == "failure" and not file.attrs["advantage"]


def test_a_journal_of_format_1_becomes_the_episode_that_it_became_then(tmp_path: Path, episode: Path) -> None:
    (tmp_path / "again").mkdir()
    journal = shutil.copyfile(DATA / "format_1.mcap", tmp_path / "again/.episode_0.mcap")
    saved = Path(save_journal(Path(journal)).path)
    assert {name for name, _ in differences(episode, saved)} <= OF_THE_SAVING
    with h5py.File(saved, "r") as file:
        assert json.loads(file.attrs["serials"]) == {"ego_cam": "1"}
