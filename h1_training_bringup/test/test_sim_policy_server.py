"""The simulated policy server, through PyPI's openpi-client and plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from h1_training_bringup.sim.policy_server import make_server, parse
from h1_training_bringup.sim.policy_server_policy import LARGEST_ANGLE_RAD, LARGEST_SPEED_RAD_S, SimulatedPolicy
from h1_training_bringup.sim.policy_server_training import Training
from h1_training_testing import wait_until

COMMAND = (sys.executable, "-m", "h1_training_bringup.sim.policy_server")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def serving(*arguments: str):
    """A server in a thread; gives its port."""
    port = free_port()
    options = parse(["--port", str(port), "--inference-ms", "1", *arguments])
    stop = SimpleNamespace(received=None)
    thread = threading.Thread(target=lambda: asyncio.run(make_server(options).serve(options.host, port, stop)))
    thread.start()
    try:
        wait_until(lambda: is_open(port), "the server listens")
        yield port
    finally:
        stop.received = signal.SIGTERM
        thread.join()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def observation(dim: int = 14, *, aloha: bool = False, **changes: object) -> dict:
    image = np.zeros((3, 224, 224) if aloha else (224, 224, 3), np.uint8)
    names = ("cam_high" if aloha else "cam_head", "cam_left_wrist", "cam_right_wrist")
    full = {"state": np.zeros(dim, np.float32), "images": dict.fromkeys(names, image), "prompt": "reach"}
    return {**full, **changes}


def test_openpis_own_client_gets_metadata_and_chunks():
    with serving() as port:
        client = WebsocketClientPolicy("127.0.0.1", port)
        assert client.get_server_metadata() == {"action_dim": 14, "action_horizon": 50}
        first, second = client.infer(observation()), client.infer(observation(aloha=True))
    assert first["actions"].shape == (50, 14)
    assert first["actions"].dtype == np.float32
    assert first["policy_timing"]["infer_ms"] > 0
    assert "prev_total_ms" not in first["server_timing"]
    assert second["server_timing"]["prev_total_ms"] > 0


def test_openpis_own_broker_plays_a_chunk_step_by_step():
    with serving() as port:
        broker = ActionChunkBroker(WebsocketClientPolicy("127.0.0.1", port), action_horizon=25)
        steps = [broker.infer(observation())["actions"] for _ in range(26)]
    assert {step.shape for step in steps} == {(14,)}


def test_the_first_inference_alone_may_take_long():
    with serving("--first-inference-ms", "300") as port:
        client = WebsocketClientPolicy("127.0.0.1", port)
        first, second = (client.infer(observation())["server_timing"]["infer_ms"] for _ in range(2))
    assert first >= 300
    assert second != first


def test_with_hands_there_are_26_values_and_hands_stay_between_closed_and_open():
    with serving("--action-dim", "26") as port:
        client = WebsocketClientPolicy("127.0.0.1", port)
        actions = client.infer(observation(26))["actions"]
    assert actions.shape == (50, 26)
    assert 0.0 <= actions[:, 14:].min() <= actions[:, 14:].max() <= 1.0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"state": np.zeros(26, np.float32)}, "expected (14,)"),
        ({"state": np.full(14, np.nan, np.float32)}, "finite"),
        ({"images": {"cam_nose": np.zeros((224, 224, 3), np.uint8)}}, "expected cam_head"),
        ({"images": {"cam_head": np.zeros((480, 640, 3), np.uint8)}}, "expected uint8 224 x 224"),
        ({"prompt": 3}, "prompt is no text"),
    ],
)
def test_what_a_real_policy_stumbles_over_is_a_traceback_and_then_1011(bad, words):
    with serving() as port, websockets.sync.client.connect(f"ws://127.0.0.1:{port}", max_size=None) as connection:
        connection.recv()
        connection.send(msgpack_numpy.packb(observation(**bad)))
        text = connection.recv()
        assert isinstance(text, str)
        assert text.startswith("Traceback (most recent call last)")
        assert words in text
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            connection.recv()
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason == "Internal server error. Traceback included in previous frame."


def test_training_status_and_healthz_are_plain_text_at_exactly_their_paths():
    with serving("--first-epoch", "3") as port:
        base = f"http://127.0.0.1:{port}"
        status = requests.get(f"{base}/training_status", timeout=5)
        health = requests.get(f"{base}/healthz", timeout=5)
        others = [requests.get(base + path, timeout=5).status_code for path in ("/training_status?x=1", "/health", "/")]
    assert (status.status_code, status.text) == (200, '{"ready": true, "epoch": 3}\n')
    assert status.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (health.status_code, health.text) == (200, "OK\n")
    assert others == [426, 426, 426]


def test_new_episodes_at_the_upload_target_are_trained_on_and_raise_the_epoch(tmp_path):
    folder = tmp_path / "training_session_epoch0"
    folder.mkdir()
    (folder / "episode_1.hdf5").write_bytes(b"past")
    with serving("--watch-dir", str(tmp_path), "--training-s", "0.2") as port:

        def status() -> dict:
            return requests.get(f"http://127.0.0.1:{port}/training_status", timeout=5).json()

        assert status() == {"ready": True, "epoch": 0}
        (folder / ".episode_2.hdf5.a7Xk2").write_bytes(b"half")
        (folder / "episode_2.hdf5").write_bytes(b"new")
        wait_until(lambda: not status()["ready"], "the training begins")
        wait_until(lambda: status() == {"ready": True, "epoch": 1}, "the epoch rises")


def looked(training: Training, *times_s: float) -> list[tuple[bool, int]]:
    seen = []
    for now_s in times_s:
        training.look(now_s)
        seen.append((training.ready, training.epoch))
    return seen


def test_data_are_waited_for_until_they_are_calm_and_join_a_training_under_way(tmp_path):
    training = Training(tmp_path, first_epoch=0, training_s=2.0)
    (tmp_path / "episode_1.hdf5").write_bytes(b"1")
    assert looked(training, 10.0, 10.4) == [(True, 0), (True, 0)]
    assert looked(training, 10.6, 12.0) == [(False, 0), (False, 0)]
    (tmp_path / "episode_2.hdf5").write_bytes(b"2")
    assert looked(training, 12.1, 13.0, 14.5, 14.7) == [(True, 0), (False, 0), (False, 0), (True, 1)]
    assert looked(training, 30.0) == [(True, 1)]


def test_rewriting_and_removing_old_episodes_trains_nothing(tmp_path):
    (tmp_path / "episode_1.hdf5").write_bytes(b"1")
    (tmp_path / "episode_2.hdf5").write_bytes(b"2")
    training = Training(tmp_path, first_epoch=5, training_s=0.0)
    (tmp_path / "episode_1.hdf5").write_bytes(b"edited")
    (tmp_path / "episode_2.hdf5").unlink()
    assert looked(training, 1.0, 2.0, 3.0) == [(True, 5)] * 3


def test_a_folder_that_does_not_exist_yet_is_no_error(tmp_path):
    training = Training(tmp_path / "later", first_epoch=0, training_s=0.0)
    assert looked(training, 1.0) == [(True, 0)]


def motion(policy: SimulatedPolicy, seconds: float = 10.0) -> np.ndarray:
    """(T, 14): the first 25 steps of each chunk, played from home."""
    q, parts = np.zeros(14), []
    for start in np.arange(0.0, seconds, 0.5):
        actions = policy.infer(observation(state=q.astype(np.float32)), float(start))["actions"]
        parts.append(actions[:25])
        q = actions[24]
    return np.concatenate(parts).astype(float)


def test_the_motion_is_visible_modest_and_smooth():
    for seed in range(3):
        played = motion(SimulatedPolicy(14, 50, seed))
        speed = np.abs(np.diff(played, axis=0, prepend=np.zeros((1, 14)))) / 0.02
        assert np.abs(played).max() <= LARGEST_ANGLE_RAD + 1e-6
        assert speed.max() <= LARGEST_SPEED_RAD_S + 1e-3
        assert np.abs(played).max() > 0.15


def test_a_chunk_goes_on_where_the_one_before_leads():
    policy = SimulatedPolicy(14, 50, 0)
    first = policy.infer(observation(), 5.0)["actions"]
    second = policy.infer(observation(state=first[9]), 5.0 + 10 * 0.02)["actions"]
    np.testing.assert_allclose(second[:40], first[10:], atol=1e-5)


def test_another_episode_begins_at_home_after_a_pause_and_reaches_elsewhere():
    policy = SimulatedPolicy(14, 50, 0)
    first = policy.infer(observation(), 0.0)["actions"]
    same = policy.infer(observation(), 0.5)["actions"]
    other = policy.infer(observation(), 8.0)["actions"]
    assert np.abs(first[-1] - same[-1]).max() < 0.1
    assert np.abs(first[-1] - other[-1]).max() > 0.05


@pytest.mark.parametrize(
    "arguments",
    [["--jitter", "2"], ["--first-inference-ms", "-1"], ["--horizon", "0"], ["--action-dim", "7"], ["--unknown"]],
)
def test_a_command_line_that_cannot_work_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_the_process_bears_ctrl_c_ends_on_sigterm_and_ignores_ros_arguments():
    port = free_port()
    ros_arguments = ["--ros-args", "-r", "__node:=sim_policy_server", "--unknown"]
    process = subprocess.Popen([*COMMAND, "--port", str(port), *ros_arguments], stdout=subprocess.PIPE)
    try:
        wait_until(lambda: is_open(port), "the server listens")
        process.send_signal(signal.SIGINT)
        assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).text == "OK\n"
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_port_that_is_taken_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
