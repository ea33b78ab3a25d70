# SPDX-License-Identifier: Apache-2.0
"""A camera that another package's launch file starts, under the real launch: where that is installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from h1_training_testing import wait_until

pytest.importorskip("launch", reason="needs upstream launch")
pytest.importorskip("launch_ros", reason="needs upstream launch")

CAMERA_NODE = """#!/bin/sh
printf '[WARN] [1.0] [camera]: stand-in\\n' >&2
printf '%s\\n' "$*" >>"$STARTS"
trap 'exit 0' INT TERM
while :; do sleep 0.1; done
"""
CAMERA_LAUNCH = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
NAMES = ["camera_name", "camera_namespace", "config_file", "log_level", "output"]
def setup(context):
    print("known here:", sorted(context.launch_configurations))
    return [Node(
        package="stand_in_camera", executable="camera_node",
        name=LaunchConfiguration("camera_name"), namespace=LaunchConfiguration("camera_namespace"),
    )]
def generate_launch_description():
    declared = [DeclareLaunchArgument(name, default_value="") for name in NAMES]
    return LaunchDescription([*declared, OpaqueFunction(function=setup)])
"""
AS_A_SESSION_DOES = """
import sys
from pathlib import Path
from launch import LaunchDescription, LaunchService
from launch.actions import PushLaunchConfigurations, SetLaunchConfiguration
from h1_training_bringup.session.launch_description import inclusion
from h1_training_bringup.session.launch_description import _keep_the_terminal_for_the_operator
from h1_training_bringup.session.launch_supervisor import LaunchSupervisor
from h1_training_bringup.session.operator_screen import OperatorScreen
from h1_training_bringup.session.process import Process
camera = Process("stand_in_camera", "camera_node", "left_camera", parameters={"a": 1},
    remappings=(("~/old", "new"),), essential=False, respawn=True, foreign=True, launch_file="camera.launch.py")
def actions():
    return inclusion(camera, "robot1", "info", Path(sys.argv[1]))
_keep_the_terminal_for_the_operator()
folder = Path(sys.argv[1])
supervisor = LaunchSupervisor([(camera, actions)], OperatorScreen(folder / "operator.log"), print)
service = LaunchService(noninteractive=False)
service.include_launch_description(
    LaunchDescription([SetLaunchConfiguration("config", "mine"), *supervisor.actions()])
)
sys.exit(service.run())
"""


@pytest.mark.timeout(120)
def test_a_camera_of_another_packages_launch_file_is_watched_and_started_again(tmp_path: Path) -> None:
    prefix, starts, output = tmp_path / "prefix", tmp_path / "starts.txt", tmp_path / "output.txt"
    for name, text in {
        "share/ament_index/resource_index/packages/stand_in_camera": "",
        "share/stand_in_camera/launch/camera.launch.py": CAMERA_LAUNCH,
        "lib/stand_in_camera/camera_node": CAMERA_NODE,
    }.items():
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(text)
    (prefix / "lib/stand_in_camera/camera_node").chmod(0o755)
    environment = os.environ | {
        "AMENT_PREFIX_PATH": f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}",
        "ROS_LOG_DIR": str(tmp_path / "log"),
        "STARTS": str(starts),
    }
    with output.open("wb") as file:
        command = [sys.executable, "-c", AS_A_SESSION_DOES, str(tmp_path)]
        launched = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True)

    def lines() -> list[str]:
        return starts.read_text().splitlines() if starts.exists() else []

    try:
        wait_until(lambda: len(lines()) == 1, "the camera runs", 30.0)
        assert "__node:=left_camera" in lines()[0]
        assert "__ns:=/robot1" in lines()[0]
        assert "~/old:=new" in lines()[0]
        wait_until(lambda: psutil.Process(launched.pid).children(), "its process", 30.0)
        psutil.Process(launched.pid).children()[0].kill()
        wait_until(lambda: len(lines()) == 2, "it runs again", 30.0)
        launched.send_signal(signal.SIGINT)
        assert launched.wait(30) == 0
    finally:
        launched.kill()
        launched.wait()
    shown = output.read_text()
    assert "! left_camera ended (killed by SIGKILL); started again" in shown
    assert "! left_camera: stand-in" in shown
    assert "known here" not in shown
    log = next((tmp_path / "log").glob("*/launch.log")).read_text()
    assert "known here: ['camera_name', 'camera_namespace', 'config_file', 'launch-prefix'" in log
    assert "'config'," not in log
