# SPDX-License-Identifier: Apache-2.0
"""What the policy would do, drawn without moving anything: a process of its own beside the running bridge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from policy_builders import METADATA, reply, server
from policy_scene import Scene
from test_policy_bridge_node import reaching

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.preview_figure import draw, table
from h1_training_msgs.msg import ArmStatus


def run(scene: Scene, output: Path, *arguments: str) -> tuple[int, str]:
    """The program's exit status and what it printed, while the scene goes on."""
    command = [sys.executable, "-m", "h1_policy_bridge.policy_preview_node", "--output", str(output), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        scene.graph.spin_until(lambda: process.poll() is not None, "the preview ends", 60.0)
        assert process.stdout is not None
        return process.returncode, process.stdout.read()


def test_the_live_pose_is_asked_for_and_drawn_and_nothing_is_published(graph, tmp_path):
    seen: list[dict] = []
    with server(reaching(seen)) as address:
        scene = Scene(graph, address)
        scene.robot.q = np.linspace(-0.1, 0.1, 14).astype(np.float32)
        scene.robot.enter("READY", ArmStatus.MODE_HOLD)
        scene.until(lambda it: it.status.warm, "the bridge is warm")
        status, text = run(scene, tmp_path / "preview.png", "--timeout", "30")
        assert scene.robot.actions == []
    assert status == 0, text
    np.testing.assert_allclose(seen[-1]["state"], scene.robot.q, atol=1e-6)
    assert seen[-1]["prompt"] == "stack, Advantage=True"
    assert "first action differs from the pose by 0.00 rad" in text
    assert "left_shoulder_pitch_joint      -0.10   -0.10" in text
    image = cv2.imread(str(tmp_path / "preview.png"))
    assert image.shape[0] > 800
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


def test_an_answer_that_is_no_pose_is_the_reason_and_no_file_is_written(graph, tmp_path):
    def handler(connection):
        connection.send(METADATA)
        for _ in connection:
            connection.send(reply(np.full((50, 14), 45.0)))

    with server(handler) as address:
        scene = Scene(graph, address)
        scene.until(lambda it: it.status.connection == 2, "the bridge is connected")
        status, text = run(scene, tmp_path / "preview.png", "--timeout", "30")
    assert status == 1
    assert "no preview: reply refused: 'actions' is no pose of these arms: left_shoulder_pitch_joint is 45 rad" in text
    assert not (tmp_path / "preview.png").exists()


def test_without_a_bridge_it_says_so(tmp_path):
    command = [sys.executable, "-m", "h1_policy_bridge.policy_preview_node", "--timeout", "0.5"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 1
    assert "no policy bridge on this graph" in result.stderr


def test_hands_are_drawn_below_the_arms(tmp_path):
    actions = np.concatenate([np.zeros((50, 14)), np.full((50, 12), 0.5)], axis=1)
    chunk = Chunk(actions, 0, 100.0, 90.0, done=False, state=actions[0])
    for width in (26, 14):
        draw(Chunk(actions[:, :width], 0, 100.0, 90.0, False, actions[0, :width]), tmp_path / f"{width}.png", "title")
    with_hands, without = (cv2.imread(str(tmp_path / f"{width}.png")) for width in (26, 14))
    assert with_hands.shape[0] > without.shape[0]
    assert len(table(chunk).splitlines()) == 16
