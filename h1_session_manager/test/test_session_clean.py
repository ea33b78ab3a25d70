# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401, F811  (`source` is a fixture)
"""Local data is deleted on request only, and then only what is proved to be at the target."""

import fcntl

import pytest
from test_session_upload import files, source, uploaded

from h1_session_manager.memory import next_index
from h1_session_manager.session_client import main
from h1_session_manager.upload.ledger import CleanError, clean

FIRST, SECOND = "training_session_epoch1/episode_0.hdf5", "training_session_epoch1/episode_1.hdf5"


def cleaned(folder, *, dry_run=False, answer=True) -> tuple[int, list[str]]:
    said: list[str] = []

    def confirm(question: str) -> bool:
        said.append(question)
        return answer

    return clean(folder, dry_run=dry_run, confirm=confirm, say=said.append), said


def test_only_what_was_verified_and_has_not_changed_goes_and_its_index_stays_taken(source, tmp_path):
    uploaded(source, str(tmp_path / "target"))
    with (source / SECOND).open("ab") as file:
        file.write(b"a label that came later")
    size = (source / FIRST).stat().st_size
    freed, said = cleaned(source)
    assert freed == size
    assert not (source / FIRST).exists()
    assert (source / SECOND).exists()
    assert (source / "training_session_epoch1/.episode_0.uploaded").exists()
    assert next_index(str(source), 1) == 3  # episode_2 is a journal yet
    assert said[1].endswith(f"verified at {tmp_path / 'target'}; 1 not verified, which stay")
    assert said[2] == "Delete these 1 episodes from this machine?"
    assert said[3].endswith("MB freed")
    uploaded(source, str(tmp_path / "target"))  # and the target loses nothing by the next upload
    assert files(tmp_path / "target") == {FIRST, SECOND}


@pytest.mark.parametrize(("dry_run", "answer"), [(True, True), (False, False)])
def test_a_dry_run_and_a_no_delete_nothing(source, tmp_path, dry_run, answer):
    uploaded(source, str(tmp_path / "target"))
    before = files(source)
    cleaned(source, dry_run=dry_run, answer=answer)
    assert files(source) == before


def test_without_an_upload_nothing_is_deleted_or_asked(source):
    freed, said = cleaned(source)
    assert (freed, len(said)) == (0, 1)
    assert said[0].startswith("0 episodes")


def test_a_folder_in_which_a_session_records_is_left_alone(source, tmp_path):
    uploaded(source, str(tmp_path / "target"))
    with (source / "training_session_epoch1/.recorder.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CleanError, match="in use by a session; end it first"):
            cleaned(source)
    assert (source / FIRST).exists()


def test_the_command_asks_and_says_what_it_did(source, tmp_path, monkeypatch, capsys):
    uploaded(source, str(tmp_path / "target"))
    assert main(["clean", str(source), "--dry-run"]) == 0
    monkeypatch.setattr("builtins.input", lambda _question: "")
    assert main(["clean", str(source)]) == 0
    assert "Nothing was deleted" in capsys.readouterr().out
    assert main(["clean", str(source), "--yes"]) == 0
    assert not (source / FIRST).exists()
    assert main(["clean", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err
