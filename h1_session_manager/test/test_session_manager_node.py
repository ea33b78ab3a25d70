# SPDX-License-Identifier: Apache-2.0
"""The session manager on a real graph, with stubs for the others and a real HTTP server and rsync."""

import io
import json

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from session_graph import StubGraph, make
from std_msgs.msg import String
from std_srvs.srv import Trigger
from test_session_poller import replying, serving

from h1_session_manager.operator_output import Terminal
from h1_session_manager.session_manager_node import SessionManagerNode
from h1_session_manager.upload.ledger import Ledger
from h1_training_msgs.msg import ArmStatus, PolicyStatus, Preflight, RecorderStatus, SyncProgress, TrainingStatus
from h1_training_node import qos
from h1_training_node.message_numbers import Connection, RecorderState, SyncState
from h1_training_node.parameter import ParameterError
from h1_training_testing import Graph


class Scene:
    def __init__(self, graph: Graph, tmp_path, **parameters) -> None:
        self.graph = graph
        self.screen = io.StringIO()
        self.stub = graph.add(StubGraph())
        settings = {
            "save_dir": str(tmp_path / "data"),
            "motion_countdown_s": 0.5,
            "key_guard_s": 0.1,
            "poll_interval_s": 0.1,
            "bell": False,
            "rsync_validate": False,
            **parameters,
        }
        terminal = Terminal(self.screen)

        class Node(SessionManagerNode):
            def __init__(self) -> None:
                super().__init__(terminal)

        self.node = graph.add(make(Node, **settings))
        graph.spin_until(lambda: "y" in self.stub.keys, "the question after the start")
        graph.spin_until(lambda: self.node.count_publishers("keyboard"), "the keyboard")

    def press_to(self, key: str, state: str) -> None:
        self.graph.spin_until(lambda: key in self.stub.keys, f"'{key}' among the keys")
        self.stub.press(key)
        self.to(state)

    def to(self, state: str) -> None:
        self.graph.spin_until(lambda: self.stub.state == state, f"{state} instead of {self.stub.state}")

    def call(self, trigger: str) -> Trigger.Response:
        client = self.stub.create_client(Trigger, f"session_manager/{trigger}")
        self.graph.spin_until(client.service_is_ready, f"the service {trigger}")
        future = client.call_async(Trigger.Request())
        self.graph.spin_until(future.done, f"the answer of {trigger}")
        return future.result()


@pytest.fixture
def server():
    with serving(replying(b'{"ready": true, "epoch": 1}')) as url:
        yield int(url.split(":")[2].split("/")[0])


def test_the_values_are_the_messages_numbers():
    pairs = (
        (RecorderState, RecorderStatus, ""),
        (Connection, PolicyStatus, ""),
        (SyncState, SyncProgress, ""),
    )
    for enumeration, message, prefix in pairs:
        for member in enumeration:
            assert getattr(message, prefix + member.name) == member


def latched(graph: Graph, stub: StubGraph, kind: type, topic: str, what: str) -> list:
    """What somebody gets who joins now."""
    found: list = []
    stub.create_subscription(kind, topic, found.append, qos.LATCHED)
    graph.spin_until(lambda: found, what)
    return found


def test_whoever_joins_gets_the_checks_with_what_to_do(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1, min_free_gb=2000.0)
    found = latched(graph, scene.stub, Preflight, "session/preflight", "the checks")
    graph.spin_until(lambda: Preflight.ERROR in found[-1].levels, "a check that fails")
    checks = found[-1]
    listed = {
        item: (level, text) for item, level, text in zip(checks.items, checks.levels, checks.details, strict=True)
    }
    assert not checks.ready
    assert listed["disk"][0] == Preflight.ERROR
    assert "2000 GB needed; free some space" in listed["disk"][1]
    assert listed["clock"] == (Preflight.OK, "")


def test_the_state_says_of_each_key_what_it_does_and_which_service_does_the_same(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1)
    state = scene.stub.states[-1]
    assert list(state.keys) == ["y", "q"]
    assert list(state.key_labels) == ["take the arms and move to home position", "emergency stop"]
    assert list(state.key_services) == ["start", "emergency_stop"]
    assert list(state.key_moves) == [True, False]


