# SPDX-License-Identifier: Apache-2.0
"""The node on real topics, against the simulated server and against bad ones on real sockets."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from policy_builders import METADATA, reply, server
from policy_scene import Scene

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.connection import ServerAddress
from h1_training_msgs.msg import ArmStatus, Event, PolicyStatus
from h1_training_node.message_numbers import ArmMode, Level
from h1_training_node.stamps import to_ns

REACH = np.linspace(0.0, 0.3, 50)[:, None].repeat(14, 1).astype(np.float32)


def reaching(
    seen: list[dict] | None = None, *, dim: int = 14, after_s: float = 0.0, silent: threading.Event | None = None
):
    """A good server that goes on from the state that it receives."""

    def handler(connection):
        connection.send(msgpack_numpy.pack({"action_dim": dim, "action_horizon": 50, "checkpoint": "epoch_3/step_900"}))
        for message in connection:
            observation = msgpack_numpy.unpack(message)
            if seen is not None:
                seen.append(observation)
            if silent is not None and silent.is_set():
                continue
            threading.Event().wait(after_s)
            actions = observation["state"][None] + np.linspace(0, 0.3, 50, dtype=np.float32)[:, None]
            connection.send(reply(np.minimum(actions, 0.35)))  # within every joint's range

    return handler


@contextlib.contextmanager
def simulated_server(*options: str):
    """The simulation's own policy server, as a process."""
    server = "h1_policy_bridge.training_server.main"
    command = [sys.executable, "-m", server, "--trainer", "scripted", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = re.search(r"listening on ws://127.0.0.1:(\d+)", process.stdout.readline())
            assert port is not None
            yield ServerAddress("127.0.0.1", int(port[1]))
        finally:
            process.terminate()


def test_an_episode_goes_from_hold_to_an_even_stream_of_numbered_actions(graph):
    seen: list[dict] = []
    with server(reaching(seen, after_s=0.05)) as address:
        scene = Scene(graph, address)
        scene.until_ready()
        hold_ns = scene.robot.since_ns
        assert scene.robot.actions == []
        scene.robot.enter("EXECUTING", ArmStatus.MODE_POLICY)
        scene.until(lambda it: len(it.actions) >= 100, "two seconds of actions")
        actions = scene.robot.actions
        status = scene.robot.status
    assert [action.seq for action in actions] == list(range(1, len(actions) + 1))
    assert actions[0].step == 0
    assert all(to_ns(action.observation_stamp) > hold_ns for action in actions)
    assert actions[-1].chunk_id > 2
    assert {len(action.positions) for action in actions} == {14}
    assert np.isfinite([action.positions for action in actions]).all()
    assert {action.execution for action in actions} == {scene.robot.execution}
    assert status.checkpoint == "epoch_3/step_900"
    assert actions[0].inference_ms >= 50
    assert (status.action_dim, status.horizon, status.server) == (14, 50, f"ws://127.0.0.1:{address.port}")
    assert status.latency_ms >= 50
    assert status.server_ms == pytest.approx(1.5)
    assert set(seen[0]["images"]) == {"cam_head", "cam_left_wrist", "cam_right_wrist"}
    assert seen[0]["prompt"] == "stack, Advantage=True"


def test_the_simulated_server_at_120_ms_and_30_percent_jitter_gives_a_smooth_motion(graph):
    with simulated_server("--inference-ms", "120", "--jitter", "0.3") as address:
        scene = Scene(graph, address)
        scene.robot.enters_by_itself = True
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: len(it.actions) >= 200, "the stream runs")
        positions = np.array([action.positions for action in scene.robot.actions])
    assert np.abs(np.diff(positions, axis=0)).max() <= 1.5 * 0.6 * 0.02 + 1e-6
    assert np.abs(positions[-1] - positions[0]).max() > 0.1


def test_a_camera_that_the_recorder_finds_frozen_ends_the_stream(graph):
    with server(reaching()) as address:
        scene = Scene(graph, address)
        scene.until_streaming()
        scene.robot.frozen = "ego_cam"
        scene.until(lambda it: "repeats the same image" in it.status.reason, "the reason is shown")
        scene.until(lambda it: "stream_ended" in it.reasons(), "the stream ends")
        (ended,) = [event.detail for event in scene.robot.events if event.reason == "stream_ended"]
    assert "the policy is silent: ego_cam repeats the same image for 2.0 s" in ended


