"""The arguments of `session.launch.py`, as data: what each means, and what the session is asked for by them.

An argument that stands for a key of the configuration is described, typed and checked as that key is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from h1_training_bringup.configuration import ConfigurationError
from h1_training_bringup.keys import BY_PATH
from h1_training_bringup.process import OPERATORS
from h1_training_bringup.session_setup import SessionRequest

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
    """

    name: str
    default: str
    meaning: str
    key: str = ""
    simulation: bool = True

    @property
    def description(self) -> str:
        """What `--show-args` says."""
        return f"{self.meaning} (empty: '{self.key}' as configured)" if self.key else self.meaning


def _of_key(name: str, key: str, *, simulation: bool = True) -> Argument:
    return Argument(name, "", BY_PATH[key].description, key, simulation)


ARGUMENTS = (
    Argument("sim", "false", "true: against the simulation, which can never move a robot"),
    Argument(
        "config",
        "",
        "configuration file (empty: training_config.yaml of this package; with sim:=true it goes over sim.yaml)",
    ),
    Argument(
        "operator", "", f"who presses the keys: {', '.join(OPERATORS)} (empty: keyboard; scripted with sim:=true)"
    ),
    Argument("namespace", "", "namespace of the session's own names, for several robots, e.g. robot1"),
    Argument("log_level", "info", f"least severity that the session's nodes log: {', '.join(LOG_LEVELS)}"),
    _of_key("save_dir", "save_dir"),
    _of_key("rsync_target", "rsync.target"),
    _of_key("policy_host", "policy_server.host", simulation=False),
    _of_key("policy_port", "policy_server.port", simulation=False),
    _of_key("hands", "robot.include_hands"),
    _of_key("speed_scale", "robot.speed_scale"),
    _of_key("epochs", "simulation.epochs"),
    _of_key("episodes", "simulation.episodes"),
)


def request_from(given: Mapping[str, str]) -> SessionRequest:
    """What the launch arguments `given`, by name, ask for.

    Raises:
        ConfigurationError: one has a value that it cannot have.
    """
    simulated = _one_of(given, "sim", ("true", "false")) == "true"
    _one_of(given, "log_level", LOG_LEVELS)
    changes: dict[str, Any] = {}
    for argument in ARGUMENTS:
        if argument.key and given[argument.name]:
            if simulated and not argument.simulation:
                raise ConfigurationError(
                    f"'{argument.name}' does not go with sim:=true: the simulation brings peers of its own"
                )
            changes[argument.key] = _value(argument.key, given[argument.name])
    return SessionRequest(
        simulated=simulated,
        operator=given["operator"] or None,
        config=Path(given["config"]).expanduser() if given["config"] else None,
        changes=changes,
    )


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = given[name].lower()
    if value not in allowed:
        raise ConfigurationError(f"'{name}' is '{given[name]}'; expected one of {', '.join(allowed)}")
    return value


def _value(key: str, text: str) -> Any:
    """`text` as a configuration file would have it; whether it fits the key is checked where all keys are."""
    if isinstance(BY_PATH[key].default, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
