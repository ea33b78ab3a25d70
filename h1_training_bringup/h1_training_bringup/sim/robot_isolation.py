# SPDX-License-Identifier: Apache-2.0
"""The simulation can never move, or be taken for, a real robot: its nodes run on this machine only."""

from __future__ import annotations

from collections.abc import Mapping

from h1_training_node.parameter import ParameterError

_VARIABLE, _REQUIRED = "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"


def require_this_machine_only(environ: Mapping[str, str]) -> None:
    """Refuse to go on unless discovery is limited to this machine.

    Raises:
        ParameterError: it is not; says how to set it.
    """
    if (found := environ.get(_VARIABLE, "")) != _REQUIRED:
        raise ParameterError(
            f"the simulation starts only on this machine by itself: {_VARIABLE} is '{found}', expected {_REQUIRED}. "
            f"Run `export {_VARIABLE}={_REQUIRED}` first"
        )


def require_own_topic(resolved: str, name: str) -> None:
    """Refuse to go on if somebody remapped a simulated topic to another name, say the robot's.

    Raises:
        ParameterError: `resolved` does not end in `/` and `name`.
    """
    if not resolved.endswith(f"/{name}"):
        raise ParameterError(f"the simulation's topic '{name}' has been remapped to '{resolved}'; remove the remapping")