def test_ready_shows_the_first_inference_and_refuses_a_far_first_action(graph):
    far = threading.Event()

    def handler(connection):
        connection.send(METADATA)
        for message in connection:
            state = msgpack_numpy.unpack(message)["state"]
            connection.send(reply(np.repeat(state[None] + (0.33 if far.is_set() else 0.0), 50, axis=0)))

    far.set()
    with server(handler) as address:
        scene = Scene(graph, address, max_first_action_distance_rad=0.2)
        scene.robot.epoch = 0
        scene.robot.enter("READY", ArmStatus.MODE_HOLD)
        scene.until(lambda it: "differs from the pose by 0.33 rad" in it.status.warm_up_reason, "it is refused")
        assert not scene.robot.status.warm
        far.clear()
        scene.until(lambda it: it.status.warm, "a near first action is accepted")
        status = scene.robot.status
    assert status.first_inference_ms > 0
    assert status.first_action_distance_rad == pytest.approx(0.0)
    assert scene.robot.actions == []


def test_leaving_executing_stops_the_stream_at_once(graph):
    with server(reaching()) as address:
        scene = Scene(graph, address)
        scene.until_streaming()
        scene.robot.enter("DAMPING")
        scene.until(lambda it: "stream_ended" in it.reasons(), "the stream ends")
        ended = len(scene.robot.actions)
        # Statuses go out by the same timer as actions: after two more of them an action would have come.
        statuses = len(scene.robot.statuses)
        scene.until(lambda it: len(it.statuses) >= statuses + 2, "time passes")
        assert len(scene.robot.actions) == ended


def test_ready_with_a_new_epoch_reads_the_metadata_again(graph):
    served = iter([{"action_dim": 14, "step": 900}, {"action_dim": 14, "step": 1800}, {"action_dim": 26}])

    def handler(connection):
        connection.send(msgpack_numpy.pack(next(served)))
        connection.recv()

    with server(handler) as address:
        scene = Scene(graph, address)
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        assert scene.robot.status.epoch == -1
        before = scene.robot.status.metadata_digest
        scene.robot.epoch = 4
        scene.robot.enter("READY")
        scene.until(lambda it: it.status.epoch == 4, "the connection is made again")
        assert scene.robot.status.connection == PolicyStatus.CONNECTED
        assert scene.robot.status.metadata_digest not in ("", before)
        assert scene.robot.status.metadata_change == "step 900 -> 1800"
        scene.until(lambda it: "policy_metadata_changed" in it.reasons(), "other metadata are reported")
        scene.robot.epoch = 5
        scene.robot.enter("READY")
        scene.until(lambda it: it.status.epoch == 5, "the connection is made again")
        assert scene.robot.status.connection == PolicyStatus.REFUSED
        assert "26 values per action" in scene.robot.status.reason
        scene.until(lambda it: "policy_refused" in it.reasons(), "the refusal is reported")


def test_a_silent_server_ends_the_stream_and_a_new_hold_brings_it_back(graph):
    silent = threading.Event()
    with server(reaching(silent=silent)) as address:
        scene = Scene(graph, address, request_timeout_s=0.5, first_request_timeout_s=0.5)
        scene.until_streaming(60)
        silent.set()
        scene.until(lambda it: "policy is silent" in it.status.reason, "the stream ends")
        ended = len(scene.robot.actions)
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: it.status.failures > 0, "the request is given up")
        assert not scene.robot.status.chunk_ready
        assert len(scene.robot.actions) == ended
        silent.clear()
        scene.until(lambda it: it.status.chunk_ready, "a chunk is ready again")
        scene.robot.enter("EXECUTING", ArmStatus.MODE_POLICY)
        scene.until(lambda it: len(it.actions) > ended, "the stream is back")
        first = scene.robot.actions[ended]
        assert (first.step, first.seq) == (0, ended + 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (reply(np.full((50, 14), np.nan, np.float32)), "'actions' is nan at step 0"),
        (reply(np.zeros((50, 26), np.float32)), "'actions' is 50x26; expected steps x 14"),
        (b"\xc1", "not a msgpack message"),
        ("Traceback (most recent call last):\n  File x\nValueError: bad images\n", "ValueError: bad images"),
    ],
)
def test_a_bad_reply_is_counted_shown_and_reported_while_the_arms_just_hold(graph, bad, reason):
    answers = iter([bad])

    def handler(connection):
        connection.send(METADATA)
        for _ in connection:
            connection.send(next(answers, reply(REACH)))

    with server(handler) as address:
        scene = Scene(graph, address)
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: any(reason in status.reason for status in it.statuses), "the reason is shown")
        scene.until(lambda it: it.status.chunk_ready, "a good reply follows")
        assert scene.robot.status.failures == 1
        assert scene.robot.status.reason == ""
        assert scene.robot.actions == []
        reported = [event for event in scene.robot.events if event.reason == "reply_refused"]
        assert len(reported) == 1
        assert reason in reported[0].detail


