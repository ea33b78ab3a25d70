# SPDX-License-Identifier: Apache-2.0
"""From what a person asked for to a checked configuration and a session: shared by the runner and the launch file."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.session.configuration import Configuration, ConfigurationError, load
from h1_training_bringup.session.operator_screen import LINES_VARIABLE
from h1_training_bringup.session.process import OPERATORS, SessionOptions
from h1_training_node.clock import SessionClock
from h1_training_node.process import ENDING_VARIABLE, PARENT_VARIABLE, announce_ending
from h1_training_node.session_end import note_lost_node
from h1_training_node.upload_target import parse_upload_target

_LOOPBACK = "127.0.0.1"
_HOSTS = ("policy_server.host", "robot.head_camera_server_ip", "robot.left_hand_ip", "robot.right_hand_ip")
_PORTS = (
    *("policy_server.port", "robot.head_camera_server_port"),
    *("robot.left_hand_port", "robot.right_hand_port"),
)
_ROBOT_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class SessionRequest:
    """What the command line, or the launch arguments, ask for.

    Attributes:
        simulated: against the simulation.
        operator: one of `process.OPERATORS`, or None for the usual one.
        config: a configuration file, or None for the package's own.
        changes: single keys, over what the files say.
        part: one of `process.PARTS`.
        tools: some of `process.TOOLS`.
    """

    simulated: bool
    operator: str | None = None
    config: Path | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    part: str = "session"
    tools: frozenset[str] = frozenset()


def prepared(request: SessionRequest) -> tuple[Configuration, SessionOptions]:
    """The configuration and the session that were asked for.

    Raises:
        ConfigurationError: they cannot be used; the message names what stands in the way.
    """
    operator = request.operator or ("scripted" if request.simulated else "keyboard")
    if operator not in OPERATORS:
        raise ConfigurationError(f"operator is '{operator}'; expected one of {', '.join(OPERATORS)}")
    if operator == "scripted" and not request.simulated:
        raise ConfigurationError(
            "a scripted operator exists only in the simulation; a robot needs a person at the keys"
        )
    configuration = load(*_files(request)).replaced(request.changes, source="command line")
    name = _robot_name(configuration)
    target = configuration["rsync.target"]
    if target and not parse_upload_target(target).is_remote:
        target = str(Path(target).expanduser().absolute())
    if target:
        configuration = configuration.replaced({"rsync.target": _of_robot(target, name)}, source="command line")
    save_dir = Path(configuration["save_dir"]).expanduser().absolute() / name
    _check_target(configuration.upload_target, save_dir)
    config_sha256 = configuration.sha256()
    if request.simulated:
        configuration = configuration.replaced(_endpoints_of(request, configuration), source="simulation")
    session = SessionOptions(
        simulated=request.simulated,
        operator=operator,
        config_sha256=config_sha256,
        save_dir=save_dir,
        part=request.part,
        tools=request.tools,
        bag_dir=save_dir / "bags" / datetime.now().strftime("session_%Y%m%d_%H%M%S"),
    )
    return configuration, session


def session_variables(log_dir: Path) -> dict[str, str]:
    """What is handed down to every process: the clock, the parent, shared files of `log_dir`, how to behave."""
    variables = {
        PARENT_VARIABLE: str(os.getpid()),
        ENDING_VARIABLE: str(log_dir / "ending"),
        LINES_VARIABLE: str(log_dir / "operator.log"),
        "PYTHONUNBUFFERED": "1",
        # Matrices of 14 joints: a second thread of a linear algebra library would only spin.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    SessionClock.from_environment().export(variables)
    return variables


def ending_announcer(ending: Path, save_dir: Path) -> Callable[[str], None]:
    """Says why a session ends: to its processes, and beside its data for a recorder that is gone itself.

    Args:
        ending: the file that `ENDING_VARIABLE` names to the processes.
        save_dir: of the session.
    """
    clock = SessionClock.from_environment()

    def announce(cause: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: they go by the signal that comes
            announce_ending(ending, cause)
        note_lost_node(save_dir, cause, clock.now_ns())

    return announce


def simulated_endpoints(policy_port: int = 0) -> dict[str, Any]:
    """Peers on this machine, each on a port that is free now.

    Args:
        policy_port: of a policy server that runs already; 0: a free one, for the session's own.
    """
    with contextlib.ExitStack() as stack:
        # All are held at once, so that no two get the same.
        sockets = [stack.enter_context(socket.create_server((_LOOPBACK, 0))) for _ in _PORTS]
        ports = dict(zip(_PORTS, (int(held.getsockname()[1]) for held in sockets), strict=True))
    return dict.fromkeys(_HOSTS, _LOOPBACK) | ports | ({"policy_server.port": policy_port} if policy_port else {})


def local_endpoints(configuration: Configuration) -> dict[str, Any]:
    """Peers on this machine, each on the port that the configuration names: for parts that are started one by one."""
    left, right = configuration["robot.left_hand_port"], configuration["robot.right_hand_port"]
    # On one machine the hands cannot share a port, as they do on two addresses of their own.
    return dict.fromkeys(_HOSTS, _LOOPBACK) | {"robot.right_hand_port": right + (right == left)}


def _endpoints_of(request: SessionRequest, configuration: Configuration) -> dict[str, Any]:
    """A whole simulation finds free ports; its parts, started one by one, have to meet at the configured ones."""
    if request.part != "session":
        return local_endpoints(configuration)
    return simulated_endpoints(configuration["simulation.policy_server_port"])


def _robot_name(configuration: Configuration) -> str:
    """The robot's name, or nothing; it becomes a folder here and at the upload's target."""
    name = str(configuration["robot.name"])
    if name and not _ROBOT_NAME.fullmatch(name):
        raise ConfigurationError(
            f"'robot.name' is '{name}'; it becomes a folder's name: a letter, then up to 62 letters, digits or _"
        )
    return name


def _of_robot(target: str, name: str) -> str:
    """Where this robot's episodes go: robots that share a data host never write into each other's folders."""
    if not name:
        return target
    return f"{target}{name}" if target.endswith((":", "/")) else f"{target}/{name}"


def _check_target(target: str, save_dir: Path) -> None:
    """What was "uploaded" into its own folder would be verified without a copy, and then be free to be deleted."""
    if target and not parse_upload_target(target).is_remote and Path(target).resolve() == save_dir.resolve():
        raise ConfigurationError(
            f"'rsync.target' and 'save_dir' are the same folder, {save_dir}: an upload there makes no copy; "
            "choose another target, or an empty one to keep the episodes here"
        )


def _files(request: SessionRequest) -> list[Path]:
    own = Path(get_package_share_directory("h1_training_bringup")) / "config"
    if request.simulated:
        return [own / "sim.yaml", *([request.config] if request.config else [])]
    return [request.config or own / "training_config.yaml"]
