# SPDX-License-Identifier: Apache-2.0
"""What the launch file says of the network, under the real launch: where that is installed."""

from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="needs upstream launch")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument

from h1_training_bringup.session import launch_description as description


def test_the_launch_file_shows_the_line_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    for name in ("_take_signals", "_keep_the_terminal_for_the_operator"):
        monkeypatch.setattr(description, name, lambda *_: None)
    monkeypatch.setattr(description.graph, "processes", lambda *_: ())
    context = LaunchContext()
    for entity in description.description_of("session").entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    context.launch_configurations["save_dir"] = str(tmp_path)
    assert description._actions(context, "session")
    assert "! 'robot.network_interface' (eno1) has no effect" in capsys.readouterr().out
