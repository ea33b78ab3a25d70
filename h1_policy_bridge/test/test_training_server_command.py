# SPDX-License-Identifier: Apache-2.0
"""Training and serving by the user's own commands, which here are small programs on openpi's wire; LeRobot where it is.

`LEROBOT_PYTHON=/path/to/python` of an environment with LeRobot's training, websockets and msgpack runs the last test as
well; `LEROBOT_PYTHONPATH` names folders with what that environment lacks.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from training_server_builders import episode, observation, serving

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.training_server.command import CommandSettings, CommandTrainer, ServedPolicy, arguments
from h1_policy_bridge.training_server.policy import Dataset, TrainingError
from h1_training_node.parameter import ParameterError, from_values
from h1_training_testing import wait_until

EXPORT = """
import pathlib, sys
target = pathlib.Path(sys.argv[-1]); target.mkdir(parents=True, exist_ok=True)
(target / "episodes.txt").write_text("\\n".join(sys.argv[1:-1]))
"""
TRAIN = """
import pathlib, sys
dataset, out = map(pathlib.Path, sys.argv[1:])
episodes = (dataset / "episodes.txt").read_text().split()
for step in range(1, 4): print(f"step {step}/3 loss 0.1", flush=True)
if len(episodes) == 3: sys.exit("RuntimeError: the loss is nan")
(out / "value").write_text(str(0.01 * len(episodes)))
"""
SERVE = """
import pathlib, sys
import numpy as np, websockets.sync.server
from openpi_client import msgpack_numpy
value = float((pathlib.Path(sys.argv[1]) / "value").read_text())
def serve(connection):
    connection.send(msgpack_numpy.packb({"server": "mine", "rtc": True}))
    for message in connection:
        state = msgpack_numpy.unpackb(message)["state"]
        if not np.isfinite(state).all(): connection.send("Traceback\\nValueError: state"); return
        connection.send(msgpack_numpy.packb({"actions": np.full((50, 14), value, np.float32)}))
websockets.sync.server.serve(serve, "127.0.0.1", int(sys.argv[2]), compression=None, max_size=None).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The commands, written down as a user would."""
    for name, text in (("export", EXPORT), ("train", TRAIN), ("serve", SERVE)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    path = tmp_path / "training.yaml"
    chosen = {
        "export": f"{sys.executable} {tmp_path}/export.py {{episodes}} {{dataset}}",
        "train": f"{sys.executable} {tmp_path}/train.py {{dataset}} {{out}}",
        "serve": f"{sys.executable} {tmp_path}/serve.py {{checkpoint}} {{port}}",
        "progress": r"step (\d+)/(\d+)",
        "health_s": 30.0,
    }
    path.write_text(yaml.safe_dump(chosen))
    return path


def test_the_users_own_commands_export_train_and_serve_and_a_failure_keeps_the_old_ones(settings: Path) -> None:
    folder = settings.parent / "uploads"
    quick = ("--calm-s", "0.3", "--retry-s", "0.5")
    with serving("--trainer", "command", "--settings", str(settings), "--watch-dir", str(folder), *quick) as served:
        untrained = WebsocketClientPolicy("127.0.0.1", served.port)
        assert untrained.get_server_metadata() == {"checkpoint": "untrained", "epoch": 0}, "of any size"
        for dim in (14, 26):
            state = np.linspace(0.1, 0.2, dim, dtype=np.float32)
            np.testing.assert_array_equal(untrained.infer(observation(state=state))["actions"], [state] * 50)
        episode(folder, 0)
        episode(folder, 1)
        first = served.until("weights", epoch=1)
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.02)
        metadata = client.get_server_metadata()
        assert metadata == {"server": "mine", "rtc": True, "checkpoint": first["checkpoint"], "epoch": 1}, "its own"
        episode(folder, 2)
        status = served.until("the reason", reason=lambda text: "the loss is nan" in text)
        assert (status["epoch"], status["checkpoint"]) == (1, first["checkpoint"])
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.02)
        episode(folder, 3)
        served.until("weights again", epoch=2)
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.04)
        bad = observation(state=np.full(14, np.nan, np.float32))
        with pytest.raises(RuntimeError, match="ValueError: state"):
            client.infer(bad)
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.04)


def test_without_an_export_a_training_finds_the_episodes_that_it_is_given_and_no_other(tmp_path: Path) -> None:
    given = [episode(tmp_path / "uploads", 0), episode(tmp_path / "uploads", 0, epoch=1)]
    episode(tmp_path / "uploads", 1)  # held out, or refused
    program = "import pathlib, sys; print(sorted(str(p.relative_to(sys.argv[1])) + ' ' + str(p.resolve())"
    (tmp_path / "train.py").write_text(program + " for p in pathlib.Path(sys.argv[1]).rglob('*.hdf5')))")
    settings = CommandSettings(train=f"{sys.executable} {tmp_path}/train.py {{dataset}}", serve="s")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "out").mkdir()
    for episodes in (given, given[:1]):
        dataset = Dataset(episodes, tmp_path / "dataset")
        CommandTrainer(settings).train(dataset, None, tmp_path / "out", lambda *_: None)
    found = (tmp_path / "dataset/training_command.log").read_text().splitlines()[1::2]
    named = [[f"{path.parent.name}/{path.name} {path}" for path in given], [f"{given[0].name} {given[0]}"]]
    assert found == [str(names) for names in named]


def test_progress_that_is_no_number_ends_no_training(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('step one/3'); print('step 2/3')")
    command = f"{sys.executable} {tmp_path}/train.py"
    settings = CommandSettings(train=command, serve="s", progress=r"step (\S+)/(\d+)")
    reports: list[float] = []
    dataset = Dataset([episode(tmp_path / "uploads", 0)], tmp_path)
    CommandTrainer(settings).train(dataset, None, tmp_path, lambda share, _: reports.append(share))
    assert reports[-1] == pytest.approx(2 / 3)


ECHO = """
import sys, time
import numpy as np, websockets.sync.server
from openpi_client import msgpack_numpy
def serve(connection):
    connection.send(msgpack_numpy.packb({}))
    for message in connection:
        state = msgpack_numpy.unpackb(message)["state"]
        if not np.isfinite(state).all(): connection.send("Traceback\\nValueError: state"); return
        if state[0] == 0.5: time.sleep(3.0)
        connection.send(msgpack_numpy.packb({"actions": np.tile(state, (50, 1))}))
