# SPDX-License-Identifier: Apache-2.0
"""The `episodes` command on a folder: recover, list, validate, info, restore."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from recorder_builders import names_in, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.folder import discard
from h1_recorder.episode.save import save_journal


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return ordinary().write(tmp_path / ".episode_0.mcap")


def test_the_command_recovers_lists_and_validates_a_folder(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(journal.parent)
    assert main(["recover", "--delete-journal", folder]) == 0
    assert not journal.exists()
    assert main(["validate", folder]) == 0
    capsys.readouterr()
    assert main(["list", "--json", folder]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["frames"] == 100
    assert main(["info", f"{folder}/episode_0.hdf5"]) == 0
    assert "pick up the block" in capsys.readouterr().out


def test_the_command_never_makes_an_episode_again_under_the_name_of_one_at_the_target(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(save_journal(journal).path)
    path.unlink()
    journal.with_suffix(".uploaded").touch()
    assert main(["recover", "--allow-empty", str(journal.parent)]) == 0
    assert capsys.readouterr().out == f"no journals found in {journal.parent}\n" and not path.exists()
    assert main(["recover", str(journal)]) == 0
    said = capsys.readouterr().out
    assert "episode_0.hdf5 was uploaded and deleted here; saved as episode_1.hdf5" in said
    assert names_in(journal.parent) == {".episode_0.uploaded", "episode_1.hdf5", ".episode_1.mcap"}


def test_a_journal_beside_its_episode_is_not_listed_as_one_to_recover(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(journal.parent)]) == 0
    assert f"{journal}: journal, " in capsys.readouterr().out
    path = Path(save_journal(journal).path)
    assert main(["list", str(journal.parent)]) == 0
    assert str(journal) not in capsys.readouterr().out
    path.unlink()
    journal.with_suffix(".uploaded").touch()
    assert main(["list", str(journal.parent)]) == 1
    assert capsys.readouterr().out == f"no episodes found in {journal.parent}\n"


def test_the_command_restores_what_was_discarded(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(save_journal(journal).path)
    aside = discard([path, journal])
    assert main(["restore", str(journal.parent)]) == 0
    assert capsys.readouterr().out.splitlines() == sorted(map(str, aside))
    assert main(["restore", "--all", str(journal.parent)]) == 0
    assert path.exists() and journal.exists()
    assert main(["restore", str(path)]) == 1


def test_the_command_discards_an_episode_with_its_journal_and_restores_it(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(save_journal(journal).path)
    before = path.read_bytes()
    assert main(["discard", str(path)]) == 0
    aside = path.parent / ".discarded" / path.name
    assert capsys.readouterr().out == f"{aside}\n"
    assert not path.exists() and not journal.exists(), "a journal that stays would become the episode again"
    assert main(["recover", "--allow-empty", str(path.parent)]) == 0 and not path.exists()
    assert main(["restore", str(aside)]) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("episode_7.hdf5", "No such file"),
        (".discarded/episode_0.hdf5", "is discarded already"),
        ("", "is not called episode_<number>"),
    ],
)
def test_what_cannot_be_discarded_is_named_and_stays(
    journal: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    discard([Path(save_journal(journal).path)])
    before = names_in(journal.parent) | names_in(journal.parent / ".discarded")
    assert main(["discard", str(journal.parent / name)]) == 1
    assert said in capsys.readouterr().out
    assert names_in(journal.parent) | names_in(journal.parent / ".discarded") == before


def test_validate_finds_what_is_wrong(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_journal(journal).path
    with h5py.File(path, "r+") as file:
        file["action"][60, 3] = 1.0
        file["stamps/tick"][10] += 5
        file["observations/images/ego_cam"][5] = np.frombuffer(b"\xff\xd8\xffrubbish", np.uint8)
        file.attrs["human_frames"] = 3
        del file.attrs["prompt"]
    assert main(["validate", path]) == 1
    assert "attribute 'prompt' is missing" in capsys.readouterr().out
    with h5py.File(path, "r+") as file:
        file.attrs["prompt"] = "p"
    assert main(["validate", path]) == 1
    out = capsys.readouterr().out
    for part in ("not zero in a human row", "not 20.000 ms apart", "image 5 of ego_cam", "'human_frames' is 3"):
        assert part in out
