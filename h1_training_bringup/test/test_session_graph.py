# SPDX-License-Identifier: Apache-2.0
"""A whole session over the real wires: every process, every socket, two epochs of two episodes."""

import hashlib
import itertools
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from mcap_ros2.reader import read_ros2_messages
from session_runs import SessionRun

pytestmark = [pytest.mark.graph, pytest.mark.timeout(240)]

CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
FPS, CAMERA_FPS = 50, 15.0
TICK_NS = 10**9 // FPS
MODE_POLICY, MODE_DAMPING = 3, 4


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRun]:
    """A finished session of 2 × 2 episodes whose journals were kept."""
    folder = tmp_path_factory.mktemp("session")
    configuration = f"recording: {{keep_journal: true}}\nsimulation: {{camera_fps: {CAMERA_FPS}}}\n"
    with closing(SessionRun(folder, configuration=configuration)) as run:
        assert run.wait_for_exit(180) == 0, run.evidence()
        yield run


@pytest.fixture(scope="module")
def episodes(session: SessionRun) -> list[Path]:
    """Its four files."""
    found = session.episodes()
    assert len(found) == 4, session.evidence()
    return found


def test_the_files_are_where_the_documentation_says(session: SessionRun, episodes: list[Path]) -> None:
    expected = [f"training_session_epoch{epoch}/episode_{index}.hdf5" for epoch in (0, 1) for index in (0, 1)]
    assert [str(path.relative_to(session.save_dir)) for path in episodes] == expected


def test_the_terminal_shows_the_operators_lines_word_for_word(session: SessionRun, episodes: list[Path]) -> None:
    lines = session.output.splitlines()
    for line in (
        "[WAITING] Polling policy server for new weights...",
        "[READY] New weights available!",
        "[READY] Epoch 1, episode 1",
        "[EXECUTING] Running policy (epoch 1)",
        "  Press 's' to stop execution and enter damping mode",
        "[DAMPING] Robot in damping mode - adjust pose freely",
        "  Press 'e' to end epoch and save",
        "[SAVING] Saving episode data...",
        f"  Saved: {episodes[0]}",
        "[DECIDING] What's next?",
        "  Press 'y' to start another epoch",
        "  Press 'n' to finish training session",
        "[SYNCING] Uploading data to remote server...",
    ):
        assert line in lines, f"{line!r}\n{session.evidence()}"
    assert "  Press 'y' to start epoch 1, 'n' to skip: " in session.output
    assert "Cameras ready: All cameras working!" in session.output
    assert re.search(r"^  Total timesteps: \d+$", session.output, re.MULTILINE)
    assert re.search(r"^  Policy frames: \d+, Human frames: \d+$", session.output, re.MULTILINE)


def test_the_table_has_one_line_an_episode(session: SessionRun, episodes: list[Path]) -> None:
    for path in episodes:
        with h5py.File(path) as file:
            frames = str(file.attrs["episode_length"])
        (line,) = (
            line for line in session.output.splitlines() if line.startswith(f"epoch{path.parent.name[-1]}/{path.stem} ")
        )
        assert line.split()[1] == frames
        assert line.endswith(" verified")


def test_what_was_uploaded_is_what_was_saved_and_nothing_else(session: SessionRun, episodes: list[Path]) -> None:
    def digests(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.hdf5")
        }

    assert digests(session.target) == digests(session.save_dir)
    # The training server keeps its checkpoints beside the uploads, with a lock of its own.
    hidden = [path for path in session.target.rglob(".*") if path.is_file()]
    assert [path for path in hidden if "checkpoints" not in path.parts] == []


def test_every_episode_has_the_layout_that_is_documented(episodes: list[Path]) -> None:
    for path in episodes:
        with h5py.File(path) as file:
            rows = int(file.attrs["episode_length"])
            for name in ("observations/qpos", "observations/qvel", "observations/effort", "action", "applied_action"):
                assert (file[name].shape, file[name].dtype) == ((rows, 14), np.float32), name
            assert (file["observations/hand_qpos"].shape, file["observations/hand_qpos"].dtype) == (
                (rows, 12),
                np.float32,
            )
            assert (file["phase"].shape, file["phase"].dtype) == ((rows,), np.dtype("S10"))
            assert (file["segment"].shape, file["segment"].dtype) == ((rows,), np.int32)
            for camera in CAMERAS:
                images = file[f"observations/images/{camera}"]
                assert images.shape == (rows,)
                assert h5py.check_vlen_dtype(images.dtype) == np.uint8
            for alias in ("cam_head", "cam_high", "cam_low"):
                assert file[f"observations/images/{alias}"] == file["observations/images/ego_cam"]
            for name in ("tick", "qpos", "action", *CAMERAS):
                assert (file[f"stamps/{name}"].shape, file[f"stamps/{name}"].dtype) == ((rows,), np.int64), name
            assert "hand_action" not in file
            assert file.attrs["fps"] == FPS


