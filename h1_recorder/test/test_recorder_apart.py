# SPDX-License-Identifier: Apache-2.0
"""A file over which HDF5 loops for ever: each verb ends it, names it, and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from export_builders import make_file
from recorder_builders import ordinary

from h1_recorder.__main__ import _parser, main
from h1_recorder.episode import apart, save
from h1_recorder.episode.apart import ChildError, in_child
from h1_training_testing import wait_until


def for_ever(*_: Any, **__: Any) -> Any:
    while True:
        pass


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_CPU_S", 1)


def looping_over(name: str, really: Callable[..., Any]) -> Callable[..., Any]:
    """`really`, but for the file of that name."""
    return lambda path, *rest, **more: for_ever() if Path(path).name == name else really(path, *rest, **more)


def test_what_ends_by_itself_has_its_status_and_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_child(lambda: print("looked") or 3) == 3  # type: ignore[func-returns-value]
    assert capsys.readouterr().out == "looked\n"


@pytest.mark.parametrize(
    ("work", "said"),
    [(for_ever, "takes for ever"), (lambda: os.kill(os.getpid(), signal.SIGSEGV), "ended the program .*SIGSEGV")],
)
def test_what_does_not_is_ended_and_named(work: Callable[[], int], said: str) -> None:
    with pytest.raises(ChildError, match=said):
        in_child(work)


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    noted = tmp_path / "pid"

    def grandchild() -> int:
        noted.write_text(str(os.getpid()))
        signal.pause()
        return 0

    parent = os.fork()
    if parent == 0:
        in_child(grandchild)
        os._exit(0)
    wait_until(lambda: noted.exists() and noted.read_text(), "it runs")
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not is_running(int(noted.read_text())), "it has ended")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["list", "{}"], "commands.inspection.summary"),
        (["info", "{}"], "commands.inspection.summary"),
        (["validate", "{}"], "commands.inspection.check"),
        (["label", "--outcome", "failure", "{}"], "commands.repair.label_episode"),
        (["export", "lerobot", "{}", "{}/dataset", "--jobs", "1", "--lookahead", "1"], "export.survey.survey_of"),
    ],
)
def test_a_verb_names_the_file_and_looks_at_those_after_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    where: str,
) -> None:
    folder = tmp_path / "episodes"
    paths = [make_file(folder, index=k) for k in range(2)]
    module, _, name = f"h1_recorder.{where}".rpartition(".")
    really = getattr(__import__(module, fromlist=[name]), name)
    monkeypatch.setattr(f"{module}.{name}", looping_over("episode_0.hdf5", really))
    more = ["--skip-invalid"] if arguments[0] == "export" else []
    status = main([argument.format(folder) for argument in arguments] + more)
    said = capsys.readouterr().out
    assert f"{paths[0]}: damaged: takes for ever" in said
    assert status == (0 if more else 1), "what is left out by --skip-invalid is no failure of the export"
    assert paths[1].name in said or "1 files, " in said


def test_a_child_cannot_take_a_gigabyte_for_a_small_file(tmp_path: Path) -> None:
    path = make_file(tmp_path / "episodes")

    def work() -> int:
        try:
            bytearray(1_000_000_000)
        except MemoryError:
            return 3
        return 0

    assert in_child(work, path) == 3 and in_child(work, path, slow=20) == 3


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["diff", "{}", "{}"], "episode.episode.read"),
        (["lineage", "{}"], "commands.lineage.opened"),
        (["replay", "{}"], "commands.replay.read"),
        (["plot", "{}"], "episode.episode.read"),
        (["plot", "--labels", "{}"], "episode.episode.read"),
        (["video", "{}"], "episode.episode.read"),
    ],
)
def test_a_verb_of_one_file_ends_and_names_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    where: str,
) -> None:
    monkeypatch.setattr(apart, "_MB_A_CPU_S", 10**9)
    monkeypatch.setattr("h1_recorder.commands.files.in_child", lambda work, *paths, slow=1: in_child(work, *paths))
    monkeypatch.chdir(tmp_path)
    path = make_file(tmp_path / "episodes")
    _parser()  # whose modules take `read` from where it is
    monkeypatch.setattr(f"h1_recorder.{where}", for_ever)
    assert main([argument.format(path) for argument in arguments]) in (1, 2)
    said = capsys.readouterr().out
    assert str(path) in said and "damaged: takes for ever" in said


def test_a_journal_beside_such_a_file_is_saved_under_the_next_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = ordinary().write(tmp_path / ".episode_0.mcap")
    (tmp_path / "episode_0.hdf5").write_bytes(b"damaged")
    monkeypatch.setattr(save, "_attributes_here", for_ever)
    saved = save.save_journal(journal)
    assert Path(saved.path).name == "episode_1.hdf5" and (tmp_path / "episode_0.hdf5").read_bytes() == b"damaged"
