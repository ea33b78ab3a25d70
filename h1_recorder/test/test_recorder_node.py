# SPDX-License-Identifier: Apache-2.0
"""The recorder as a node, in a real graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recorder_stage import CLOCK, Session
from std_msgs.msg import String

from h1_recorder.episode.episode import read, summary
from h1_recorder.episode.validate import problems
from h1_recorder.recorder.journal_file import read_journal
from h1_recorder.recorder.mcap_file import McapFile
from h1_training_msgs.msg import ArmStatus, RecorderStatus
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.message_numbers import Verdict
from h1_training_testing import Graph


@pytest.fixture(autouse=True)
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All nodes of a test share one session clock, as in a session."""
    monkeypatch.setenv("H1_SESSION_CLOCK_OFFSET_NS", str(CLOCK.offset_ns))


@pytest.fixture
def session(graph: Graph, tmp_path: Path) -> Callable[..., Session]:
    return lambda parameters=None, **endpoints: Session(graph, tmp_path, parameters or {}, **endpoints)


MakeSession = Callable[..., Session]


def test_a_recorded_episode_has_the_documented_layout_and_every_image_decodes(session: MakeSession) -> None:
    running = session()
    episode_id = running.record()
    status = running.until(RecorderStatus.SAVED)
    assert status.episode_id == episode_id == "epoch3/episode_0"
    assert status.last_path == str(running.folder / "episode_0.hdf5")
    assert problems(Path(status.last_path)) == []
    episode = read(status.last_path)
    assert status.policy_frames == (episode.phase == "policy").sum() > 0
    assert status.human_frames == (episode.phase == "human").sum() > 0
    assert episode.attributes["config_sha256"] == "f00"
    assert episode.attributes["limits"] == '{"speed": 1.5}'
    policy = episode.phase == "policy"
    np.testing.assert_array_equal(episode.applied_action[policy], episode.qpos[policy] + 0.25)


def test_the_journal_goes_only_when_deciding_is_left(session: MakeSession) -> None:
    running = session()
    running.record()
    running.until(RecorderStatus.SAVED)
    journal = running.folder / ".episode_0.mcap"
    running.endpoints.enter("DECIDING", ArmStatus.MODE_DAMPING)
    running.graph.spin_until(lambda: running.recorder._recorder.intake.estimate.state == "DECIDING", "DECIDING")
    running.recorder._recorder.tick()
    assert journal.exists()
    running.endpoints.enter("READY", ArmStatus.MODE_HOLD)
    running.graph.spin_until(lambda: not journal.exists(), "the journal is deleted")


def test_a_label_given_while_deciding_is_in_the_file(session: MakeSession) -> None:
    running = session()
    episode_id = running.record()
    running.until(RecorderStatus.SAVED)
    assert running.call("label", episode_id=episode_id, outcome="success").accepted
    path = running.folder / "episode_0.hdf5"
    running.until(RecorderStatus.SAVED)
    assert summary(path).outcome == "success"
    assert read(path).attributes["advantage"] is True
    assert problems(path) == []


def test_a_discarded_episode_is_moved_aside_with_its_journal(session: MakeSession) -> None:
    running = session()
    episode_id = running.record()
    running.until(RecorderStatus.SAVED)
    assert running.call("discard", episode_id=episode_id, why="operator").accepted
    aside = running.folder / ".discarded"
    assert {path.name for path in aside.iterdir()} == {"episode_0.hdf5", ".episode_0.mcap"}
    assert running.until(RecorderStatus.IDLE).last_path == ""


def test_an_open_episode_can_be_discarded(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    episode_id = running.start().episode_id
    running.until(RecorderStatus.RECORDING)
    assert running.call("discard", episode_id=episode_id, why="operator").accepted
    moved = running.folder / ".discarded" / ".episode_0.mcap"
    assert moved.exists(), "the journal is moved"
    running.graph.spin_until(lambda: not running.recorder._recorder.busy, "not busy")
    assert read_journal(moved).end is not None
    assert running.start().episode_id == "epoch3/episode_1"


def test_starting_is_refused_with_the_name_of_the_silent_camera(session: MakeSession) -> None:
    running = session(cameras=("ego_cam", "cam_right_wrist"))
    running.graph.spin_until(
        lambda: not set(running.recorder._recorder.intake.having(Verdict.ABSENT)) - {"cam_left_wrist"}, "all but one"
    )
    answer = running.start()
    assert not answer.accepted
    assert "cam_left_wrist" in answer.reason
    assert "ego_cam" not in answer.reason


def test_a_silent_camera_is_recorded_as_grey_images_if_that_is_allowed(session: MakeSession) -> None:
    running = session({"allow_dummy_cameras": True}, cameras=("ego_cam",))
    running.graph.spin_until(
        lambda: "ego_cam" not in running.recorder._recorder.intake.having(Verdict.ABSENT), "ego_cam"
    )
    running.until_heard = lambda: None  # type: ignore[method-assign]
    running.graph.spin_until(
        lambda: "arm_status" not in running.recorder._recorder.intake.having(Verdict.ABSENT), "arms"
    )
    running.record()
    path = Path(running.until(RecorderStatus.SAVED).last_path)
    episode = read(path)
    assert problems(path) == []
    assert (episode.stamps["cam_left_wrist"] == -1).all()
    assert (episode.stamps["ego_cam"] > 0).all()
    assert episode.attributes["dummy_frames_cam_left_wrist"] == len(episode)
    assert episode.attributes["jpeg_source_ego_cam"] == "passthrough"


def test_images_offered_best_effort_are_recorded_too(session: MakeSession) -> None:
    sensor = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)
    running = session(image_qos=sensor)
    running.record()
    running.until(RecorderStatus.SAVED)
    assert problems(running.folder / "episode_0.hdf5") == []


