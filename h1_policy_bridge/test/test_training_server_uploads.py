# SPDX-License-Identifier: Apache-2.0
"""Which uploads count, once each and read with care, and what they say of each epoch's weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from training_server_builders import Life, episode

from h1_policy_bridge.training_server.lifecycle import Status
from h1_policy_bridge.training_server.server import document
from h1_policy_bridge.training_server.store import EpisodeRef
from h1_policy_bridge.training_server.uploads import LIST, Upload, Uploads, curve
from h1_recorder.episode import apart, validate


def test_the_status_has_a_curve_of_what_each_epochs_weights_did_alone(tmp_path: Path) -> None:
    life = Life(tmp_path).life
    assert document(life.status)["curve"] == ()
    for epoch, number, outcome, moves in [
        (0, 0, "success", True),
        (0, 1, "failure", True),
        (1, 0, "success", False),
        (1, 1, "success", True),
        (1, 2, "unlabeled", False),
        (2, 0, "failure", False),
        (2, 1, "unlabeled", True),
    ]:
        episode(tmp_path, number, epoch=epoch, outcome=outcome, moves=moves)
    life.step(10.0)
    assert document(life.status)["curve"] == ((0, 0.0, 2), (1, 0.5, 2), (2, 0.0, 1))


def test_a_status_stays_short_however_long_a_server_has_run() -> None:
    source = EpisodeRef("f", "u", "s")
    points = curve(Upload(Path("f"), source, epoch, epoch % 3 == 0) for epoch in range(5000, 6000) for _ in range(3))
    assert (len(points), points[-1]) == (24, (5999, 0.0, 3))
    worst = Status(True, 6000, "COLLECTING", 0.333, "\u00e4" * 500, "6000-5b1f09aa", points)
    assert len(json.dumps(document(worst))) < 4096, "what a session reads of it"


def test_an_episode_counts_only_once_the_uploaders_list_holds_it_as_it_is(tmp_path: Path) -> None:
    path, uploads = episode(tmp_path, 0), Uploads(tmp_path)
    assert len(uploads.look()) == 1
    (tmp_path / LIST).write_text("{")
    assert (uploads.look(), len(uploads.refused)) == ([], 1)
    status = path.stat()
    entry = {"path": "training_session_epoch0/episode_0.hdf5", "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    (tmp_path / LIST).write_text(json.dumps({"files": [{**entry, "size": 1}]}))
    assert uploads.look() == [] and "does not hold it as it is" in next(iter(uploads.refused.values()))
    (tmp_path / LIST).write_text(json.dumps({"files": [entry]}))
    assert (len(uploads.look()), uploads.refused) == (1, {})


def test_an_episode_that_lies_there_twice_counts_once(tmp_path: Path) -> None:
    first, uploads = episode(tmp_path, 0), Uploads(tmp_path)
    again = first.with_name("episode_10.hdf5")
    again.write_bytes(first.read_bytes())
    assert [upload.path for upload in uploads.look()] == [first]
    name = "training_session_epoch0/episode_10.hdf5"
    assert uploads.refused == {name: "is the same episode as training_session_epoch0/episode_0.hdf5"}
    first.unlink()
    assert [upload.path for upload in uploads.look()] == [again]


def test_an_episode_of_no_epoch_is_named_and_the_others_count(tmp_path: Path) -> None:
    import h5py

    good, odd = episode(tmp_path, 0), episode(tmp_path, 1)
    with h5py.File(odd, "r+") as file:
        file.attrs["epoch"] = "the first"
    uploads = Uploads(tmp_path)
    assert [upload.path for upload in uploads.look()] == [good]
    name = odd.relative_to(tmp_path).as_posix()
    assert uploads.refused == {name: "attribute 'epoch' is 'the first'; expected a whole number"}


def test_what_was_discarded_and_what_a_training_made_of_episodes_is_no_upload(tmp_path: Path) -> None:
    path, uploads = episode(tmp_path, 0), Uploads(tmp_path)
    for place in (path.parent / ".discarded", tmp_path / "checkpoints/dataset/episodes"):
        place.mkdir(parents=True)
        (place / "episode_5.hdf5").write_bytes(path.read_bytes())
    assert ([upload.path for upload in uploads.look()], uploads.refused) == ([path], {})


def test_a_damaged_upload_that_hdf5_never_returns_from_is_refused_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_CPU_S", 1)

    def never_returning(path: Path) -> list[str]:
        while path.name == "episode_1.hdf5":
            pass
        return validate.problems(path, decode_images=False)

    good, bad = episode(tmp_path, 0), episode(tmp_path, 1)
    uploads = Uploads(tmp_path, never_returning)
    assert [upload.path for upload in uploads.look()] == [good]
    assert uploads.refused == {bad.relative_to(tmp_path).as_posix(): "damaged: takes for ever"}


def test_a_file_is_read_once_and_again_only_when_it_changes(tmp_path: Path) -> None:
    looked = tmp_path / "looked"

    def problems(path: Path) -> list[str]:
        with looked.open("a") as file:  # perhaps in another process
            file.write(f"{path}\n")
        return []

    path, uploads = episode(tmp_path, 0), Uploads(tmp_path, problems)
    uploads.look()
    once = looked.read_text()
    for _ in range(3):
        uploads.look()
    assert looked.read_text() == once
    os.utime(path, ns=(0, 0))
    uploads.look()
    assert looked.read_text() == 2 * once
