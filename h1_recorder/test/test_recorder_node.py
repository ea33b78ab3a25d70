"""The recorder as a node, in a real graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recorder_builders import jpeg
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String

from h1_recorder.episode import read, summary
from h1_recorder.journal_file import read_journal
from h1_recorder.recorder_node import RecorderNode
from h1_recorder.streams import CAMERA_TOPICS
from h1_recorder.validate import problems
from h1_training_msgs.msg import ArmStatus, Event, PolicyAction, RecorderStatus, SessionState
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, StartEpisode
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.parameter import from_values
from h1_training_node.stamps import to_stamp
from h1_training_node.testing import Graph

CLOCK = SessionClock.from_environment()


@pytest.fixture(autouse=True)
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All nodes of a test share one session clock, as in a session."""
    monkeypatch.setenv("H1_SESSION_CLOCK_OFFSET_NS", str(CLOCK.offset_ns))


class Peers(Node):
    """Everything that the recorder listens to, published at its rate; and a client of its services."""

    def __init__(self, *, cameras: tuple[str, ...] = tuple(CAMERA_TOPICS), image_qos: QoSProfile = qos.IMAGE) -> None:
        super().__init__("peers")
        self.state, self.mode, self.reason = "READY", ArmStatus.MODE_HOLD, "requested"
        self.seq = 0
        self.status = RecorderStatus()
        self.events: list[str] = []
        self.sent: dict[str, list[int]] = {name: [] for name in ("arm_status", *cameras)}
        self._arm = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._joints = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._action = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        self._state = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._cameras = {
            name: self.create_publisher(CompressedImage, CAMERA_TOPICS[name], image_qos) for name in cameras
        }
        self.create_subscription(RecorderStatus, "recorder/status", self._on_status, qos.STATE)
        self.create_subscription(Event, "session/event", lambda event: self.events.append(event.reason), qos.STATE)
        self.create_timer(0.02, self.publish_arms)
        self.create_timer(0.1, self.publish_state)
        self.create_timer(1 / 30, self._publish_images)
        self.clients_by_name = {
            "start": self.create_client(StartEpisode, "recorder/start"),
            "finish": self.create_client(FinishEpisode, "recorder/finish"),
            "discard": self.create_client(DiscardEpisode, "recorder/discard"),
            "label": self.create_client(LabelEpisode, "recorder/label"),
        }

    def _on_status(self, status: RecorderStatus) -> None:
        self.status = status

    def publish_arms(self) -> None:
        self.seq += 1
        now_ns = CLOCK.now_ns()
        now = to_stamp(now_ns)
        message = ArmStatus(seq=self.seq, mode=self.mode, reason=self.reason)
        message.header.stamp = now
        message.q = np.full(14, self.seq, np.float32)
        message.q_command = np.full(14, self.seq + 0.5, np.float32)
        self.sent["arm_status"].append(now_ns)
        self._arm.publish(message)
        self._joints.publish(JointState(position=[float(self.seq)] * 14))
        if self.mode == ArmStatus.MODE_POLICY:
            action = PolicyAction(seq=self.seq, positions=np.full(14, -self.seq, np.float32))
            action.header.stamp = now
            self._action.publish(action)

    def publish_state(self) -> None:
        message = SessionState(seq=self.seq, state=self.state, epoch=3, episode=1)
        message.header.stamp = to_stamp(CLOCK.now_ns())
        self._state.publish(message)

    def _publish_images(self) -> None:
        for name, publisher in self._cameras.items():
            now_ns = CLOCK.now_ns()
            message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=jpeg(self.seq))
            message.header.stamp = to_stamp(now_ns)
            self.sent[name].append(now_ns)
            publisher.publish(message)

    def enter(self, state: str, mode: int) -> None:
        self.state, self.mode = state, mode
        self.publish_state()
        self.publish_arms()


def recorder_with(values: dict[str, Any]) -> RecorderNode:
    """A recorder with these parameters."""

    class Configured(RecorderNode):
        def parameters(self, cls: type[Any]) -> Any:
            return from_values(cls, values)

    return Configured()


class Session:
    """A recorder and its peers, spun together."""

    def __init__(self, graph: Graph, save_dir: Path, parameters: dict[str, Any], **peers: Any) -> None:
        values = {"save_dir": str(save_dir), "min_free_start_gb": 0.0, **parameters}
        self.graph, self.folder = graph, save_dir / "training_session_epoch3"
        self.peers = graph.add(Peers(**peers))
        self.recorder = graph.add(recorder_with(values))
        self.graph.spin_until(lambda: self.peers.status.seq > 0, "recorder/status")

    def call(self, name: str, **fields: Any) -> Any:
        client = self.peers.clients_by_name[name]
        self.graph.spin_until(client.service_is_ready, f"service {name}")
        future = client.call_async(client.srv_type.Request(**fields))
        self.graph.spin_until(future.done, f"answer of {name}")
        return future.result()

    def start(self) -> Any:
        return self.call(
            "start",
            directory=str(self.folder),
            epoch=3,
            episode=1,
            task="stack",
            prompt="stack, Advantage=True",
            attributes_json=json.dumps({"config_sha256": "f00", "limits": {"speed": 1.5}}),
        )

    def until_heard(self) -> None:
        def heard() -> bool:
            ages = dict(zip(self.peers.status.streams, self.peers.status.ages, strict=True))
            return all(0 <= ages.get(name, -1) < 0.5 for name in ("arm_status", *CAMERA_TOPICS))

        self.graph.spin_until(heard, "all streams")

    def until_rows(self, policy: int, human: int) -> None:
        def enough() -> bool:
            return self.peers.status.policy_frames >= policy and self.peers.status.human_frames >= human

        self.graph.spin_until(enough, f"{policy} policy and {human} human frames")

    def until(self, state: int) -> RecorderStatus:
        self.graph.spin_until(lambda: self.peers.status.state == state, f"recorder/status.state == {state}")
        return self.peers.status

    def record(self) -> str:
        """One episode with policy and human rows, `recorder/finish` accepted; returns its id."""
        self.until_heard()
        started = self.start()
        assert started.accepted, started.reason
        self.peers.enter("EXECUTING", ArmStatus.MODE_POLICY)
        self.until_rows(20, 0)
        self.peers.enter("DAMPING", ArmStatus.MODE_DAMPING)
        self.until_rows(20, 20)
        self.peers.enter("SAVING", ArmStatus.MODE_DAMPING)
        answer = self.call("finish", episode_id=started.episode_id, end_reason="operator", outcome="unlabeled")
        assert answer.accepted, answer.reason
        return str(started.episode_id)


