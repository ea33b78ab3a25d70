# SPDX-License-Identifier: Apache-2.0
"""A journal whose file is moved, deleted, or left without a folder while it is open: nothing of it is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from recorder_builders import CHANNELS, END, append, episode_info, open_journal

from h1_recorder.recorder.journal import Journal
from h1_recorder.recorder.journal_file import read_journal
from h1_training_testing import wait_until


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Journal, Path, Path]:
    """An open journal with 200 messages in a folder of its own, and a fallback."""
    folder, fallback = tmp_path / "epoch", tmp_path / "fallback"
    folder.mkdir()
    journal = Journal(folder / ".episode_0.mcap", episode_info(), CHANNELS, queue_bytes=1 << 24, fallback=fallback)
    for number in range(200):
        append(journal, number)
    wait_until(lambda: journal.bytes_waiting == 0, "all is written")
    return journal, folder, fallback


def closed_at(journal: Journal) -> Path:
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert len(read_journal(journal.path).streams["keyboard"].data) == 200
    assert read_journal(journal.path).end is not None
    return journal.path


def test_a_deleted_folder_is_made_again_and_the_journal_is_in_it(recording: Any) -> None:
    journal, folder, _ = recording
    shutil.rmtree(folder)
    assert closed_at(journal) == folder / ".episode_0.mcap"
    assert journal.error is None


def test_a_folder_that_cannot_be_made_again_is_replaced_by_the_fallback(recording: Any) -> None:
    journal, folder, fallback = recording
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    assert closed_at(journal) == fallback / ".episode_0.mcap"


def test_a_deleted_journal_never_takes_the_name_of_another_episode(recording: Any) -> None:
    journal, folder, _ = recording
    journal.path.unlink()
    (folder / ".episode_0.mcap").write_bytes(b"another")
    assert closed_at(journal) == folder / ".episode_1.mcap"
    assert (folder / ".episode_0.mcap").read_bytes() == b"another"


def test_a_moved_folder_is_followed(recording: Any, tmp_path: Path) -> None:
    journal, folder, _ = recording
    folder.rename(tmp_path / "elsewhere")
    assert closed_at(journal) == tmp_path / "elsewhere/.episode_0.mcap"


def test_a_folder_reached_by_a_link_has_not_moved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    journal = open_journal(tmp_path / "link/.episode_0.mcap")
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert journal.path == tmp_path / "link/.episode_0.mcap"


def test_without_any_place_the_journal_says_that_it_is_lost(recording: Any) -> None:
    journal, folder, fallback = recording
    shutil.rmtree(folder)
    folder.write_text("a file")
    fallback.write_text("another file")
    journal.close(END)
    wait_until(lambda: journal.closed, "the journal is closed")
    assert journal.error is not None and "epoch/.episode_0.mcap" in journal.error