def test_without_cameras_nothing_is_sent_and_the_camera_is_named(graph):
    seen: list[dict] = []
    with server(reaching(seen)) as address:
        scene = Scene(graph, address)
        scene.robot.cameras_on = False
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: "no image from ego_cam yet" in it.status.reason, "the camera is named")
        assert seen == []
        scene.robot.cameras_on = True
        scene.until(lambda it: it.status.chunk_ready, "a chunk is ready")


def test_hands_are_read_and_commanded_with_a_26_dimensional_policy(graph):
    seen: list[dict] = []
    with server(reaching(seen, dim=26)) as address:
        scene = Scene(graph, address, action_dim=26)
        scene.robot.hands_on = True
        scene.until_streaming()
        scene.until(lambda it: len(it.hand_commands["right"]) >= 10, "hands are commanded")
        action, left = scene.robot.actions[9], scene.robot.hand_commands["left"][9]
        right = scene.robot.hand_commands["right"][9]
    assert seen[0]["state"].shape == (26,)
    assert set(seen[0]["state"][14:]) == {np.float32(0.5)}
    assert len(action.positions) == 26
    np.testing.assert_array_equal(left.angle, np.array(action.positions[14:20], np.float32))
    np.testing.assert_array_equal(right.angle, np.array(action.positions[20:26], np.float32))
    assert 0.0 <= left.angle.min() <= left.angle.max() <= 1.0


def test_the_policys_end_is_reported(graph):
    def handler(connection):
        connection.send(METADATA)
        for number, _ in enumerate(connection):
            connection.send(reply(REACH, done=number >= 1))

    with server(handler) as address:
        scene = Scene(graph, address)
        scene.until_ready()
        assert not scene.robot.status.done
        scene.robot.enter("EXECUTING", ArmStatus.MODE_POLICY)
        scene.until(lambda it: it.status.done, "the policy says that it is done")


def test_nobody_at_the_port_is_shown_and_the_node_stays_alive(graph):
    scene = Scene(graph, ServerAddress("127.0.0.1", 1))
    scene.until(lambda it: "connection refused" in it.status.reason, "the reason is shown")
    scene.until(lambda it: "policy_disconnected" in it.reasons(), "it is reported")
    assert scene.robot.status.connection in (PolicyStatus.DISCONNECTED, PolicyStatus.CONNECTING)


def test_arms_in_a_mode_that_nobody_knows_are_reported_and_not_followed(graph):
    seen: list[dict] = []
    with server(reaching(seen)) as address:
        scene = Scene(graph, address)
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        scene.robot.enter("EXECUTING", 77)
        scene.until(lambda it: "arm_mode_unknown" in it.reasons(), "it is reported")
        assert seen == []
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: it.status.chunk_ready, "a chunk is ready")
        assert scene.robot.reasons().count("arm_mode_unknown") == 1


def test_a_key_that_others_can_read_is_reported_and_the_key_is_in_no_word_of_the_node(graph, tmp_path, capfd):
    key_file = tmp_path / "key"
    key_file.write_text("sesame-4711\n")
    key_file.chmod(0o644)
    seen_keys = []

    def handler(connection):
        seen_keys.append(connection.request.headers.get("Authorization"))
        connection.send(METADATA)
        connection.recv()
        connection.send("Traceback (most recent call last):\n  x\nRuntimeError: no\n")

    with server(handler) as address:
        scene = Scene(graph, address, api_key_file=str(key_file))
        scene.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        scene.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        scene.until(lambda it: "RuntimeError: no" in it.status.reason, "the server fails")
        words = [repr(message) for message in [*scene.robot.events, *scene.robot.statuses]]
    logged = "".join(capfd.readouterr())
    assert seen_keys[0] == "Api-Key sesame-4711"
    assert f"{key_file} can be read by others (mode 644); chmod 600" in logged
    assert "RuntimeError" in logged
    assert "sesame" not in "".join(words) + logged


def test_the_core_has_the_numbers_of_the_messages():
    for mode in ArmMode:
        assert getattr(ArmStatus, f"MODE_{mode.name}") == mode
    for level in Level:
        assert getattr(Event, level.name) == level
    from h1_training_node.message_numbers import Connection

    for connection in Connection:
        assert getattr(PolicyStatus, connection.name) == connection.value