@pytest.fixture
def session(graph: Graph, tmp_path: Path) -> Callable[..., Session]:
    return lambda parameters=None, **peers: Session(graph, tmp_path, parameters or {}, **peers)


MakeSession = Callable[..., Session]


def test_a_recorded_episode_has_the_documented_layout_and_every_picture_decodes(session: MakeSession) -> None:
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
    np.testing.assert_array_equal(episode.applied_action[policy], episode.qpos[policy] + 0.5)


def test_the_journal_goes_only_when_deciding_is_left(session: MakeSession) -> None:
    running = session()
    running.record()
    running.until(RecorderStatus.SAVED)
    journal = running.folder / ".episode_0.mcap"
    running.peers.enter("DECIDING", ArmStatus.MODE_DAMPING)
    running.graph.spin_until(lambda: running.recorder._recorder.intake.estimate.state == "DECIDING", "DECIDING")
    running.recorder._recorder.tick()
    assert journal.exists()
    running.peers.enter("READY", ArmStatus.MODE_HOLD)
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
        lambda: not set(running.recorder._recorder.intake.silent()) - {"cam_left_wrist"}, "all but one"
    )
    answer = running.start()
    assert not answer.accepted
    assert "cam_left_wrist" in answer.reason
    assert "ego_cam" not in answer.reason


def test_a_silent_camera_is_recorded_as_grey_pictures_if_that_is_allowed(session: MakeSession) -> None:
    running = session({"allow_dummy_cameras": True}, cameras=("ego_cam",))
    running.graph.spin_until(lambda: "ego_cam" not in running.recorder._recorder.intake.silent(), "ego_cam")
    running.until_heard = lambda: None  # type: ignore[method-assign]
    running.graph.spin_until(lambda: "arm_status" not in running.recorder._recorder.intake.silent(), "arms")
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


def test_told_to_end_the_recorder_finishes_and_saves_the_open_episode_by_itself(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    running.start()
    running.peers.enter("EXECUTING", ArmStatus.MODE_POLICY)
    running.until_rows(10, 0)
    running.recorder.request_stop("SIGTERM")
    running.graph.spin_until(lambda: running.recorder.exit_status == 0, "the recorder ends")
    assert summary(running.folder / "episode_0.hdf5").end_reason == "interrupted"
    assert "finished_by_recorder" in running.peers.events


def test_an_episode_finished_by_the_session_during_the_ending_keeps_its_reason(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    episode_id = running.start().episode_id
    running.peers.enter("EXECUTING", ArmStatus.MODE_POLICY)
    running.until_rows(10, 0)
    running.recorder.request_stop("SIGTERM")
    running.call("finish", episode_id=episode_id, end_reason="emergency_stop", outcome="failure")
    running.graph.spin_until(lambda: running.recorder.exit_status == 0, "the recorder ends")
    assert summary(running.folder / "episode_0.hdf5").end_reason == "emergency_stop"


def test_an_episode_without_rows_fails_by_name_and_its_journal_is_set_aside(session: MakeSession) -> None:
    running = session()
    running.until_heard()
    episode_id = running.start().episode_id
    running.call("finish", episode_id=episode_id, end_reason="operator", outcome="unlabeled")
    status = running.until(RecorderStatus.FAILED)
    assert status.last_error.startswith("nothing to save: ")
    running.graph.spin_until(lambda: "nothing_to_save" in running.peers.events, "event nothing_to_save")
    assert "save_failed" not in running.peers.events
    assert (running.folder / ".discarded" / ".episode_0.mcap").exists()


def test_extra_topics_are_journaled_as_soon_as_somebody_publishes_them(session: MakeSession) -> None:
    running = session({"extra_topics": ["remark"]})
    running.until_heard()
    remark = running.peers.create_publisher(String, "remark", qos.STATE)
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
    made.peers.enter("EXECUTING", ArmStatus.MODE_POLICY)
    made.until_rows(20, 0)
    monkeypatch.setattr(SessionClock, "system_clock_jump_ns", lambda clock: 3_600_000_000_000)
    made.graph.spin_until(lambda: "clock_jump" in made.peers.events, "event clock_jump")
    made.until_rows(made.peers.status.policy_frames + 20, 0)
    made.peers.enter("SAVING", ArmStatus.MODE_HOLD)
    made.call("finish", episode_id=started.episode_id, end_reason="operator", outcome="unlabeled")
    episode = read(made.until(RecorderStatus.SAVED).last_path)
    assert [event["detail"] for event in episode.events if event["reason"] == "clock_jump"] == [
        "the system clock was moved by +3600.0 s; no row is affected"
    ]
    ticks = episode.stamps["tick"]
    assert (np.diff(ticks) % 20_000_000 == 0).all() and (np.diff(ticks) > 0).all()
    assert ticks[-1] - ticks[0] < 1_800 * 10**9
