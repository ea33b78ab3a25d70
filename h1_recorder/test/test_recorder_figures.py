# SPDX-License-Identifier: Apache-2.0
"""What the operator sees while it records: rates, ages, losses, rows so far, space on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder_builders import DAMPING, HOLD, MS, POLICY

from h1_recorder.recorder.disk import DiskMonitor
from h1_recorder.recorder.filesystem import free_bytes
from h1_recorder.recorder.intake import PhaseEstimate
from h1_training_testing import wait_until


def test_the_estimate_follows_state_and_mode() -> None:
    estimate = PhaseEstimate(50)
    script = [
        ("EXECUTING", HOLD, ""),
        ("EXECUTING", POLICY, "policy"),
        ("DAMPING", DAMPING, "human"),
        ("SAVING", 4, ""),
    ]
    for number, (state, mode, phase) in enumerate(script):
        estimate.on_state(state)
        for step in range(10):
            estimate.on_arm((number * 10 + step) * 20 * MS, mode, "requested")
        assert estimate.phase == phase
    assert (estimate.frames("policy"), estimate.frames("human")) == (10, 9)


def test_the_disk_is_asked_again_and_again(tmp_path: Path) -> None:
    monitor = DiskMonitor(period_s=0.005)
    monitor.look_at(tmp_path)
    wait_until(lambda: monitor.free, "free bytes")
    assert monitor.free == pytest.approx(free_bytes(tmp_path), rel=0.01)
    monitor.look_at(tmp_path / "gone")
    wait_until(lambda: not monitor.exists, "it is noticed")
    monitor.stop()
