# SPDX-License-Identifier: Apache-2.0
"""The training server's wire, through PyPI's openpi-client and plain HTTP."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests
import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from training_server_builders import MODULE, Served, observation, serving

from h1_policy_bridge.training_server.main import parse
from h1_policy_bridge.training_server.scripted import (
    LARGEST_ANGLE_RAD,
    LARGEST_SPEED_RAD_S,
    ScriptedPolicy,
    ScriptedSettings,
)


@pytest.fixture(scope="module")
def scripted() -> Iterator[Served]:
    with serving("--trainer", "scripted", "--first-epoch", "3") as served:
        yield served


def test_openpis_own_client_gets_metadata_and_chunks(scripted: Served) -> None:
    client = WebsocketClientPolicy("127.0.0.1", scripted.port)
    assert client.get_server_metadata() == {
        "action_dim": 14,
        "action_horizon": 50,
        "checkpoint": "untrained",
        "epoch": 3,
    }
    first, second = client.infer(observation()), client.infer(observation(aloha=True))
    assert first["actions"].shape == (50, 14)
    assert first["actions"].dtype == np.float32
    assert first["policy_timing"]["infer_ms"] > 0
    assert "prev_total_ms" not in first["server_timing"]
    assert second["server_timing"]["prev_total_ms"] > 0


def test_openpis_own_broker_plays_a_chunk_step_by_step(scripted: Served) -> None:
    broker = ActionChunkBroker(WebsocketClientPolicy("127.0.0.1", scripted.port), action_horizon=25)
    steps = [broker.infer(observation())["actions"] for _ in range(26)]
    assert {step.shape for step in steps} == {(14,)}


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
def test_what_a_real_policy_stumbles_over_is_a_traceback_and_then_1011(scripted: Served, bad, words) -> None:
    with websockets.sync.client.connect(f"ws://127.0.0.1:{scripted.port}", max_size=None) as connection:
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


def test_training_status_and_healthz_are_plain_text_at_exactly_their_paths(scripted: Served) -> None:
    base = f"http://127.0.0.1:{scripted.port}"
    status = requests.get(f"{base}/training_status", timeout=5)
    health = requests.get(f"{base}/healthz", timeout=5)
    others = [requests.get(base + path, timeout=5).status_code for path in ("/training_status?x=1", "/health", "/")]
    assert status.status_code == 200
    expected = {"ready": True, "epoch": 3, "phase": "SERVING", "reason": "", "checkpoint": "untrained", "curve": []}
    assert status.json() == expected
    assert status.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (health.status_code, health.text) == (200, "OK\n")
    assert others == [426, 426, 426]


def test_delays_are_as_asked_for_and_block_no_status() -> None:
    with serving("--trainer", "scripted", "--first-inference-ms", "700", "--inference-ms", "30") as served:
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        first, second = (client.infer(observation())["server_timing"]["infer_ms"] for _ in range(2))
        assert first >= 700
        assert 30 <= second < 700


def test_with_hands_there_are_26_values_and_hands_stay_between_closed_and_open() -> None:
    policy = ScriptedPolicy(ScriptedSettings(action_dim=26))
    actions = policy.infer(observation(26))["actions"]
    assert actions.shape == (50, 26)
    assert 0.0 <= actions[:, 14:].min() <= actions[:, 14:].max() <= 1.0


def test_a_key_that_is_asked_for_is_needed_everywhere_but_for_the_health(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hunter2\n")
    key.chmod(0o600)
    with serving("--trainer", "scripted", "--api-key-file", str(key)) as served:
        base = f"http://127.0.0.1:{served.port}"
        assert requests.get(f"{base}/training_status", timeout=5).status_code == 401
        wrong = {"Authorization": "Api-Key hunter3"}
        assert requests.get(f"{base}/training_status", headers=wrong, timeout=5).status_code == 401
        assert requests.get(f"{base}/healthz", timeout=5).text == "OK\n"
        assert served.status(headers={"Authorization": "Api-Key hunter2"})["ready"] is True
        with pytest.raises(websockets.exceptions.InvalidStatus):
            websockets.sync.client.connect(f"ws://127.0.0.1:{served.port}")
        client = WebsocketClientPolicy("127.0.0.1", served.port, api_key="hunter2")
        assert client.infer(observation())["actions"].shape == (50, 14)
        assert "hunter2" not in served.said


def test_with_a_certificate_it_uses_tls_alone() -> None:
    certificate = Path(__file__).parent / "policy_tls.pem"
    with serving("--trainer", "scripted", "--cert-file", str(certificate)) as served:
        url = f"https://localhost:{served.port}/healthz"
        assert requests.get(url, timeout=5, verify=str(certificate)).text == "OK\n"
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{served.port}/healthz", timeout=5)


def motion(policy: ScriptedPolicy, clock: list[float], seconds: float = 10.0) -> np.ndarray:
    """(T, 14): the first 25 steps of each chunk, played from home."""
    q, parts = np.zeros(14), []
    for clock[0] in np.arange(0.0, seconds, 0.5):
        actions = policy.infer(observation(state=q.astype(np.float32)))["actions"]
        parts.append(actions[:25])
        q = actions[24]
    return np.concatenate(parts).astype(float)


@pytest.mark.parametrize("seed", range(3))
def test_the_scripted_motion_is_visible_modest_and_smooth(seed: int) -> None:
    clock = [0.0]
    played = motion(ScriptedPolicy(ScriptedSettings(seed=seed), clock=lambda: clock[0]), clock)
    speed = np.abs(np.diff(played, axis=0, prepend=np.zeros((1, 14)))) / 0.02
    assert np.abs(played).max() <= LARGEST_ANGLE_RAD + 1e-6
    assert speed.max() <= LARGEST_SPEED_RAD_S + 1e-3
    assert np.abs(played).max() > 0.15


def test_a_scripted_chunk_goes_on_where_the_one_before_leads_and_another_episode_reaches_elsewhere() -> None:
    clock = [5.0]
    policy = ScriptedPolicy(ScriptedSettings(), clock=lambda: clock[0])
    first = policy.infer(observation())["actions"]
    clock[0] += 10 * 0.02
    second = policy.infer(observation(state=first[9]))["actions"]
    np.testing.assert_allclose(second[:40], first[10:], atol=1e-5)
    clock[0] += 8.0
    other = policy.infer(observation())["actions"]
    assert np.abs(first[-1] - other[-1]).max() > 0.05


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jitter", "2"],
        ["--first-inference-ms", "-1"],
        ["--port", "99999"],
        ["--unknown"],
        ["--rollback", "0001-abcdef01"],
    ],
)
def test_a_command_line_that_cannot_work_is_refused(arguments, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trainer", "smal"], "no trainer 'smal'; there are small, command, scripted"),
        (["--trainer", "scripted", "--set", "horizont=3"], "unknown parameter 'horizont'; did you mean 'horizon'?"),
        (["--trainer", "scripted", "--set", "action_dim=7"], "action_dim"),
        (["--trainer", "scripted", "--set", "action_dim=["], "--set action_dim=[: "),
        (["--trainer", "command"], "parameters 'train' and 'serve' are needed"),
        (["--trainer", "small", "--settings", "/nowhere.yaml"], "--settings /nowhere.yaml"),
        (["--trainer", "scripted", "--api-key-file", "/nowhere"], "api_key_file"),
    ],
)
def test_settings_that_cannot_be_used_are_named_in_one_line(arguments, words) -> None:
    command = [sys.executable, "-m", MODULE, "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_as_a_sessions_peer_it_outlives_ctrl_c_ends_on_sigterm_and_ignores_ros_arguments() -> None:
    import os

    arguments = ["--ros-args", "-r", "__node:=sim_policy_server", "--unknown"]
    served = Served("--trainer", "scripted", *arguments, H1_SESSION_PARENT_PID=str(os.getpid()))
    try:
        served.process.send_signal(signal.SIGINT)
        assert requests.get(f"http://127.0.0.1:{served.port}/healthz", timeout=5).text == "OK\n"
        served.process.terminate()
        assert served.process.wait(15) == 0
    finally:
        served.process.kill()
        served.process.communicate()


def test_by_itself_it_ends_on_ctrl_c() -> None:
    served = Served("--trainer", "scripted")
    try:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(15) == 0
    finally:
        served.process.kill()
        served.process.communicate()


def test_clients_that_hang_do_not_keep_it_from_ending() -> None:
    upgrade = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade += "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with serving("--trainer", "scripted") as served, ExitStack() as stack:
        for _ in range(3):  # connected, and then not heard of again
            client = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            client.sendall(upgrade.encode())
            assert client.recv(100).startswith(b"HTTP/1.1 101 ")
        served.process.terminate()
        assert served.process.wait(6) == 0


def test_checkpoints_that_cannot_be_used_are_named_and_not_the_port(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    command = [sys.executable, "-m", MODULE, "--trainer", "scripted", "--port", "0", "--checkpoints", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == f"[ERROR] {tmp_path}/.lock: Is a directory\n"


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", MODULE, "--trainer", "scripted", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
