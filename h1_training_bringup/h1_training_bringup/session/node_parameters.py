# SPDX-License-Identifier: Apache-2.0
"""Whose parameters a configuration sets: the dataclass of every node, found by name in the installed packages.

A parameter is declared once, as a field of its node's dataclass, with default, unit, range and meaning. The
configuration's keys (`keys.py`), its `nodes` section, the checks before anything starts and the tables of
docs/configuration.md all read that field. The alternatives would each declare it twice: a table here beside the
dataclass can disagree with it (five entries once did), and a generated copy can be out of date. The session's packages
still meet in messages only: none of their nodes imports another package's Python (the training server and the
simulation import cores without ROS); a class is looked up here when it is needed, as `ros2 run` looks up an executable.
"""

from __future__ import annotations

import dataclasses
import pkgutil
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

CLASSES = {
    "arm_driver": "h1_training_bringup.arm_driver.parameters:ArmParameters",
    "arm_guard": "h1_training_bringup.arm_driver.parameters:GuardParameters",
    "head_camera": "h1_training_bringup.head_camera.parameters:HeadCameraParameters",
    "inspire_driver": "h1_inspire_driver.parameters:DriverParameters",
    "policy_bridge": "h1_policy_bridge.parameters:BridgeParameters",
    "recorder": "h1_recorder.recorder.parameters:RecorderParameters",
    "session_manager": "h1_session_manager.parameters:SessionParameters",
    "keyboard": "h1_session_manager.parameters:KeyboardParameters",
    "console": "h1_session_manager.parameters:ConsoleParameters",
    "web": "h1_session_manager.parameters:WebParameters",
}
"""By node. These are the nodes whose parameters a file may set under `nodes.<node>`."""


@cache
def parameter_class(node: str) -> type[Any]:
    """The dataclass of the parameters of `node`, one of `CLASSES`."""
    found: type[Any] = pkgutil.resolve_name(CLASSES[node])
    return found


@cache
def parameter_fields(node: str) -> dict[str, Parameter]:
    """The parameters of `node`, by name."""
    hints = typing.get_type_hints(parameter_class(node))
    return {
        field.name: Parameter(hints[field.name], field.default, **field.metadata)
        for field in dataclasses.fields(parameter_class(node))
    }


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a field says about its value, see `h1_training_node.parameter.parameter`.

    Attributes:
        type: bool, int, float, str, or a tuple of one of them.
    """

    type: Any
    default: Any
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str], None] | None = None


def parameter_of(reference: str) -> Parameter:
    """The parameter that `reference`, e.g. `"recorder.fps"`, names."""
    node, _, name = reference.partition(".")
    return parameter_fields(node)[name]
