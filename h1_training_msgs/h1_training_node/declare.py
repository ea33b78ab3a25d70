# SPDX-License-Identifier: Apache-2.0
"""ROS parameters from a dataclass: declared with descriptors, read once, checked as a whole."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from h1_training_node.parameter import ParameterError, from_values, nearest_known

T = TypeVar("T")

_ROS_OWN = {"use_sim_time", "start_type_description_service"}


def declared(node: Node, cls: type[T]) -> T:
    """Declare every field of `cls` as a read-only parameter of `node`, and return the values.

    Types are checked here and not by rclpy, so that `1` is good enough for `1.0` and the message names the node.

    Raises:
        ParameterError: a value of the wrong type, out of its range, or refused by `__post_init__`.
    """
    _refuse_unknown(node, {field.name for field in dataclasses.fields(cls)})  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        value = node.declare_parameter(field.name, default, _descriptor(field)).value
        if value is not None:
            values[field.name] = value
    return from_values(cls, values, owner=node.get_fully_qualified_name())


def _refuse_unknown(node: Node, known: set[str]) -> None:
    """rclpy drops a value for a parameter that nobody declares; a misspelt one must not pass in silence."""
    given = {
        name for name in node._parameter_overrides if name not in _ROS_OWN and not name.startswith("qos_overrides.")
    }
    if unknown := sorted(given - known):
        hint = nearest_known(unknown[0], known)
        raise ParameterError(f"{node.get_fully_qualified_name()}: unknown parameter '{unknown[0]}'{hint}")


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    metadata = field.metadata
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    descriptor = ParameterDescriptor(
        name=field.name,
        description=metadata["description"] + unit,
        read_only=True,
        dynamic_typing=True,
        additional_constraints=f"one of {', '.join(metadata['choices'])}" if metadata["choices"] else "",
    )
    low, high = metadata["low"], metadata["high"]
    if low is not None and high is not None:
        # rclpy enforces a range only for the type that it finds; ours is enforced again with a clearer message.
        if isinstance(field.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        elif isinstance(field.default, int) and not isinstance(field.default, bool):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
