# SPDX-License-Identifier: Apache-2.0
"""Nothing false in a file, and what is false in one is found: frozen cameras, impossible values, wrong counters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recorder_builders import DAMPING, END, HOLD, MS, POLICY, START_NS, JournalBuilder, joints, jpeg, names_in, ordinary

from h1_recorder.__main__ import main
from h1_recorder.episode.episode import EpisodeError, read, summary
from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.info import FORMAT_VERSION
from h1_recorder.episode.save import label_episode, save_journal
from h1_recorder.episode.validate import check, problems
from h1_training_msgs.msg import ArmStatus
from h1_training_node.session_end import note_lost_node


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return Path(save_journal(ordinary().write(tmp_path / ".episode_0.mcap")).path)


def without(builder: JournalBuilder, name: str) -> JournalBuilder:
    builder.messages = [entry for entry in builder.messages if entry[1] != name]
    return builder


def test_a_frozen_camera_makes_stale_rows_and_a_warning_though_its_stamps_advance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = without(ordinary(), "ego_cam")
    for number in range(78):
        ms = number * 1000 / 30
        builder.image("ego_cam", ms, jpeg(7) if 700 <= ms < 2200 else jpeg(number + 50))
    path = Path(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    found = read(path).attributes
    assert 68 <= found["stale_frames_ego_cam"] <= 73, "1.5 s at 50 Hz, less two periods of the camera"
    assert 70 <= found["repeated_frames_ego_cam"] <= 75
    assert found["stale_frames_cam_left_wrist"] == 0
    result = check(path)
    assert result.problems == []
    (warning,) = result.warnings
    assert warning.startswith("ego_cam shows an image older than 0.07 s for 1.4 s from row ")
    assert main(["validate", str(path)]) == 0, "the file is what it says"
    assert "warning: ego_cam shows" in capsys.readouterr().out


def test_an_action_beyond_the_joints_range_never_enters_a_file(tmp_path: Path) -> None:
    builder = ordinary()
    for ms in (801.0, 802.0):
        builder.action(ms, of_ms=3e5)
    builder.action(803.0, of_ms=1e35)
    path = Path(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    found = read(path)
    assert np.abs(found.action).max() < 1
    assert problems(path) == []
    (event,) = [event for event in found.events if event["reason"] == "messages_unusable"]
    assert "policy/action: 3 left out; the first: an action beyond the joints' range: " in event["detail"]
    assert "_joint is 3." in event["detail"]


@pytest.mark.parametrize(("most", "other"), [(14, 26), (26, 14)])
def test_an_action_of_another_length_than_most_is_left_out_and_stands_in_no_row(
    tmp_path: Path, most: int, other: int
) -> None:
    builder = without(ordinary(), "policy/action")
    builder.actions(500, 1500, size=most)
    builder.action(803.0, of_ms=5000.0, size=other)
    found = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert (found.hand_action is None) == (most == 14)
    assert np.abs(found.action).max() < 0.3, "of 5000 ms it would be 0.35"
    if found.hand_action is not None:
        policy = found.phase == "policy"
        assert (found.hand_action[policy & (found.stamps["action"] >= 0)] > 0.2).all(), "no hand is closed by it"
    (event,) = [event for event in found.events if event["reason"] == "messages_unusable"]
    assert event["detail"] == f"policy/action: 1 left out; the first: an action of {other} values; most have {most}"


def test_messages_that_came_and_were_left_out_are_not_counted_as_lost_too(tmp_path: Path) -> None:
    builder = ordinary()
    builder.action(1500.0, of_ms=3e5)
    builder.action(1501.0, seq=builder.seq["policy/action"] + 3)
    found = read(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert json.loads(found.attributes["lost_messages"]) == {"policy/action": 2}, "those that never came"
    details = {event["reason"]: event["detail"] for event in found.events}
    assert details["messages_lost"] == "policy/action: 2 by gaps in seq"
    assert details["messages_unusable"].startswith("policy/action: 1 left out")


def test_bit_identical_robot_values_are_duplicates_whatever_their_stamps(tmp_path: Path) -> None:
    builder = ordinary()
    for name in ("arm_status", "joint_states"):
        without(builder, name)
    builder.seq.clear()
    for ms in range(0, 2600, 20):
        mode = HOLD if ms < 500 else POLICY if ms < 1500 else DAMPING
        message = ArmStatus(mode=mode, reason="requested", q=joints(min(max(ms, 700), 900) if ms < 1300 else ms))
        message.q_command = joints(ms)
        builder.add("arm_status", message, ms)
    path = Path(save_journal(builder.write(tmp_path / ".episode_0.mcap")).path)
    assert read(path).attributes["duplicate_rows"] == 10 + 19
    assert problems(path) == []


def test_a_group_that_is_copied_into_another_file_keeps_all_its_names(episode: Path, tmp_path: Path) -> None:
    with h5py.File(episode) as file, h5py.File(tmp_path / "copy.hdf5", "w") as copy:
        file.copy("observations", copy, "somewhere/else")
        images = copy["somewhere/else/images"]
        assert {images.get(name, getlink=True).path for name in ("cam_head", "cam_high", "cam_low")} == {"ego_cam"}
        assert bytes(images["cam_high"][3]) == bytes(file["observations/images/ego_cam"][3])


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("observations/qvel", lambda v: v.__setitem__((7, 2), np.nan), "'observations/qvel' is not finite in 1 rows"),
        ("observations/effort", lambda v: v.__setitem__((7, 2), np.inf), "'observations/effort' is not finite"),
        ("observations/qpos", lambda v: v.__setitem__((3, 3), 9.0), "'observations/qpos' is beyond the joints' range"),
        ("action", lambda v: v.__setitem__((3, 3), -1e30), "'action' is beyond the joints' range"),
        ("applied_action", lambda v: v.__setitem__((3, 3), 5.0), "left_elbow_joint is 5 rad in row 3"),
        ("phase", lambda v: v.__setitem__(4, b"robot"), "unknown phase 'robot'"),
        ("stamps/ego_cam", lambda v: v.__setitem__(slice(20, 60), v[20]), "attribute 'stale_frames_ego_cam' is 0"),
        ("stamps/qpos", lambda v: v.__setitem__(9, v[8]), "attribute 'duplicate_rows' is 0; the rows say 1"),
    ],
)
def test_validate_finds_it(episode: Path, name: str, change: Callable[[Any], None], says: str) -> None:
    with h5py.File(episode, "r+") as file:
        values = file[name][:]
        change(values)
        file[name][...] = values
    assert any(says in problem for problem in problems(episode)), problems(episode)


@pytest.mark.parametrize(
    "attribute",
    [
        *("policy_frames", "human_frames", "episode_length", "interventions", "gap_count", "event_count"),
        *("duplicate_rows", "measured_fps", "stale_frames_ego_cam", "dummy_frames_cam_left_wrist"),
        "repeated_frames_cam_right_wrist",
    ],
)
def test_every_number_that_a_file_says_of_itself_is_computed_again(episode: Path, attribute: str) -> None:
    with h5py.File(episode, "r+") as file:
        file.attrs[attribute] = file.attrs[attribute] + 5
    assert any(attribute in problem for problem in problems(episode)), problems(episode)


def test_a_jpeg_whose_middle_is_zeros_is_found_though_it_decodes(episode: Path) -> None:
    with h5py.File(episode, "r+") as file:
        image = np.frombuffer(jpeg_of_noise(), np.uint8).copy()
        image[len(image) // 3 : len(image) // 2] = 0
        file["observations/images/ego_cam"][50] = image
    assert any("image 50 of ego_cam does not decode: Corrupt JPEG data" in problem for problem in problems(episode))


def jpeg_of_noise() -> bytes:
    import cv2

    image = np.random.default_rng(3).integers(0, 255, (120, 160, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1])


def test_a_later_format_is_refused_with_both_numbers(episode: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(episode, "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 7
    for function in (read, summary):
        with pytest.raises(
            EpisodeError, match=f"format {FORMAT_VERSION + 7}, this program reads 1 to {FORMAT_VERSION}"
        ):
            function(episode)
    for verb in ("list", "info", "validate"):
        assert main([verb, str(episode)]) == 1
        assert f"is of format {FORMAT_VERSION + 7}" in capsys.readouterr().out


HOLD_OPEN = "import h5py, sys; file = h5py.File(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


def test_a_label_while_another_program_reads_the_file_says_so_and_leaves_it(episode: Path) -> None:
    command = [sys.executable, "-c", HOLD_OPEN, str(episode)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None and reader.stdout.readline() == "open\n"
    try:
        with pytest.raises(SaveError, match="another program has it open"):
            label_episode(episode, "failure")
    finally:
        reader.communicate("")
    assert summary(episode).outcome == "success"
    assert names_in(episode.parent) == {"episode_0.hdf5", ".episode_0.mcap"}
    label_episode(episode, "failure")
    assert summary(episode).outcome == "failure"


@pytest.mark.parametrize("has_journal", [True, False])
@pytest.mark.parametrize("kind", ["empty", "text", "foreign HDF5"])
def test_nothing_is_labelled_that_is_no_episode_of_ours(tmp_path: Path, kind: str, has_journal: bool) -> None:
    path = tmp_path / "episode_0.hdf5"
    if kind == "foreign HDF5":
        with h5py.File(path, "w") as file:
            file["data"] = [1, 2, 3]
    else:
        path.write_bytes(b"" if kind == "empty" else b"somebody's notes")
    if has_journal:
        shutil.copyfile(Path(__file__).parent / "data/format_1.mcap", tmp_path / ".episode_0.mcap")
    before = path.read_bytes()
    with pytest.raises(SaveError, match="cannot label"):
        label_episode(path, "success")
    assert main(["label", "--outcome", "success", str(path)]) == 1
    assert path.read_bytes() == before


def test_a_cut_journal_has_the_cause_of_the_sessions_end_if_somebody_noted_it(tmp_path: Path) -> None:
    epoch = tmp_path / "training_session_epoch1"
    epoch.mkdir()
    journal = ordinary().write(epoch / ".episode_0.mcap", end=END)
    journal.write_bytes(journal.read_bytes()[:200_000])
    note_lost_node(tmp_path, "recorder lost: killed by SIGKILL", START_NS + 2_000 * MS)
    found = read(save_journal(journal).path)
    assert found.attributes["end_reason"] == "recorder lost: killed by SIGKILL"
    assert "recorder lost: killed by SIGKILL" in found.events[-1]["detail"]
    assert problems(found.path) == []


@pytest.mark.parametrize("level", ["file", "epoch", "save_dir", "above"])
def test_every_verb_takes_any_level_and_says_when_it_finds_nothing(
    level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epoch = tmp_path / "data/training_session_epoch1"
    epoch.mkdir(parents=True)
    journal = shutil.copyfile(Path(__file__).parent / "data/format_1.mcap", epoch / ".episode_0.mcap")
    place = {"epoch": epoch, "save_dir": epoch.parent, "above": tmp_path}
    assert main(["recover", str(place.get(level, journal))]) == 0
    assert "20 rows" in capsys.readouterr().out
    for verb in ("list", "validate", "info"):
        assert main([verb, str(place.get(level, epoch / "episode_0.hdf5"))]) == 0, verb
        assert "episode_0.hdf5" in capsys.readouterr().out
    empty = tmp_path / "empty"
    empty.mkdir()
    for verb in ("recover", "list", "validate", "info", "restore"):
        assert main([verb, str(empty)]) == 1
        assert f" found in {empty}" in capsys.readouterr().out
        assert main([verb, "--allow-empty", str(empty)]) == 0
        capsys.readouterr()


def test_data_are_json_where_json_is_asked_for(episode: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--json", str(episode)]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(episode), "problems": [], "warnings": []}
