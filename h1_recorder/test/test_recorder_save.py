"""From journal to file: what is in it, and what happens when something stands in the way."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from recorder_builders import DAMPING, HOLD, MS, POLICY, START_NS, JournalBuilder, episode_info, jpeg, ordinary

from h1_recorder import episode_file
from h1_recorder.__main__ import main
from h1_recorder.content import CUT_REASON, JOINT_NAMES
from h1_recorder.episode import EpisodeError, read, summary
from h1_recorder.episode_file import SaveError
from h1_recorder.folder import DISCARDED, discard, part_path
from h1_recorder.save import EmptyEpisodeError, label_episode, save_journal
from h1_recorder.validate import problems


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return ordinary().write(tmp_path / ".episode_0.mcap")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_ordinary_episode_has_every_field_of_the_format(journal: Path) -> None:
    saved = save_journal(journal)
    path = Path(saved.path)
    assert path == journal.parent / "episode_0.hdf5"
    assert problems(path) == []
    with h5py.File(path) as file:
        assert file["observations/qpos"].dtype == file["action"].dtype == np.float32
        assert file["phase"].dtype == np.dtype("S10")
        assert file["segment"].dtype == np.int32
        assert file["stamps/tick"].dtype == np.int64
        assert "hand_action" not in file and "hand_qpos" not in file["observations"]
        for name in ("cam_head", "cam_high", "cam_low"):
            assert file[f"observations/images/{name}"] == file["observations/images/ego_cam"]
        attributes = dict(file.attrs)
    assert attributes["episode_length"] == 100 == attributes["policy_frames"] + attributes["human_frames"]
    assert (attributes["fps"], attributes["epoch"], attributes["episode"]) == (50, 1, 1)
    assert (attributes["outcome"], attributes["end_reason"]) == ("success", "operator")
    assert attributes["advantage"].dtype == np.bool_ and attributes["advantage"]
    assert attributes["interventions"] == 1
    assert attributes["measured_fps"] == 50.0
    assert attributes["timestamp"].startswith("2023-11-14T22:13:20")
    assert json.loads(attributes["joint_names"]) == list(JOINT_NAMES)
    assert json.loads(attributes["gains"])["kp"] == [80.0] * 14
    assert attributes["task"] == "pick up the block"
    assert json.loads(attributes["serials"]) == {"ego_cam": "1"}


def test_rows_hold_what_the_streams_said_at_their_tick(journal: Path) -> None:
    episode = read(save_journal(journal).path)
    human = episode.phase == "human"
    arm_ms = (episode.stamps["qpos"] - START_NS) / MS
    np.testing.assert_array_equal((episode.stamps["tick"] - START_NS) / MS, arm_ms + 10)
    np.testing.assert_allclose(episode.qpos[:, 0], arm_ms / 1000, atol=1e-6)
    np.testing.assert_allclose(episode.applied_action[~human, 0], arm_ms[~human] / 1000 + 100, atol=1e-4)
    np.testing.assert_array_equal(episode.applied_action[human], episode.qpos[human])
    assert not episode.action[human].any()
    np.testing.assert_allclose(episode.action[~human, 0], 200 + arm_ms[~human] / 1000, atol=1e-4)
    assert (episode.qvel[:, 0] == 1).all() and (episode.effort[:, 0] == 2).all()
    for row in (0, 49, 50, 99):
        shown_ms = (episode.stamps["ego_cam"][row] - START_NS) / MS
        assert episode.jpegs("ego_cam", slice(row, row + 1)) == [jpeg(round(shown_ms))]


def test_the_head_camera_is_dated_by_its_stamp_and_the_wrists_by_their_reception(tmp_path: Path) -> None:
    builder = ordinary()
    builder.image("ego_cam", 1001, delay_ms=300.0)
    for ms in (600.0, 700.0):
        builder.image("cam_left_wrist", ms - 5000, data=jpeg(7), delay_ms=5001.0)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert START_NS + 1001 * MS in episode.stamps["ego_cam"]
    assert START_NS + 601 * MS in episode.stamps["cam_left_wrist"]


def test_hands_are_in_the_file_only_if_there_are_any(tmp_path: Path) -> None:
    builder = ordinary()
    for ms in range(600, 2600, 50):
        builder.hand("left", ms, angle=0.25, command=0.75)
    builder.messages = [message for message in builder.messages if message[1] != "policy/action"]
    for ms in range(500, 1500, 20):
        builder.action(ms + 2.0, 3.0, size=26)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert problems(episode.path) == []
    assert episode.hand_qpos is not None and episode.hand_action is not None and episode.hand_command is not None
    assert np.isnan(episode.hand_qpos[0]).all(), "no hand had been heard of"
    assert (episode.hand_qpos[-1, :6] == 0.25).all() and np.isnan(episode.hand_qpos[-1, 6:]).all()
    np.testing.assert_allclose(episode.hand_action[20], 3 + np.arange(14, 26) / 100, rtol=1e-6)
    assert not episode.hand_action[-1].any()
    assert (episode.hand_command[-1, :6] == 0.75).all()


def test_events_are_merged_with_a_count_and_gaps_have_their_reason(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if not 1_000 <= (message[3] - START_NS) / MS < 1_060
                        or message[1] not in ("arm_status", "joint_states")]  # fmt: skip
    for ms in (1_000, 1_020, 1_040):
        builder.arm(ms, DAMPING, reason="robot_lost", forced=True, seq=50 + ms // 20)
    for ms in (1_000, 1_100, 1_200):
        builder.event(ms, "robot_lost")
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert [(gap["reason"], gap["ticks"]) for gap in episode.gaps] == [("robot_lost", 3)]
    (event,) = [event for event in episode.events if event["reason"] == "robot_lost"]
    assert (event["count"], event["source"]) == (3, "arm_driver")
    assert event["last_stamp"] - event["stamp"] == 200 * MS
    assert episode.attributes["gap_count"] == 1
    assert episode.attributes["event_count"] == len(episode.events)
    assert problems(episode.path) == []


def test_pictures_that_are_not_jpeg_become_jpeg_of_quality_85(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if message[1] != "ego_cam"]
    picture = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    png = bytes(cv2.imencode(".png", picture)[1])
    for ms in range(0, 2600, 33):
        builder.image("ego_cam", ms, data=png)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    expected = bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
    assert set(episode.jpegs("ego_cam")) == {expected}
    assert episode.attributes["jpeg_source_ego_cam"] == "q85"
    assert episode.attributes["jpeg_source_cam_left_wrist"] == "passthrough"
    assert problems(episode.path) == []


def test_messages_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    builder = ordinary()
    builder.action(700.0, float("nan"))
    builder.action(701.0, 1.0, size=13)
    builder.image("ego_cam", 702.0, data=b"no picture")
    builder.arm(100_000_000, POLICY, delay_ms=-99_999_000.0)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    said = {event["detail"] for event in episode.events if event["reason"] == "messages_unusable"}
    assert any("policy/action: 2 left out; the first: an action that is not finite" in detail for detail in said)
    assert any("ego_cam: 1 left out" in detail for detail in said)
    assert any("arm_status: 1 left out" in detail and "clock" in detail for detail in said)
    assert problems(episode.path) == []


def test_a_picture_that_does_not_decode_is_left_out_and_named_and_none_is_stamped_as_it(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if message[1] != "ego_cam"]
    png = bytes(cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8))[1])
    for ms in range(0, 2600, 25):
        builder.image("ego_cam", ms, data=png[: 20 if ms in (0, 1000, 1025) else None])
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    said = {event["detail"] for event in episode.events if event["reason"] == "messages_unusable"}
    assert said == {"ego_cam: 3 left out; the first: begins with 89 50 4e 47 and does not decode"}
    assert START_NS + 975 * MS in episode.stamps["ego_cam"], "the picture before stands in, under its own stamp"
    assert not {START_NS + ms * MS for ms in (1000, 1025)} & set(episode.stamps["ego_cam"].tolist())
    assert episode.attributes["jpeg_source_ego_cam"] == "q85"
    assert problems(episode.path) == []


def test_lost_messages_are_counted_by_gaps_in_seq(tmp_path: Path) -> None:
    builder = ordinary()
    lost = {700, 720, 740}
    builder.messages = [
        message
        for message in builder.messages
        if message[1] != "arm_status" or round((message[3] - START_NS) / MS) not in lost
    ]
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert json.loads(episode.attributes["lost_messages"]) == {"arm_status": 3}
    assert episode.attributes["duplicate_rows"] == 3
    assert episode.attributes["measured_fps"] < 50


def test_a_cut_journal_says_so_in_its_episode(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes()[:200_000])
    episode = read(save_journal(journal).path)
    assert (episode.attributes["end_reason"], episode.attributes["outcome"]) == (CUT_REASON, "unlabeled")
    assert [event["reason"] for event in episode.events] == [CUT_REASON]
    assert problems(episode.path) == []


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
    publish = episode_file.publish

    def taken_meanwhile(part: Path, path: Path) -> None:
        path.write_bytes(b"quicker")
        publish(part, path)

    monkeypatch.setattr(episode_file, "publish", taken_meanwhile)
    with pytest.raises(SaveError, match="exists"):
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


def test_a_journal_without_a_required_camera_stays_and_can_be_recovered_with_grey_pictures(tmp_path: Path) -> None:
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
            picture = file["observations/images/cam_left_wrist"][70]
            picture[10] ^= 1
            file["observations/images/cam_left_wrist"][70] = picture

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


def test_a_label_sets_outcome_and_advantage_and_nothing_else(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    before = read(path)
    label_episode(path, "failure")
    after = read(path)
    assert (after.attributes["outcome"], after.attributes["advantage"]) == ("failure", False)
    assert {**after.attributes, "outcome": "success", "advantage": True} == before.attributes
    np.testing.assert_array_equal(after.qpos, before.qpos)
    assert names_in(path.parent) == {"episode_0.hdf5", ".episode_0.mcap"}


def test_a_label_that_broke_the_file_is_redone_from_the_journal(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    path.write_bytes(path.read_bytes()[:1000])
    label_episode(path, "failure")
    assert summary(path).outcome == "failure"
    assert problems(path) == []
    assert names_in(path.parent) == {"episode_0.hdf5", ".episode_0.mcap"}


@pytest.mark.parametrize("broken", [True, False])
def test_a_label_interrupted_by_the_end_of_the_process_is_finished_at_the_next_start(
    journal: Path, broken: bool
) -> None:
    path = Path(save_journal(journal).path)
    journal.with_suffix(".outcome").write_text("failure")
    if broken:
        path.write_bytes(path.read_bytes()[:1000])
    save_journal(journal)
    assert summary(path).outcome == "failure"
    assert problems(path) == []
    assert not journal.with_suffix(".outcome").exists()


def test_without_its_journal_a_broken_file_cannot_be_labelled_and_is_left_alone(journal: Path) -> None:
    path = Path(save_journal(journal).path)
    path.write_bytes(b"broken")
    journal.unlink()
    with pytest.raises(SaveError, match="journal is gone"):
        label_episode(path, "failure")
    assert path.read_bytes() == b"broken"


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


def test_the_command_never_makes_an_episode_anew_under_the_name_of_one_at_the_target(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(save_journal(journal).path)
    path.unlink()
    journal.with_suffix(".uploaded").touch()
    assert main(["recover", str(journal.parent)]) == 0
    assert capsys.readouterr().out == "" and not path.exists()
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
    assert main(["list", str(journal.parent)]) == 0
    assert capsys.readouterr().out == ""


def test_the_command_restores_what_was_discarded(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(save_journal(journal).path)
    aside = discard([path, journal])
    assert main(["restore", str(journal.parent)]) == 0
    assert capsys.readouterr().out.splitlines() == sorted(map(str, aside))
    assert main(["restore", "--all", str(journal.parent)]) == 0
    assert path.exists() and journal.exists()
    assert main(["restore", str(path)]) == 1


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


def test_what_is_no_episode_is_named(tmp_path: Path) -> None:
    path = tmp_path / "episode_0.hdf5"
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(EpisodeError, match=r"episode_0\.hdf5"):
        read(path)
    with pytest.raises(EpisodeError, match="not one of our episodes"):
        summary(path)


def test_a_file_is_readable_by_its_owner_and_group_only(journal: Path) -> None:
    for path in (journal, Path(save_journal(journal).path)):
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_dummy_known_at_the_start_may_come_to_life(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [
        message for message in builder.messages if message[1] != "ego_cam" or message[0] > START_NS + 1000 * MS
    ]
    info = episode_info(allow_dummy_cameras=True, dummy_cameras=("ego_cam",))
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap", info)).path)
    none_yet = episode.stamps["ego_cam"] == -1
    assert none_yet.sum() == 25 == episode.attributes["dummy_frames_ego_cam"]
    assert problems(episode.path) == []
