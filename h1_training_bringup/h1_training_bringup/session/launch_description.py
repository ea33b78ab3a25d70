# SPDX-License-Identifier: Apache-2.0
"""From the launch arguments to the actions that start a part of the graph.

RealSense's node is started by its package's own launch file, verified against
`realsenseai/realsense-ros:realsense2_camera/launch/rs_launch.py` (4.58). That sees every launch configuration of
whoever includes it and prints a warning for each that it does not know: so it is included with an empty list of them,
and what it prints goes into launch's log file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import launch.logging
import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    PopLaunchConfigurations,
    PushLaunchConfigurations,
    ResetLaunchConfigurations,
    SetEnvironmentVariable,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch_ros.actions import Node, PushRosNamespace, SetRemap

from h1_training_bringup.session import graph
from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.launch_arguments import arguments_of, request_from
from h1_training_bringup.session.launch_supervisor import LaunchSupervisor, Starter
from h1_training_bringup.session.middleware import DOMAIN_VARIABLE, check_domain, graph_variables
from h1_training_bringup.session.operator_screen import LINES_VARIABLE, OperatorScreen, console_problem
from h1_training_bringup.session.page import Lines, with_page
from h1_training_bringup.session.process import Process, SessionOptions
from h1_training_bringup.session.processes import executable_path
from h1_training_bringup.session.session_setup import ending_announcer, prepared, session_variables
from h1_training_bringup.session.supervisor import PEERS_STOP_TIMEOUT_S, STOP_TIMEOUT_S
from h1_training_node.domain import DomainClaim
from h1_training_node.folder_lock import FolderLock
from h1_training_node.process import ENDING_VARIABLE, PRIORITY_VARIABLE

PREFIX = "launch-prefix"
"""The launch configuration that puts a command before every executable's own (`launch.descriptions.Executable`)."""


def description_of(part: str) -> LaunchDescription:
    """The launch arguments of `part` (one of `process.PARTS`) and, once they are known, its processes."""
    declared = [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
        for argument in arguments_of(part)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions, kwargs={"part": part})])


def _actions(context: LaunchContext, part: str) -> list[Action]:
    """Everything is checked before the first process is started; launch shows an exception as one line."""
    given = {argument.name: context.launch_configurations[argument.name] for argument in arguments_of(part)}
    configuration, session = prepared(request_from(given, part))
    session = replace(session, console=_has_console(given, session))
    page_lines: Lines = ()
    if part == "session":
        configuration, page_lines = with_page(configuration)
    processes = graph.processes(configuration, session)
    for process in processes:
        executable_path(process)
        if process.launch_file:
            launch_path(process)
    variables = session_variables(Path(launch_config.log_dir))
    domain_id = _domain(session, context) if session.simulated else None
    of_graph, lines = graph_variables(os.environ, configuration["robot.network_interface"], domain_id)
    variables |= of_graph
    _show("\n".join(lines))
    if part == "session":
        lock = FolderLock(session.save_dir)
        lock.export(variables)
        # The context lives as long as the launch process: so does the lock.
        context.extend_globals({"h1_folder_lock": lock})
        if lock.remark:
            _show(f"! {lock.remark}")
    for line in page_lines:
        _show(line)
    supervisor = LaunchSupervisor(
        [(process, _starter(process, given)) for process in processes],
        OperatorScreen(Path(variables[LINES_VARIABLE]), hidden=session.console),
        ending_announcer(Path(variables[ENDING_VARIABLE]), session.save_dir),
        # The table at the end is of episodes: only a whole session makes some.
        session.save_dir if part == "session" else None,
    )
    _take_signals(supervisor)
    _keep_the_terminal_for_the_operator()
    return [
        *(SetEnvironmentVariable(name, value) for name, value in variables.items()),
        PushRosNamespace(given["namespace"]),
        *supervisor.actions(),
    ]


def _has_console(given: Mapping[str, str], session: SessionOptions) -> bool:
    """Whether the console has launch's terminal; an exception says why it cannot."""
    if given.get("console", "false") != "true":
        return False
    problem = console_problem() if session.operator == "keyboard" else f"the operator is '{session.operator}'"
    if problem:
        raise ConfigurationError(f"console:=true cannot be: {problem}")
    return True


def _domain(session: SessionOptions, context: LaunchContext) -> int:
    """A domain of its own for the simulation; drivers that are started alone join that of the peers."""
    if session.part == "robot":
        check_domain(os.environ)
        if not (domain := os.environ.get(DOMAIN_VARIABLE, "")):
            raise ConfigurationError(
                "the simulated robot is in a ROS domain of its own: start sim.launch.py and export the "
                f"{DOMAIN_VARIABLE} that it prints"
            )
        return int(domain)
    claim = DomainClaim()
    # The context lives as long as the launch process: so does the claim.
    context.extend_globals({"h1_domain_claim": claim})
    return claim.domain_id


def _starter(process: Process, given: Mapping[str, str]) -> Starter:
    def actions() -> list[Action]:
        if process.launch_file:
            return inclusion(process, given["namespace"], given["log_level"], Path(launch_config.log_dir))
        return [_node(process, given["namespace"], given["log_level"])]

    return actions


def _node(process: Process, namespace: str, log_level: str) -> Node:
    logger = ".".join([*filter(None, namespace.split("/")), process.name])
    # launch counts both from its own shutdown on, and the second from the first.
    sigterm_s = STOP_TIMEOUT_S if process.ends_last else process.stop_timeout_s
    sigkill_s = PEERS_STOP_TIMEOUT_S if process.ends_last else STOP_TIMEOUT_S - sigterm_s
    return Node(
        package=process.package,
        executable=process.executable,
        name=None if process.arguments else process.name,
        exec_name=process.name,
        prefix=" ".join(graph.wrapper(process)) or None,
        parameters=[dict(process.parameters)] if process.parameters else [],
        remappings=list(process.remappings),
        arguments=list(process.arguments),
        ros_arguments=["--log-level", f"{logger}:={log_level.lower()}"],
        additional_env={PRIORITY_VARIABLE: process.priority},
        output={"both": "own_log"},
        output_format="{line}",
        sigterm_timeout=f"{sigterm_s:.1f}",
        sigkill_timeout=f"{sigkill_s:.1f}",
    )


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
        ResetLaunchConfigurations({PREFIX: " ".join(graph.wrapper(process))}),
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


def _take_signals(supervisor: LaunchSupervisor) -> None:
    """See that no signal breaks launch's own handling of it.

    launch receives SIGINT by Python's wake-up descriptor and leaves Python's default handler in place. That raises
    KeyboardInterrupt wherever the program stands: a second Ctrl+C could cut launch's shutdown in two, so that
    some nodes are never signalled. And where SIGINT is ignored (a background job of a script) launch never sees it.
    SIGHUP, a dropped connection, would kill launch at once. It becomes SIGINT. SIGUSR1 is the console's, when it
    leaves the terminal.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGUSR1, lambda *_: supervisor.go_plain())


def _keep_the_terminal_for_the_operator() -> None:
    """Of launch's own lines about single processes only those that ask for attention; all are in its log file."""

    def is_shown(record: logging.LogRecord) -> bool:
        # How a process ended the supervisor says in words; and a camera that is started again is no second one.
        hidden = ("process has died", "there are now at least 2 nodes with the name")
        return record.name == "launch" or (
            record.levelno >= logging.WARNING and not record.getMessage().startswith(hidden)
        )

    launch_config.get_screen_handler().addFilter(is_shown)


def _show(text: str) -> None:
    """Print to the terminal; one that is gone must not stand in the way of an orderly end."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
