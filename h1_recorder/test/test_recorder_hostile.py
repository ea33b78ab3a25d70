# SPDX-License-Identifier: Apache-2.0
"""A journal with anything wrong in it becomes a correct episode or is refused by name; nothing else ever happens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder_builders import JournalBuilder, episode_info, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.save import save_journal
from h1_recorder.episode.validate import problems
from h1_recorder.recorder.journal_file import _MESSAGE, _MESSAGE_OP, _mapped, _Reading

DAMAGE = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 300), st.binary(min_size=1, max_size=8)), min_size=1, max_size=60
)
"""Which message or byte, where within it, what stands there instead."""


def full() -> JournalBuilder:
    """An ordinary episode with hands and events."""
    builder = ordinary()
    for ms in range(0, 2600, 50):
        for side in ("left", "right"):
            builder.hand(side, float(ms), 0.5)
        builder.event(float(ms), "something")
    return builder


class Sound:
    """A sound journal, and where its messages' bytes stand in it."""

    def __init__(self, folder: Path) -> None:
        path = full().write(folder / ".episode_0.mcap")
        self.data = path.read_bytes()
        records = list(_Reading(path, _mapped(path))._records())
        self.messages = [(start + 2, end) for opcode, start, end in records if opcode == _MESSAGE_OP]
        assert _MESSAGE.size == 22


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    return Sound(tmp_path_factory.mktemp("sound"))


def outcome_of(folder: Path, data: bytes) -> list[str]:
    """What is wrong with the episode that `data` becomes; empty also if it is refused."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    journal = folder / ".episode_0.mcap"
    journal.write_bytes(data)
    try:
        return problems(Path(save_journal(journal).path), decode_images=False)
    except SaveError as error:
        assert "episode_0" in str(error)
        assert not (folder / "episode_0.hdf5").exists()
        assert journal.exists() or (folder / ".discarded/.episode_0.mcap").exists(), "the journal stays"
        return []


RULES = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_recorded_untouched(problem: str) -> bool:
    """A camera's own bytes, and what the robot measured, are recorded as they are; that they are odd is said."""
    return problem.startswith("image") or ("beyond the joints' range" in problem and "'action'" not in problem)


@given(damage=DAMAGE)
@RULES
def test_damaged_messages_never_make_a_wrong_row(damage: Any, sound: Sound, tmp_path: Path) -> None:
    data = bytearray(sound.data)
    for which, where, what in damage:
        start, end = sound.messages[which % len(sound.messages)]
        at = start + where % (end - start)
        part = what[: end - at]
        data[at : at + len(part)] = part
    assert [text for text in outcome_of(tmp_path / "it", bytes(data)) if not is_recorded_untouched(text)] == []


@given(damage=DAMAGE, cut=st.integers(0, 10**6))
@RULES
def test_a_file_damaged_anywhere_is_an_episode_or_is_refused(
    damage: Any, cut: int, sound: Sound, tmp_path: Path
) -> None:
    data = bytearray(sound.data)
    for which, where, what in damage[:3]:
        at = (which * 301 + where) % len(data)
        data[at : at + len(what)] = what
    shortened = bytes(data[: max(100, len(data) - cut % 100_000)])
    assert [text for text in outcome_of(tmp_path / "it", shortened) if not is_recorded_untouched(text)] == []


ODD: dict[str, Any] = {
    "zero": "a\0b",
    "surrogate": "\ud800",
    "huge": 2**70,
    "not_a_number": float("nan"),
    "nested": {"a": [1, None]},
    "nothing": None,
    "": "nameless",
    "episode_length": 7,
}


def test_attributes_that_hdf5_cannot_hold_are_written_as_near_as_it_can(tmp_path: Path) -> None:
    info = episode_info(attributes=ODD, task="stack\0it", prompt="\udcff")
    path = Path(save_journal(ordinary().write(tmp_path / ".episode_0.mcap", info)).path)
    assert problems(path) == []
    with h5py.File(path) as file:
        found = dict(file.attrs)
    assert (found["zero"], found["surrogate"], found["huge"]) == ("a\ufffdb", "?", str(2**70))
    assert (found["not_a_number"], json.loads(found["nested"])) == ("NaN", {"a": [1, None]})
    assert (found["task"], found["prompt"]) == ("stack\ufffdit", "?")
    assert found["episode_length"] == 100, "what the file says of itself is not for others to say"


def test_a_journal_that_nobody_foresaw_does_not_keep_others_from_being_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        ordinary().write(tmp_path / f".episode_{index}.mcap", episode_info(index=index))

    def surprising(journal: Path, **options: Any) -> Any:
        if journal.name == ".episode_0.mcap":
            raise KeyError("nobody thought of it")
        return save_journal(journal, **options)

    monkeypatch.setattr("h1_recorder.commands.repair.save_journal", surprising)
    assert main(["recover", "--json", str(tmp_path)]) == 1
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (failed,) = [report for report in reports if "failed" in report]
    assert "nobody thought of it" in failed["failed"] and "the journal stays as it is" in failed["failed"]
    assert problems(tmp_path / "episode_1.hdf5") == []
