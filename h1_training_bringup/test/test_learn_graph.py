# SPDX-License-Identifier: Apache-2.0
"""Learning over the real graph, and at virtual time: the same loop, and curves that agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from h1_training_bringup.sim.learn import Plan, fast
from h1_training_bringup.sim.learning_curve import FIXED, SEALED, load

pytestmark = [pytest.mark.graph, pytest.mark.timeout(1200)]
EPISODES, EVALUATED = 8, 12


def test_a_real_session_trains_a_policy_that_does_as_well_as_one_trained_at_virtual_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "h1_training_bringup.sim.learn", "--out", str(tmp_path), "--epochs", "1"]
    command += ["--first-episodes", str(EPISODES), "--evaluated", str(EVALUATED), "--seed", "3", "--no-changed-scenes"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100, check=False)
    session = tmp_path / "seed3" / "session.txt"
    shown = done.stdout + done.stderr + (session.read_text(errors="replace") if session.exists() else "")
    assert done.returncode in (0, 1), shown  # 1: below the bar, which so few episodes may be
    real = {(row.epoch, row.objects): row for row in load(tmp_path / "curve.json")}
    assert real[0, FIXED].successes == 0, shown
    trained = real[1, FIXED]
    assert (trained.episodes, trained.corrections_per_episode) == (EPISODES, 1.0), shown
    assert trained.human_rows > EPISODES * 100
    virtual = fast(Plan(3, 1, 6, EPISODES, EVALUATED, changes_scenes=False), lambda _: None)[1]
    assert trained.success_low <= virtual.success_high and virtual.success_low <= trained.success_high, shown
    assert trained.success > 0.2 and (1, SEALED) in real
    uploaded = sorted((tmp_path / "seed3" / "uploaded").glob("training_session_epoch0/episode_*.hdf5"))
    lineage = subprocess.run(
        [sys.executable, "-m", "h1_recorder", "lineage", str(uploaded[0])], capture_output=True, text=True, check=False
    )
    assert lineage.stdout == "untrained weights: made of no episode\n", "each episode names the weights that drove it"
