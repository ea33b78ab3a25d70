# SPDX-License-Identifier: Apache-2.0
"""From journal to file when something stands in the way: nothing is lost, nothing overwritten, nothing half done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import h5py
import pytest
from recorder_builders import HOLD, JournalBuilder, names_in, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode import episode_file
from h1_recorder.episode.episode import read
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.folder import DISCARDED, part_path
from h1_recorder.episode.save import EmptyEpisodeError, save_journal
from h1_recorder.episode.validate import problems


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return ordinary().write(tmp_path / ".episode_0.mcap")


def test_saving_twice_changes_nothing(journal: Path) -> None:
    first = save_journal(journal)
    before = Path(first.path).read_bytes()
    second = save_journal(journal)
    assert second.was_there and second.length == first.length
    assert Path(first.path).read_bytes() == before


@pytest.mark.parametrize("content", [b"somebody else's", b""])
def test_a_file_of_that_name_is_never_overwritten(journal: Path, content: bytes) -> None:
    taken = journal.parent / "episode_0.hdf5"
    taken.write_bytes(content)
    saved = save_journal(journal)
    assert taken.read_bytes() == content
    assert Path(saved.path).name == "episode_1.hdf5"
    assert "episode_0.hdf5 was there" in saved.note
    assert names_in(journal.parent) == {"episode_0.hdf5", "episode_1.hdf5", ".episode_1.mcap"}
    assert problems(Path(saved.path)) == []


def test_a_name_taken_at_the_last_moment_is_not_overwritten_either(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename_new = episode_file.rename_new

    def taken_meanwhile(part: Path, path: Path) -> None:
        path.write_bytes(b"quicker")
        rename_new(part, path)

    monkeypatch.setattr(episode_file, "rename_new", taken_meanwhile)
    with pytest.raises(SaveError, match="name is taken"):
        save_journal(journal)
    assert (journal.parent / "episode_0.hdf5").read_bytes() == b"quicker"
    assert journal.exists() and not part_path(journal.parent / "episode_0.hdf5").exists()


def test_an_episode_without_rows_is_set_aside(tmp_path: Path) -> None:
    builder = JournalBuilder()
    builder.arms([(0, 500, HOLD)])
    builder.state(1, "EXECUTING")
    builder.images(0, 500)
    path = builder.write(tmp_path / ".episode_0.mcap")
    with pytest.raises(EmptyEpisodeError, match="never in POLICY"):
        save_journal(path)
    assert names_in(tmp_path / DISCARDED) == {".episode_0.mcap"}


def test_a_journal_without_a_required_camera_stays_and_can_be_recovered_with_grey_images(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if message[1] != "cam_left_wrist"]
    path = builder.write(tmp_path / ".episode_0.mcap")
    with pytest.raises(SaveError, match=r"cam_left_wrist never delivered.*--allow-dummies"):
        save_journal(path)
    assert names_in(tmp_path) == {".episode_0.mcap"}
    assert main(["recover", "--allow-dummies", str(path)]) == 0
    episode = read(tmp_path / "episode_0.hdf5")
    assert problems(episode.path) == []
    assert (episode.stamps["cam_left_wrist"] == -1).all()
    assert episode.image("cam_left_wrist", 0).shape == (480, 640, 3)
    assert "dummy_camera" in {event["reason"] for event in episode.events}


def test_what_reads_back_differently_is_not_kept(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = episode_file._write

    def corrupting(path: Path, *more: Any) -> None:
        write(path, *more)
        with h5py.File(path, "r+") as file:
            image = file["observations/images/cam_left_wrist"][70]
            image[10] ^= 1
            file["observations/images/cam_left_wrist"][70] = image

    monkeypatch.setattr(episode_file, "_write", corrupting)
    with pytest.raises(SaveError, match="image 70 of cam_left_wrist does not read back"):
        save_journal(journal)
    assert names_in(journal.parent) == {".episode_0.mcap"}


def test_a_disk_that_fills_while_saving_leaves_the_journal_and_nothing_else(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(episode_file, "_sync", full)
    with pytest.raises(SaveError, match=r"episode_0\.hdf5: No space left on device"):
        save_journal(journal)
    assert names_in(journal.parent) == {".episode_0.mcap"}


def test_a_folder_that_may_not_be_written_is_named(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(episode_file.h5py, "File", refused)
    with pytest.raises(SaveError, match="Permission denied"):
        save_journal(journal)
    assert journal.exists()


def test_a_vanished_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"episode_3\.mcap: No such file"):
        save_journal(tmp_path / "gone" / ".episode_3.mcap")