def test_every_episode_has_policy_and_human_rows_and_they_add_up(episodes: list[Path]) -> None:
    for path in episodes:
        with h5py.File(path) as file:
            phase = file["phase"][:]
            assert set(phase) == {b"policy", b"human"}
            assert file.attrs["policy_frames"] == np.sum(phase == b"policy") > 50
            assert file.attrs["human_frames"] == np.sum(phase == b"human") > 50
            assert file.attrs["episode_length"] == len(phase)


def test_in_human_rows_the_policy_put_out_nothing_and_the_measured_position_was_applied(episodes: list[Path]) -> None:
    for path in episodes:
        with h5py.File(path) as file:
            human = file["phase"][:] == b"human"
            assert not file["action"][:][human].any()
            assert np.array_equal(file["applied_action"][:][human], file["observations/qpos"][:][human])
            assert file["action"][:][~human].any()


def test_rows_are_exactly_one_tick_apart_within_a_segment(episodes: list[Path]) -> None:
    for path in episodes:
        with h5py.File(path) as file:
            tick, segment = file["stamps/tick"][:], file["segment"][:]
            inside = np.diff(segment) == 0
            assert np.all(np.diff(tick)[inside] == TICK_NS)
            assert np.all(np.diff(tick) % TICK_NS == 0)
            assert np.all(file["stamps/qpos"][:] <= tick)
            assert file.attrs["duplicate_rows"] == np.sum(np.diff(file["stamps/qpos"][:])[inside] == 0)


def test_one_episode_goes_back_to_the_policy_after_a_correction(episodes: list[Path]) -> None:
    def turns(path: Path) -> list[bytes]:
        with h5py.File(path) as file:
            phase = file["phase"][:]
        return [phase[0], *(after for before, after in itertools.pairwise(phase) if before != after)]

    assert [b"policy", b"human", b"policy", b"human"] in [turns(path) for path in episodes]


def test_every_image_decodes_and_shows_something_new_as_time_goes_by(episodes: list[Path]) -> None:
    with h5py.File(episodes[0]) as file:
        for camera in CAMERAS:
            images = file[f"observations/images/{camera}"][:]
            for jpeg in images:
                assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape == (480, 640, 3)
            assert len({jpeg.tobytes() for jpeg in images}) > 0.6 * len(images) * CAMERA_FPS / FPS


def test_arms_and_hands_move(episodes: list[Path]) -> None:
    with h5py.File(episodes[0]) as file:
        assert np.ptp(file["observations/qpos"][:], axis=0).max() > 0.05
        hands = file["observations/hand_qpos"][:]
        assert np.all((hands >= 0) & (hands <= 1))


def test_rows_agree_with_the_arm_modes_in_the_journal_as_another_reader_finds_them(episodes: list[Path]) -> None:
    """The journal is read by mcap-ros2-support, which shares no code with the recorder."""
    for path in episodes:
        stamps, modes, commands = [], [], []
        for message in read_ros2_messages(str(path.with_name(f".{path.stem}.mcap")), topics=["/arm_status"]):
            status = message.ros_msg
            stamps.append(status.header.stamp.sec * 10**9 + status.header.stamp.nanosec)
            modes.append(status.mode)
            commands.append(list(status.q_command))
        order = np.argsort(stamps, kind="stable")
        with h5py.File(path) as file:
            newest = order[np.searchsorted(np.array(stamps)[order], file["stamps/tick"][:], side="right") - 1]
            policy = file["phase"][:] == b"policy"
            mode = np.array(modes)[newest]
            applied = np.array(commands, np.float32)[newest]
            assert np.all(mode[~policy] == MODE_DAMPING)
            assert np.mean(mode[policy] == MODE_POLICY) > 0.9
            assert np.array_equal(file["applied_action"][:][policy], applied[policy])


def test_nothing_is_left_running_and_nothing_was_lost(session: SessionRun) -> None:
    assert session.processes() == []
    assert "was lost" not in session.output
    assert "Killed" not in session.output