def test_requests_out_of_turn_are_refused_with_what_the_recorder_is_doing(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    assert "no episode is open" in running.call("finish", episode_id="epoch3/episode_0", outcome="success").reason
    episode_id = running.start().episode_id
    assert "being recorded" in running.start().reason
    assert "being recorded" in running.call("label", episode_id=episode_id, outcome="success").reason
    wrong = running.call("finish", episode_id=episode_id, end_reason="operator", outcome="great")
    assert "expected one of success" in wrong.reason


def test_asked_to_end_the_recorder_finishes_and_saves_the_open_episode_by_itself(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    running.start()
    running.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
    running.until_rows(10, 0)
    running.recorder.request_stop("SIGTERM")
    running.graph.spin_until(lambda: running.recorder.exit_status == 0, "the recorder ends")
    assert summary(running.folder / "episode_0.hdf5").end_reason == "interrupted"
    assert "finished_by_recorder" in running.endpoints.events


def test_an_episode_finished_by_the_session_during_the_ending_keeps_its_reason(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    episode_id = running.start().episode_id
    running.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
    running.until_rows(10, 0)
    running.recorder.request_stop("SIGTERM")
    running.call("finish", episode_id=episode_id, end_reason="emergency_stop", outcome="failure")
    running.graph.spin_until(lambda: running.recorder.exit_status == 0, "the recorder ends")
    assert summary(running.folder / "episode_0.hdf5").end_reason == "emergency_stop"


def test_a_discarded_journal_that_the_disk_does_not_take_in_time_is_not_said_to_keep_an_episode(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(McapFile, "sync", lambda _: let_go.wait(20))
    running = session()
    running.until_heard()
    started = running.start()
    assert running.call("discard", episode_id=started.episode_id, why="").accepted
    running.recorder.request_stop("a test")
    assert running.recorder.exit_status is None, "it waits for the disk"
    running.recorder._move_on_ending(13_000_000_000)
    assert running.recorder.exit_status == 0
    running.graph.spin_until(lambda: "episode_discarded" in running.endpoints.events, "the events")
    assert "journal_kept" not in running.endpoints.events
    let_go.set()


def test_an_episode_without_rows_fails_by_name_and_its_journal_is_set_aside(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    episode_id = running.start().episode_id
    running.call("finish", episode_id=episode_id, end_reason="operator", outcome="unlabeled")
    status = running.until(RecorderStatus.FAILED)
    assert status.last_error.startswith("nothing to save: ")
    running.graph.spin_until(lambda: "nothing_to_save" in running.endpoints.events, "event nothing_to_save")
    assert "save_failed" not in running.endpoints.events
    assert (running.folder / ".discarded" / ".episode_0.mcap").exists()


def test_extra_topics_are_journaled_as_soon_as_somebody_publishes_them(session: MakeSession) -> None:
    running = session({"extra_topics": ["remark"]})
    running.until_heard()
    remark = running.endpoints.create_publisher(String, "remark", qos.STATE)
    running.start()
    journal = running.folder / ".episode_0.mcap"

    def journaled() -> bool:
        remark.publish(String(data="hello"))
        return "remark" in read_journal(journal).streams

    running.graph.spin_until(journaled, "remark in the journal")
    assert read_journal(journal).streams["remark"].type == "std_msgs/msg/String"


def test_a_jump_of_the_system_clock_is_an_event_and_moves_no_row(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session()
    made.until_heard()
    started = made.start()
    made.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
    made.until_rows(20, 0)
    monkeypatch.setattr(SessionClock, "system_clock_jump_ns", lambda clock: 3_600_000_000_000)
    made.graph.spin_until(lambda: "clock_jump" in made.endpoints.events, "event clock_jump")
    made.until_rows(made.endpoints.status.policy_frames + 20, 0)
    made.endpoints.enter("SAVING", ArmStatus.MODE_HOLD)
    made.call("finish", episode_id=started.episode_id, end_reason="operator", outcome="unlabeled")
    episode = read(made.until(RecorderStatus.SAVED).last_path)
    assert [event["detail"] for event in episode.events if event["reason"] == "clock_jump"] == [
        "the system clock was moved by +3600.0 s; no row is affected"
    ]
    ticks = episode.stamps["tick"]
    assert (np.diff(ticks) % 20_000_000 == 0).all() and (np.diff(ticks) > 0).all()
    assert ticks[-1] - ticks[0] < 1_800 * 10**9