websockets.sync.server.serve(serve, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=None).serve_forever()
"""


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Callable[[float], float]]:
    """What a served policy answers to a state: the same, three seconds later for 0.5, an error for NaN."""
    (tmp_path / "echo.py").write_text(textwrap.dedent(ECHO))
    command = f"{sys.executable} {tmp_path}/echo.py {{port}}"
    policy = ServedPolicy(command, {}, CommandSettings(train="t", serve=command, health_s=30.0, infer_s=1.5))

    def answered(state: float) -> float:
        return float(policy.infer(observation(state=np.full(14, state, np.float32)))["actions"][-1, 0])

    yield answered
    policy.close()


def test_an_answer_that_came_too_late_is_never_taken_for_the_next_ones(echo: Callable[[float], float]) -> None:
    assert echo(0.25) == 0.25
    with pytest.raises(TrainingError, match=r"did not answer within 1\.5 s"):
        echo(0.5)
    time.sleep(3.0)  # by now the late answer is there
    assert [echo(state) for state in (0.125, 0.75)] == [0.125, 0.75]


def test_a_serving_command_that_closes_after_an_error_as_openpis_does_is_asked_again(
    echo: Callable[[float], float],
) -> None:
    with pytest.raises(TrainingError, match="ValueError: state"):
        echo(float("nan"))
    assert echo(0.25) == 0.25


def test_a_serving_command_that_died_is_named_and_started_again(echo: Callable[[float], float], tmp_path: Path) -> None:
    (child,) = (process for process in psutil.Process().children() if f"{tmp_path}/echo.py" in process.cmdline())
    child.kill()
    with pytest.raises(TrainingError, match="the serving command"):
        echo(0.25)
    assert echo(0.25) == 0.25


def test_the_server_ends_at_once_while_a_serving_command_hangs_in_an_inference(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(textwrap.dedent(ECHO).replace("time.sleep(3.0)", "time.sleep(60.0)"))
    serve = f"{sys.executable} {tmp_path}/echo.py {{port}}"
    (tmp_path / "training.yaml").write_text(yaml.safe_dump({"train": "t", "serve": "s", "serve_untrained": serve}))
    with serving("--trainer", "command", "--settings", str(tmp_path / "training.yaml")) as served:
        (child,) = psutil.Process(served.process.pid).children()
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        client._ws.send(msgpack_numpy.pack(observation(state=np.full(14, 0.5, np.float32))))
        wait_until(lambda: child.cpu_times().user > 0 and bool(child.net_connections()), "it is asked")
        time.sleep(0.5)
        served.process.terminate()
        assert served.process.wait(20) == 0
        assert not child.is_running()


def test_a_command_is_split_before_anything_is_filled_in_and_no_shell_sees_it() -> None:
    values = {"dataset": "/data/my runs; rm -rf /", "episodes": ["/a b", "/c"]}
    assert arguments("train --data {dataset} '{dataset}/x y' {episodes} $HOME", values, "train") == [
        "train",
        "--data",
        "/data/my runs; rm -rf /",
        "/data/my runs; rm -rf //x y",
        "/a b",
        "/c",
        "$HOME",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": ""}, "'train' and 'serve' are needed"),
        ({"train": "train {dataste}"}, "has {dataste}; known are"),
        ({"train": "train 'open"}, "cannot be split"),
        ({"serve": "serve {checkpoint} {ports}"}, "known are {checkpoint} {port}"),
        ({"progress": "step (\\d+"}, "progress"),
        ({"progress": "step (\\d+)"}, "expected two"),
        ({"health_s": 0.0}, "health_s"),
    ],
)
def test_commands_that_cannot_work_are_refused_at_the_start(changes, words) -> None:
    given = {"train": "train {dataset} {out}", "serve": "serve {checkpoint} {port}", **changes}
    with pytest.raises(ParameterError, match=words.replace("{", r"\{").replace("(", r"\(")):
        from_values(CommandSettings, given)


LEROBOT_PYTHON = os.environ.get("LEROBOT_PYTHON", "")
SCRIPT = Path(__file__).parents[1] / "scripts/lerobot_policy_server.py"
SMALL_ACT = """--policy.type=act --policy.device=cpu --policy.push_to_hub=false --wandb.enable=false
--policy.pretrained_backbone_weights=null --policy.chunk_size=50 --policy.n_action_steps=50
--policy.dim_model=64 --policy.n_heads=4 --policy.dim_feedforward=128
--policy.n_encoder_layers=1 --policy.n_vae_encoder_layers=1 --batch_size=2 --steps=6 --save_freq=6
--log_freq=1 --num_workers=0"""


@pytest.mark.skipif(not LEROBOT_PYTHON, reason="LEROBOT_PYTHON names no Python with LeRobot")
@pytest.mark.timeout(600)
def test_lerobot_itself_trains_an_act_on_uploaded_episodes_and_serves_it(tmp_path: Path) -> None:
    # The workspace's own paths are of another Python.
    bare = f"env -u LD_LIBRARY_PATH HF_HUB_OFFLINE=1 PYTHONPATH={os.environ.get('LEROBOT_PYTHONPATH', '')}"
    episodes = f"{sys.executable} -m h1_recorder"
    chosen = {
        "export": f"{episodes} export lerobot --labels lookahead --lookahead 2 {{episodes}} {{dataset}}",
        "train": f"{bare} {Path(LEROBOT_PYTHON).parent}/lerobot-train --dataset.repo_id=h1/session "
        f"--dataset.root={{dataset}} --output_dir={{out}}/run {SMALL_ACT}",
        "serve": f"{bare} {LEROBOT_PYTHON} {SCRIPT} "
        "{checkpoint}/run/checkpoints/last/pretrained_model --port {port} --epoch 1",
        "progress": r"(\d+)/(\d+) \[",
        "health_s": 200.0,
    }
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(chosen))
    arguments = ("--settings", str(tmp_path / "training.yaml"), "--watch-dir", str(tmp_path / "uploads"))
    with serving("--trainer", "command", *arguments, "--calm-s", "1", "--retry-s", "600") as served:
        recorded = {"gains": json.dumps({"kp": [100.0] * 14, "kd": [2.0] * 14})}
        for number in range(2):
            episode(tmp_path / "uploads", number, timestamp="2026-11-27T09:00:00+00:00", **recorded)
        over = {"phase": "SERVING", "reason": lambda text: text or served.status()["epoch"] == 1}
        status = served.until("weights, or why there are none", 500.0, curve=bool, **over)
        assert status["epoch"] == 1, status
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        assert client.get_server_metadata()["checkpoint"] == served.status()["checkpoint"]
        actions = client.infer(observation())["actions"]
        assert (actions.shape, actions.dtype) == ((50, 14), np.float32)
        assert np.isfinite(actions).all() and np.ptp(actions) > 0