def test_whoever_joins_gets_what_the_server_says_of_its_training(graph, tmp_path):
    said = b'{"ready": false, "epoch": 2, "phase": "TRAINING", "progress": 0.5, "reason": "", "checkpoint": "c2"}'
    with serving(replying(said)) as url:
        scene = Scene(graph, tmp_path, policy_port=int(url.split(":")[2].split("/")[0]))
        scene.press_to("y", "WAITING")
        found = latched(graph, scene.stub, TrainingStatus, "session/training", "the training's status")
    status = found[-1]
    assert (status.ready, status.epoch, status.phase, status.progress) == (False, 2, "TRAINING", 0.5)
    assert status.checkpoint == "c2"


def test_a_whole_session_from_the_question_to_its_end(graph, tmp_path, server):
    scene = Scene(graph, tmp_path, policy_port=server, rsync_target=str(tmp_path / "target"))
    folder = tmp_path / "data" / "training_session_epoch1"
    folder.mkdir(parents=True)
    (folder / "episode_0.hdf5").write_bytes(b"an episode")
    progress: list[SyncProgress] = []
    scene.stub.create_subscription(SyncProgress, "session/sync_progress", progress.append, 50)
    scene.press_to("y", "READY")
    scene.press_to("y", "EXECUTING")
    graph.spin_until(lambda: scene.stub.mode == ArmStatus.MODE_POLICY, "POLICY")
    scene.press_to("s", "DAMPING")
    graph.spin_until(lambda: scene.stub.mode == ArmStatus.MODE_DAMPING, "compliant arms")
    scene.press_to("r", "EXECUTING")
    graph.spin_until(lambda: scene.stub.mode == ArmStatus.MODE_POLICY, "POLICY again")
    scene.press_to("s", "DAMPING")
    scene.press_to("e", "DECIDING")
    scene.press_to("n", "WAITING")
    assert (tmp_path / "target" / "training_session_epoch1" / "episode_0.hdf5").read_bytes() == b"an episode"
    graph.spin_until(lambda: progress and progress[-1].state == SyncProgress.DONE, "the upload's end")
    scene.press_to("q", "WAITING")
    graph.spin_until(lambda: scene.node.exit_status is not None, "the end")
    assert scene.node.exit_status == 0
    assert scene.stub.mode == ArmStatus.MODE_RELEASED
    said = scene.screen.getvalue()
    assert "  Saved: /data/episode.hdf5\n  Total timesteps: 30\n  Policy frames: 10, Human frames: 20\n" in said
    assert "  Upload verified: 1 file" in said
    memory = json.loads((tmp_path / "data" / ".session_state.json").read_text())
    assert memory["finished"] == {"1": "synced"}
    assert memory["owed"] == []


def test_the_heartbeat_advances_and_late_comers_see_the_state_at_once(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1)
    seqs = [state.seq for state in scene.stub.states]
    graph.spin_until(lambda: len(scene.stub.states) > len(seqs) + 5, "the heartbeat")
    seqs = [state.seq for state in scene.stub.states]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert scene.stub.states[-1].prompt.startswith("Press 'y' to take the arms")


def test_services_do_what_keys_do_and_refuse_with_what_is_possible(graph, tmp_path, server):
    scene = Scene(graph, tmp_path, policy_port=server)
    refused = scene.call("stop")
    assert not refused.success
    assert refused.message == "'stop' is not possible; state STARTING; possible: start, emergency_stop"
    assert scene.call("start").success
    scene.to("READY")
    graph.spin_until(lambda: "y" in scene.stub.keys, "the preflight")
    assert scene.call("start").success
    scene.to("EXECUTING")
    assert scene.call("stop").success
    scene.to("DAMPING")


