# SPDX-License-Identifier: Apache-2.0
"""Training and serving by the user's own commands, which here are small programs on openpi's wire."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from training_server_builders import episode, observation, serving

from h1_policy_bridge.training_server.command import CommandSettings, arguments
from h1_training_node.parameter import ParameterError, from_values

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
    connection.send(msgpack_numpy.packb({"server": "mine"}))
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
        episode(folder, 0)
        episode(folder, 1)
        first = served.until("weights", epoch=1)
        client = WebsocketClientPolicy("127.0.0.1", served.port)
        np.testing.assert_allclose(client.infer(observation())["actions"], 0.02)
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
