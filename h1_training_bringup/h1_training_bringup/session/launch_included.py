# SPDX-License-Identifier: Apache-2.0
"""A process that another package's launch file starts: RealSense's node, by `rs_launch.py`.

Verified against `realsenseai/realsense-ros:realsense2_camera/launch/rs_launch.py` (4.58). It sees every launch
configuration of whoever includes it and prints a warning for each that it does not know: so it is included with an
empty list of them, and what it prints goes into launch's log file.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import launch.logging
import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch.action import Action
from launch.actions import (
    IncludeLaunchDescription,
    OpaqueFunction,
    PopLaunchConfigurations,
    PushLaunchConfigurations,
    ResetLaunchConfigurations,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetRemap

from h1_training_bringup.session.graph import wrapper
from h1_training_bringup.session.process import Process

PREFIX = "launch-prefix"
"""The launch configuration that puts a command before every executable's own (`launch.descriptions.Executable`)."""


def inclusion(process: Process, namespace: str, log_level: str, folder: Path) -> list[Action]:
    """The actions that start `process` by its package's launch file.

    Args:
        process: has a `launch_file`; its parameters go into a file that `config_file` names.
        namespace: of the session, or empty.
        log_level: of the node.
        folder: where the parameters' file is written.
    """
    parameters = folder / f"{process.name}.params.yaml"
    parameters.write_text(yaml.safe_dump(dict(process.parameters)))
    arguments = {
        "camera_name": process.name,
        "camera_namespace": "",
        "config_file": str(parameters),
        "log_level": log_level.lower(),
        "output": "log",
    }
    printed = _Printed(process.name)
    return [
        PushLaunchConfigurations(),
        ResetLaunchConfigurations({PREFIX: " ".join(wrapper(process))}),
        PushRosNamespace(namespace),
        *(SetRemap(name, replacement) for name, replacement in process.remappings),
        OpaqueFunction(function=printed.begin),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(launch_path(process))), launch_arguments=list(arguments.items())
        ),
        OpaqueFunction(function=printed.end),
        PopLaunchConfigurations(),
    ]


def launch_path(process: Process) -> Path:
    """Where the launch file of `process` was installed.

    Raises:
        FileNotFoundError: it is not there.
    """
    path = Path(get_package_share_directory(process.package)) / "launch" / process.launch_file
    if not path.exists():
        raise FileNotFoundError(f"{process.name}: {path} is missing; install {process.package} again")
    return path


class _Printed:
    """Redirects what a launch file prints while it is being read into launch's log file."""

    def __init__(self, name: str) -> None:
        self._logger = launch.logging.get_logger(f"launch.{name}")
        self._text = io.StringIO()
        self._stack = contextlib.ExitStack()

    def begin(self, _context: LaunchContext) -> list[Any]:
        self._stack.enter_context(contextlib.redirect_stdout(self._text))
        return []

    def end(self, _context: LaunchContext) -> list[Any]:
        self._stack.close()
        for line in self._text.getvalue().splitlines():
            self._logger.info(line)
        return []
