# SPDX-License-Identifier: Apache-2.0
"""Parameters as frozen dataclasses, without ROS: each field has a default, a meaning, a unit and a range.

`base_node.declared` turns such a class into ROS parameters with descriptors; a core takes the finished value.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any


class ParameterError(ValueError):
    """A parameter that cannot be used; the message names it."""


def parameter(
    default: Any,
    description: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
) -> Any:
    """A dataclass field that is a parameter.

    Args:
        default: its value when nobody sets it; its type is the field's.
        description: what it does, one line.
        unit: of the value, e.g. `"rad/s"`; empty if it has none.
        low: least value allowed; for sequences, of every element.
        high: greatest value allowed, likewise.
        choices: the only strings allowed; empty allows any.
        check: of a text's form, e.g. `address.check_host`: raises ValueError with what follows the parameter's name.
    """
    metadata = {
        **{"description": description, "unit": unit, "low": low, "high": high},
        **{"choices": choices, "check": check},
    }
    return dataclasses.field(default=default, metadata=metadata)


T = typing.TypeVar("T")


def from_values(cls: type[T], values: Mapping[str, Any], *, owner: str = "") -> T:
    """An instance of the dataclass `cls` from plain values, each checked against its field.

    Args:
        cls: a dataclass whose fields were made by `parameter`.
        values: by field name; a missing one takes its default.
        owner: whose parameters these are, for the message.

    Raises:
        ParameterError: an unknown name, a wrong type, a value out of range, or a refusal by `__post_init__`.
    """
    prefix = f"{owner}: " if owner else ""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    if unknown := sorted(set(values) - set(fields)):
        raise ParameterError(f"{prefix}unknown parameter '{unknown[0]}'{nearest_known(unknown[0], set(fields))}")
    checked = {}
    for name, value in values.items():
        try:
            checked[name] = checked_value(value, hints[name], fields[name].metadata)
        except ValueError as error:
            raise ParameterError(f"{prefix}parameter '{name}' {error}") from None
    try:
        return cls(**checked)
    except ValueError as error:
        raise ParameterError(f"{prefix}{error}") from None


def nearest_known(unknown: str, known: set[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, else all there are."""
    nearest = difflib.get_close_matches(unknown, sorted(known), n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; known are {', '.join(sorted(known))}"


def checked_value(value: Any, kind: Any, metadata: Mapping[str, Any]) -> Any:
    """`value` with the type `kind` of a parameter, and within what its metadata allow.

    Raises:
        ValueError: it is not; the message goes behind the parameter's name.
    """
    converted = _converted(value, kind)
    _check_range(converted, metadata)
    return converted


def _converted(value: Any, hint: Any) -> Any:
    """`value` as the type that `hint` names: bool, int, float, str, or a tuple of one of them."""
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise ValueError(f"is {value!r}; expected a list, each {_KINDS[element]}")
        return tuple(_converted(item, element) for item in value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"is {value!r} ({type(value).__name__}); expected {_KINDS[hint]}")


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check_range(value: Any, metadata: Mapping[str, Any]) -> None:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"is {item}; expected a finite number")
        low, high = metadata.get("low"), metadata.get("high")
        unit = f" {metadata['unit']}" if metadata.get("unit") else ""
        if low is not None and item < low:
            raise ValueError(f"is {item}{unit}; the least allowed is {low}{unit}")
        if high is not None and item > high:
            raise ValueError(f"is {item}{unit}; the greatest allowed is {high}{unit}")
        if metadata.get("choices") and item not in metadata["choices"]:
            raise ValueError(f"is '{item}'; expected one of {', '.join(metadata['choices'])}")
        if metadata.get("check"):
            metadata["check"](item)
