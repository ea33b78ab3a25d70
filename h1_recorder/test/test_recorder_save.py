# SPDX-License-Identifier: Apache-2.0
"""From journal to file: what is in it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from recorder_builders import (
    ASKED,
    COMMANDED,
    DAMPING,
    MEASURED,
    MS,
    POLICY,
    START_NS,
    episode_info,
    joints,
    jpeg,
    ordinary,
)

from h1_recorder.episode.content import CUT_REASON, JOINT_NAMES
from h1_recorder.episode.episode import EpisodeError, read, summary
from h1_recorder.episode.save import save_journal
from h1_recorder.episode.validate import problems


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return ordinary().write(tmp_path / ".episode_0.mcap")


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
    np.testing.assert_allclose(episode.qpos[:, 0], MEASURED + arm_ms / 1e5, atol=1e-7)
    np.testing.assert_allclose(episode.applied_action[~human, 0], COMMANDED + arm_ms[~human] / 1e5, atol=1e-7)
    np.testing.assert_array_equal(episode.applied_action[human], episode.qpos[human])
    assert not episode.action[human].any()
    np.testing.assert_allclose(episode.action[~human, 0], ASKED + arm_ms[~human] / 1e5, atol=1e-7)
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
        builder.action(ms + 2.0, 300.0, size=26)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert problems(episode.path) == []
    assert episode.hand_qpos is not None and episode.hand_action is not None and episode.hand_command is not None
    assert np.isnan(episode.hand_qpos[0]).all(), "no hand had been heard of"
    assert (episode.hand_qpos[-1, :6] == 0.25).all() and np.isnan(episode.hand_qpos[-1, 6:]).all()
    np.testing.assert_allclose(episode.hand_action[20], joints(300.0, ASKED, 26)[14:], rtol=1e-6)
    assert not episode.hand_action[-1].any()
    assert (episode.hand_command[-1, :6] == 0.75).all()


def test_a_hand_that_falls_silent_keeps_no_values_and_has_them_again_when_it_is_back(tmp_path: Path) -> None:
    builder = ordinary()
    for ms in (*range(300, 1000, 50), *range(2000, 2600, 50)):
        builder.hand("left", ms, angle=0.25, command=0.75)
    for ms in range(300, 2600, 50):
        builder.hand("right", ms, angle=0.5, command=0.5)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert problems(episode.path) == []
    assert episode.hand_qpos is not None
    since_ms = (episode.stamps["tick"] - START_NS) / MS
    silent = (since_ms > 950 + 500) & (since_ms < 2000)
    assert silent.sum() > 10
    np.testing.assert_array_equal(np.isnan(episode.hand_qpos[:, :6]).all(axis=1), silent)
    assert (episode.hand_qpos[~silent, :6] == 0.25).all()
    assert (episode.hand_qpos[:, 6:] == 0.5).all(), "the other hand goes on"


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


def test_images_that_are_not_jpeg_become_jpeg_of_quality_85(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if message[1] != "ego_cam"]
    image = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    png = bytes(cv2.imencode(".png", image)[1])
    for ms in range(0, 2600, 33):
        builder.image("ego_cam", ms, data=png)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    expected = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
    assert set(episode.jpegs("ego_cam")) == {expected}
    assert episode.attributes["jpeg_source_ego_cam"] == "q85"
    assert episode.attributes["jpeg_source_cam_left_wrist"] == "passthrough"
    assert problems(episode.path) == []


def test_messages_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    builder = ordinary()
    builder.action(700.0, float("nan"))
    builder.action(701.0, size=13)
    builder.image("ego_cam", 702.0, data=b"no image")
    builder.arm(100_000_000, POLICY, delay_ms=-99_999_000.0)
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    details = {event["detail"] for event in episode.events if event["reason"] == "messages_unusable"}
    assert any("policy/action: 2 left out; the first: an action that is not finite" in detail for detail in details)
    assert any("ego_cam: 1 left out" in detail for detail in details)
    assert any("arm_status: 1 left out" in detail and "clock" in detail for detail in details)
    assert problems(episode.path) == []


def test_an_image_that_does_not_decode_is_left_out_and_named_and_none_is_stamped_as_it(tmp_path: Path) -> None:
    builder = ordinary()
    builder.messages = [message for message in builder.messages if message[1] != "ego_cam"]
    png = bytes(cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8))[1])
    for ms in range(0, 2600, 25):
        builder.image("ego_cam", ms, data=png[: 20 if ms in (0, 1000, 1025) else None])
    episode = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    details = {event["detail"] for event in episode.events if event["reason"] == "messages_unusable"}
    assert details == {"ego_cam: 3 left out; the first: begins with 89 50 4e 47 and does not decode"}
    assert START_NS + 975 * MS in episode.stamps["ego_cam"], "the image before stands in, under its own stamp"
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
