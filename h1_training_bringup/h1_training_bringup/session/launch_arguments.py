# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files, as data: what each means, and what the session is asked for by them.

An argument that stands for a key of the configuration is described, typed and checked as that key is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.keys import BY_PATH
from h1_training_bringup.session.process import OPERATORS, PARTS, TOOLS, namespace_problem
from h1_training_bringup.session.session_setup import SessionRequest

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True)
class Argument:
    """One launch argument.

    Attributes:
        name: as in `name:=value`.
        default: its value if it is not given; empty for one that stands for a key: as configured.
        meaning: for `--show-args`.
        key: the key of the configuration that it stands for, or empty.
        simulation: False if it says where something real is, and so goes with the robot only.
        parts: what of `process.PARTS` has it.
    """

    name: str
    default: str
    meaning: str
    key: str = ""
    simulation: bool = True
    parts: tuple[str, ...] = PARTS

    @property
    def description(self) -> str:
        """What `--show-args` says."""
        return f"{self.meaning} (empty: '{self.key}' as configured)" if self.key else self.meaning


def _of_key(name: str, key: str, *, simulation: bool = True, parts: tuple[str, ...] = ("session",)) -> Argument:
    return Argument(name, "", BY_PATH[key].about.description, key, simulation, parts)


def _tool(name: str, meaning: str) -> Argument:
    return Argument(name, "false", f"true: {meaning}", parts=("session", "robot"))


ARGUMENTS = (
    Argument("sim", "false", "true: against the simulation, which can never move a robot", parts=("session", "robot")),
    Argument(
        "config",
        "",
        "configuration file (empty: training_config.yaml of this package; with sim:=true it goes over sim.yaml)",
    ),
    Argument(
        "operator",
        "",
        f"who presses the keys: {', '.join(OPERATORS)} (empty: keyboard; scripted with sim:=true)",
        parts=("session",),
    ),
    Argument(
        "console",
        "false",
        "true: the console instead of plain lines, on the terminal of launch, for operator:=keyboard",
        parts=("session",),
    ),
    Argument("namespace", "", "namespace of the session's own names, for several robots, e.g. robot1"),
    Argument("log_level", "info", f"least severity that the session's nodes log: {', '.join(LOG_LEVELS)}"),
    _of_key("save_dir", "save_dir", parts=PARTS),
    _of_key("rsync_target", "rsync.target", parts=("session", "sim")),
    _of_key("policy_host", "policy_server.host", simulation=False),
    _of_key("policy_port", "policy_server.port", simulation=False),
    _of_key("hands", "robot.include_hands", parts=PARTS),
    _of_key("cameras", "robot.include_cameras", parts=PARTS),
    _of_key("speed_scale", "robot.speed_scale", parts=("session", "robot")),
    _of_key("epochs", "simulation.epochs"),
    _of_key("episodes", "simulation.episodes"),
    _tool("rviz", "rviz2 with the arms, the cameras and the session's state; starts robot_state_publisher"),
    _tool("rqt", "rqt with the robot monitor, the cameras, plots of the joints and a service caller"),
    _tool("foxglove", "foxglove_bridge, which Foxglove connects to, at foxglove.address and foxglove.port"),
    _tool("bag", "a bag of every topic but images, in SAVE_DIR/bags"),
)


def arguments_of(part: str) -> tuple[Argument, ...]:
    """The arguments that the launch file of `part` (one of `process.PARTS`) has."""
    return tuple(argument for argument in ARGUMENTS if part in argument.parts)


def request_from(given: Mapping[str, str], part: str = "session") -> SessionRequest:
    """What the launch arguments `given`, by name, ask for; all of `arguments_of(part)` are there.

    Raises:
        ConfigurationError: one has a value that it cannot have.
    """
    if problem := namespace_problem(given["namespace"]):
        raise ConfigurationError(problem)
    simulated = part == "sim" or _is_true(given, "sim")
    _one_of(given, "log_level", LOG_LEVELS)
    if part == "session":
        _one_of(given, "console", ("true", "false"))
    changes: dict[str, Any] = {}
    for argument in arguments_of(part):
        if argument.key and given[argument.name]:
            if simulated and not argument.simulation:
                raise ConfigurationError(
                    f"'{argument.name}' does not go with sim:=true: the simulation brings peers of its own"
                )
            changes[argument.key] = given[argument.name]
    return SessionRequest(
        simulated=simulated,
        operator=given.get("operator") or ("none" if part != "session" else None),
        config=Path(given["config"]).expanduser() if given["config"] else None,
        changes=changes,
        part=part,
        tools=frozenset(tool for tool in TOOLS if part != "sim" and _is_true(given, tool)),
    )


def _is_true(given: Mapping[str, str], name: str) -> bool:
    return _one_of(given, name, ("true", "false")) == "true"


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = given[name].lower()
    if value not in allowed:
        raise ConfigurationError(f"'{name}' is '{given[name]}'; expected one of {', '.join(allowed)}")
    return value
