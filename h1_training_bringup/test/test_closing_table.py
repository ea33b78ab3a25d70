# SPDX-License-Identifier: Apache-2.0
"""The table at a session's end reports the truth about every file."""

import contextlib
import fcntl
import json
import os
import pty
import sys
from pathlib import Path

import h5py
import pytest

from h1_training_bringup.session.closing_table import closing_table, unreported_saves


def episode(save_dir: Path, name: str, **attributes: object) -> Path:
    path = save_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"episode_length": 300, "policy_frames": 180, "human_frames": 120, "interventions": 1}
    with h5py.File(path, "w") as file:
        file.attrs.update(values | {"outcome": "success", "measured_fps": 50.0, "gap_count": 0} | attributes)
    return path


def line_of(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if name in line)
    return line.split()


def test_an_episode_has_one_line_with_its_numbers(tmp_path: Path) -> None:
    episode(tmp_path, "training_session_epoch3/episode_0.hdf5", gap_count=2)
    expected = ["epoch3/episode_0", "300", "180", "120", "1", "success", "50.0", "2", "not", "sent"]
    assert line_of(closing_table(tmp_path, 0.0), "epoch3/") == expected


def test_what_was_saved_when_nobody_could_report_it_any_more_is_reported(tmp_path: Path) -> None:
    first = episode(tmp_path, "training_session_epoch3/episode_0.hdf5")
    second = episode(tmp_path, "training_session_epoch3/episode_1.hdf5")
    said = f"[SAVING] Saving episode data...\n  Saved: {first}\n"
    assert unreported_saves(tmp_path, 0.0, said) == [f"  Saved: {second}"]
    assert unreported_saves(tmp_path, first.stat().st_mtime + 3600, said) == []


def test_the_table_fits_a_terminal_of_80_columns_whatever_is_in_it(tmp_path: Path) -> None:
    numbers = dict.fromkeys(("episode_length", "policy_frames", "human_frames"), 180_000)
    name = "training_session_epoch1000/episode_1000.hdf5"
    episode(tmp_path, name, **numbers, interventions=99, outcome="unlabeled", gap_count=1000, measured_fps=250.0)
    table = closing_table(tmp_path, 0.0).splitlines()[1:]
    assert max(map(len, table)) <= 80
    (line,) = (line for line in table if "epoch1000/" in line)
    assert line.split() == [
        "epoch1000/episode_1000",
        *["180000"] * 3,
        "99",
        "unlabeled",
        "250.0",
        "1000",
        "not",
        "sent",
    ]


def test_the_upload_is_shown_as_the_session_remembers_it(tmp_path: Path) -> None:
    for epoch in range(3):
        episode(tmp_path, f"training_session_epoch{epoch}/episode_0.hdf5")
    memory = {"finished": {"0": "synced", "1": "kept"}, "owed": [2]}
    (tmp_path / ".session_state.json").write_text(json.dumps(memory))
    table = closing_table(tmp_path, 0.0)
    assert line_of(table, "epoch0/")[-1] == "verified"
    assert line_of(table, "epoch1/")[-1] == "kept"
    assert line_of(table, "epoch2/")[-1] == "owed"


def test_an_episode_of_an_earlier_session_is_not_shown(tmp_path: Path) -> None:
    old = episode(tmp_path, "training_session_epoch0/episode_0.hdf5")
    os.utime(old, (1000, 1000))
    assert closing_table(tmp_path, 2000.0) == "No episode was finished in this session."


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    path = episode(tmp_path, "training_session_epoch0/episode_0.hdf5")
    path.write_bytes(b"not HDF5")
    assert f"Unreadable: {path}: " in closing_table(tmp_path, 0.0)


def test_a_disk_without_locks_or_a_lock_of_somebody_else_makes_no_file_unreadable(tmp_path: Path) -> None:
    path = episode(tmp_path, "training_session_epoch3/episode_0.hdf5")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        table = closing_table(tmp_path, 0.0)
    assert "unreadable" not in table.lower() and line_of(table, "epoch3/")[1] == "300"


def test_a_journal_that_is_no_episode_yet_is_named_and_one_that_is_kept_beside_its_episode_is_not(
    tmp_path: Path,
) -> None:
    episode(tmp_path, "training_session_epoch0/episode_0.hdf5")
    for index in (0, 1):
        (tmp_path / f"training_session_epoch0/.episode_{index}.mcap").touch()
    table = closing_table(tmp_path, 0.0)
    assert ".episode_1.mcap" in table
    assert ".episode_0.mcap" not in table


def test_an_episode_verified_in_the_background_is_shown_so_though_its_epoch_is_still_owed(tmp_path: Path) -> None:
    paths = [episode(tmp_path, f"training_session_epoch0/episode_{index}.hdf5") for index in range(3)]
    (tmp_path / ".session_state.json").write_text(json.dumps({"finished": {}, "owed": [0]}))
    entries = [
        {
            "path": path.relative_to(tmp_path).as_posix(),
            "size": path.stat().st_size,
            "mtime_ns": path.stat().st_mtime_ns,
        }
        for path in paths[:2]
    ]
    (tmp_path / ".uploaded.json").write_text(json.dumps({"format": 1, "target": "/t", "files": entries}))
    os.utime(paths[1])  # changed since: its upload proves nothing any more
    table = closing_table(tmp_path, 0.0)
    assert line_of(table, "episode_0")[-1] == "verified"
    assert line_of(table, "episode_1")[-1] == "owed"
    assert line_of(table, "episode_2")[-1] == "owed"


def test_a_terminal_that_is_gone_does_not_stand_in_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode(tmp_path, "training_session_epoch0/episode_0.hdf5")
    ours, terminals = pty.openpty()
    gone = os.fdopen(terminals, "w")
    os.close(ours)
    gone.write("what could not be shown any more")
    monkeypatch.setattr(sys, "stdout", gone)
    try:
        assert "epoch0/episode_0" in closing_table(tmp_path, 0.0)
    finally:
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            gone.close()