def test_an_emergency_stop_on_the_topic_ends_in_stopped_and_y_releases(graph, tmp_path, server):
    scene = Scene(graph, tmp_path, policy_port=server)
    scene.press_to("y", "READY")
    scene.press_to("y", "EXECUTING")
    scene.stub.stop_topic.publish(String(data="phone: a cup fell"))
    scene.to("STOPPED")
    assert "a cup fell" in scene.stub.states[-1].reason
    assert scene.stub.called("arm_driver/emergency_stop")
    graph.spin_until(lambda: scene.stub.called("recorder/finish"), "the end of the episode")
    assert scene.stub.called("recorder/finish")[0].end_reason == "emergency_stop"
    scene.press_to("y", "STOPPED")
    graph.spin_until(lambda: scene.node.exit_status == 0, "the end")
    assert any(stop.startswith("session_manager:") for stop in scene.stub.stops)


def test_a_signal_saves_releases_and_ends_with_130(graph, tmp_path, server):
    scene = Scene(graph, tmp_path, policy_port=server)
    scene.press_to("y", "READY")
    scene.press_to("y", "EXECUTING")
    graph.spin_until(lambda: scene.stub.mode == ArmStatus.MODE_POLICY, "POLICY")
    scene.node.request_stop("interrupted by Ctrl+C")
    graph.spin_until(lambda: scene.node.exit_status is not None, "the end")
    assert scene.node.exit_status == 130
    assert [name for name, _ in scene.stub.asked][-3:] == [
        "arm_driver/emergency_stop",
        "recorder/finish",
        "arm_driver/release",
    ]
    assert scene.stub.called("recorder/finish")[0].end_reason == "interrupted by Ctrl+C"
    assert "  Saved: /data/episode.hdf5" in scene.screen.getvalue()


def test_a_message_that_makes_no_sense_ends_nothing(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1)
    publisher = scene.stub.create_publisher(ArmStatus, "arm_status", 10)
    graph.spin_until(publisher.get_subscription_count, "the session manager")
    publisher.publish(ArmStatus(mode=77))
    scene.press_to("y", "WAITING")


def test_an_unreachable_policy_server_is_said_once(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1)
    scene.press_to("y", "WAITING")
    graph.spin_until(lambda: "Failed to poll training status:" in scene.screen.getvalue(), "the line")
    seen = len(scene.stub.states)
    graph.spin_until(lambda: len(scene.stub.states) > seen + 5, "several polls")
    assert scene.screen.getvalue().count("Failed to poll training status:") == 1
    assert "Connection refused" in scene.stub.states[-1].reason


def test_diagnostics_name_every_node_and_stream(graph, tmp_path):
    scene = Scene(graph, tmp_path, policy_port=1, robot_name="alice")
    heard: list[DiagnosticArray] = []
    scene.stub.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 50)
    names = {"alice: node: arm_driver", "alice: node: recorder", "alice: node: policy_bridge", "alice: stream: ego_cam"}
    graph.spin_until(lambda: heard and names <= {status.name for status in heard[-1].status}, "diagnostics")


def test_a_folder_of_another_robot_is_refused_at_the_start(graph, tmp_path):
    (tmp_path / ".session_state.json").write_text(
        json.dumps({"format": 1, "robot": "bob, arms", "finished": {}, "owed": []})
    )
    with pytest.raises(ParameterError, match="recorded under 'bob, arms'"):
        make(SessionManagerNode, save_dir=str(tmp_path), robot_name="alice")


def test_an_episode_that_was_labelled_elsewhere_after_its_upload_is_owed_at_the_next_ready(graph, tmp_path, server):
    target = tmp_path / "target"
    episode = tmp_path / "data/training_session_epoch0/episode_0.hdf5"
    episode.parent.mkdir(parents=True)
    episode.write_bytes(b"an episode")
    ledger = Ledger.load(tmp_path / "data", str(target))
    ledger.add(ledger.unverified(), 0.0)
    scene = Scene(graph, tmp_path, policy_port=server, rsync_target=str(target))
    assert not ledger.unverified()
    episode.write_bytes(b"an episode, relabelled")
    scene.press_to("y", "READY")
    memory = tmp_path / "data/.session_state.json"
    graph.spin_until(lambda: memory.exists() and json.loads(memory.read_text())["owed"] == [0], "what is owed")
