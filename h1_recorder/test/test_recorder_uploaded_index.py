# SPDX-License-Identifier: Apache-2.0
"""An episode that was deleted here after its upload keeps its index: a new one would replace it at the target."""

from pathlib import Path

from h1_recorder.episode.folder import free_index


def test_the_index_of_a_deleted_episode_stays_taken(tmp_path: Path) -> None:
    (tmp_path / ".episode_0.uploaded").touch()
    (tmp_path / "episode_1.hdf5").touch()
    assert free_index(tmp_path) == 2
