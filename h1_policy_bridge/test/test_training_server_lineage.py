# SPDX-License-Identifier: Apache-2.0
"""Which episodes made the weights that made this episode: the server's manifests, read by `episodes lineage`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from test_training_server_life import Life
from training_server_builders import episode


def asked(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "h1_recorder", "lineage", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_episode_leads_back_through_its_weights_to_the_first_episodes(tmp_path: Path) -> None:
    life = Life(tmp_path, batch=1).life
    episode(tmp_path, 0, epoch=0, checkpoint="untrained")
    life.step(time.monotonic())
    first = life.status.checkpoint
    episode(tmp_path, 0, epoch=1, checkpoint=first)
    life.step(time.monotonic())
    second = life.status.checkpoint
    newest = episode(tmp_path, 0, epoch=2, checkpoint=second)
    chain = json.loads(asked(newest, "--json").stdout)
    assert [manifest["name"] for manifest in chain] == [second, first]
    assert [source["file"] for source in chain[0]["episodes"]] == [
        "training_session_epoch0/episode_0.hdf5",
        "training_session_epoch1/episode_0.hdf5",
    ]
    assert [source["checkpoint"] for source in chain[0]["episodes"]] == ["untrained", first]
    shown = asked(second, "--checkpoints", tmp_path / "checkpoints").stdout
    assert f"checkpoint {first}" in shown and f"driven by {first}" in shown
    assert asked(tmp_path / "checkpoints" / first).stdout.startswith(f"checkpoint {first}")


def test_what_cannot_be_followed_is_named(tmp_path: Path) -> None:
    silent = episode(tmp_path, 0)
    done = asked(silent)
    assert done.returncode == 1 and "does not say which weights drove it" in done.stdout
    untrained = episode(tmp_path, 1, checkpoint="untrained")
    assert asked(untrained).stdout == "untrained weights: made of no episode\n"
    lost = episode(tmp_path, 2, checkpoint="0007-abcdef01")
    assert "name it with --checkpoints" in asked(lost).stdout
    (tmp_path / "checkpoints").mkdir()
    assert "no checkpoint '0007-abcdef01'" in asked(lost).stdout
