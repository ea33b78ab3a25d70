# SPDX-License-Identifier: Apache-2.0
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_session_manager.memory import FILE_NAME, Memory, MemoryFileError, load, next_index, write_whole

EPOCHS = st.integers(0, 1000)


@settings(deadline=None)
@given(st.text(), st.dictionaries(EPOCHS, st.sampled_from(["synced", "skipped", "kept"])), st.frozensets(EPOCHS))
def test_what_is_written_is_read_back(robot, finished, owed):
    memory = Memory(robot, finished, owed)
    assert Memory.parse(memory.text()) == memory


def test_an_empty_folder_remembers_nothing(tmp_path):
    assert load(tmp_path / "new", "h1") == Memory("h1")


def test_memory_survives_in_its_folder(tmp_path):
    memory = Memory("h1", {0: "synced"}, frozenset({1}))
    write_whole(tmp_path / "data" / FILE_NAME, memory.text())
    assert load(tmp_path / "data", "h1") == memory
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE_NAME]


def test_a_write_that_fails_leaves_the_old_memory_and_no_litter(tmp_path):
    write_whole(tmp_path / FILE_NAME, Memory("h1", {0: "synced"}).text())
    with pytest.raises(TypeError):
        write_whole(tmp_path / FILE_NAME, None)
    assert load(tmp_path, "h1").finished == {0: "synced"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", '{"format": 2}', '{"format": 1, "robot": "h1", "finished": 3}'],
        '{"format": 1, "robot": "h1", "finished": {}, "owed": [null]}',
    ],
)
def test_a_damaged_memory_is_refused_with_what_to_do(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(MemoryFileError, match="Move it away"):
        load(tmp_path, "h1")


def test_a_folder_of_another_robot_is_refused_unless_mixing_is_allowed(tmp_path):
    write_whole(tmp_path / FILE_NAME, Memory("h1, arms").text())
    with pytest.raises(MemoryFileError, match="recorded under 'h1, arms'"):
        load(tmp_path, "h1, arms and hands")
    assert load(tmp_path, "h1, arms and hands", allow_mixed=True).robot == "h1, arms and hands"


def test_a_new_episode_puts_a_finished_epoch_back_in_work():
    memory = Memory("h1", {1: "synced"}).with_owed(1)
    assert memory.last_finished == -1
    assert memory.with_all_uploaded().finished == {1: "synced"}


def test_episodes_that_are_found_are_owed_and_no_epoch_is_offered_again_for_them():
    memory = Memory("h1", {1: "synced", 2: "synced"}).with_unverified(frozenset({1, 3}))
    assert memory.owed == {1, 3}
    assert memory.last_finished == 2


def test_the_next_index_is_the_first_that_no_episode_journal_or_discarded_one_has(tmp_path):
    folder = tmp_path / "training_session_epoch3"
    folder.mkdir()
    (folder / ".discarded").mkdir()
    taken = ("episode_0.hdf5", ".episode_1.uploaded", ".discarded/.episode_2.mcap", ".episode_3.mcap", "episode_5.hdf5")
    for name in (*taken, "episode_4.txt"):
        (folder / name).touch()
    assert next_index(str(tmp_path), 3) == 4
    assert next_index(str(tmp_path), 4) == 0


def test_a_folder_that_cannot_be_looked_into_ends_no_session(tmp_path):
    """The recorder says what is wrong with it, when it is asked to record there."""
    assert next_index(str(tmp_path / ("x" * 300)), 3) == 0


def test_the_memory_is_the_owners_alone(tmp_path):
    write_whole(tmp_path / FILE_NAME, Memory("h1").text())
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) & 0o077 == 0
