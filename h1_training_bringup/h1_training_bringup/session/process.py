# SPDX-License-Identifier: Apache-2.0
"""What a process of the session is, and what a session is started with: the words of the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAMESPACE = re.compile("/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
OPERATORS = ("keyboard", "scripted", "none")
PARTS = ("session", "robot", "sim")
"""What is started: the whole session; the drivers alone; the simulated peers alone."""
TOOLS = ("rviz", "rqt", "foxglove", "bag")
"""What may be started beside the session, to visualise it; each is a condition, too."""


@dataclass(frozen=True)
class Process:
    """One process of the session.

    Attributes:
        package, executable: what runs.
        name: the node's; as its executable if it is not given.
        parameters: ROS parameters, plain values.
        remappings: pairs of (name in the node, name in the graph).
        arguments: command-line arguments of a peer that is no ROS node.
        when: conditions, all of which must hold.
        essential: the session cannot live without it; its end ends the session with status 1.
        concludes: its end with status 0 or 130 is the session's end with that status.
        may_finish: it may end with status 0 when it has done its work.
        respawn: started again if it dies (a few times).
        standby: started only as another's fallback.
        fallback: name of the process that takes over when this one ends.
        ends_last: a simulated peer or the keyboard: ended when all others are gone.
        on_terminal: its standard output is the operator's terminal.
        stop_timeout_s: how long it may take to end, s.
        priority: `realtime` for those whose silence the arms feel (`realtime_if_allowed` where no arms are at stake),
            else a niceness, 0 to 19.
        foreign: not one of ours, so that it sees neither to its priority nor to its parent's death by itself.
        launch_file: the launch file of `package` by which `ros2 launch` starts it, with the arguments `camera_name`,
            `camera_namespace` and `config_file`; the runner starts the executable.
    """

    package: str
    executable: str
    name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    when: frozenset[str] = frozenset()
    essential: bool = True
    concludes: bool = False
    may_finish: bool = False
    respawn: bool = False
    standby: bool = False
    fallback: str = ""
    ends_last: bool = False
    on_terminal: bool = False
    stop_timeout_s: float = 5.0
    priority: str = "5"
    foreign: bool = False
    launch_file: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.executable)


@dataclass(frozen=True)
class SessionOptions:
    """What a session is started with, beside the configuration.

    Attributes:
        simulated: against the simulation, which can never move a robot.
        operator: who presses the keys: one of `OPERATORS`.
        save_dir: absolute folder of the episodes.
        part: one of `PARTS`.
        tools: some of `TOOLS`.
        bag_dir: folder of the bag, with the tool `bag`; it does not exist yet.
        console: the person at the keyboard sees the console instead of plain lines.
        config_sha256: fingerprint of the configuration as it was given; empty: of the one that is used.
    """

    simulated: bool
    operator: str
    save_dir: Path
    part: str = "session"
    tools: frozenset[str] = frozenset()
    bag_dir: Path = Path("bag")
    console: bool = False
    config_sha256: str = ""


def namespace_problem(namespace: str) -> str:
    """Why `namespace` is none for a session's own names; empty if it is one, or none is wanted."""
    if not namespace or _NAMESPACE.fullmatch(namespace):
        return ""
    return f"namespace '{namespace}': expected letters, digits and _, e.g. robot1"
