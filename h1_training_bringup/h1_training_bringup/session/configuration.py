"""Reads and checks the configuration as a whole, so that a misspelt key is named before anything starts."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from h1_training_bringup.session.keys import BY_PATH, BY_SPELLING, NODES, Key


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message names file, key and what to write instead."""


@dataclass(frozen=True)
class Configuration:
    """Checked values of every key.

    Attributes:
        values: by dotted path, every key of `keys.KEYS`.
        node_parameters: further parameters per node, from `nodes.<node>`.
        given: paths that a file or the command line has set.
    """

    values: Mapping[str, bool | int | float | str]
    node_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def __getitem__(self, path: str) -> Any:
        return self.values[path]

    def replaced(self, changes: Mapping[str, Any], *, source: str) -> Configuration:
        """This configuration with some keys set anew, each checked.

        Raises:
            ConfigurationError: a key is unknown or a value unfit; `source` says where it came from.
        """
        checked = {
            _known(path, source).path: _checked(_known(path, source), v, source, path) for path, v in changes.items()
        }
        return Configuration({**self.values, **checked}, self.node_parameters, self.given | set(checked))

    @property
    def upload_target(self) -> str:
        """Where episodes are uploaded to; empty if they stay here, be it that uploads are off or go nowhere."""
        return str(self.values["rsync.target"]) if self.values["rsync.enabled"] else ""

    def sha256(self) -> str:
        """Fingerprint of all values, for the episode's attributes."""
        text = json.dumps([dict(self.values), {n: dict(p) for n, p in self.node_parameters.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def defaults() -> Configuration:
    """Every key at its default."""
    return Configuration({key.path: key.default for key in BY_PATH.values()})


def load(*files: Path) -> Configuration:
    """The defaults, overlaid by each file in turn.

    Raises:
        ConfigurationError: a file is missing, is not YAML, or holds a key or value that is not allowed.
    """
    configuration = defaults()
    for path in files:
        configuration = _overlaid(configuration, path)
    return configuration


def _overlaid(base: Configuration, path: Path) -> Configuration:
    source = str(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{source}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source}: is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return base
    if not isinstance(content, dict):
        raise ConfigurationError(f"{source}: expected sections with keys, found {type(content).__name__}")
    nodes = content.pop("nodes", None) or {}
    changes: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for spelling, value in _flattened(content):
        key = _known(spelling, source)
        if key.path in spelled:
            raise ConfigurationError(f"{source}: '{spelling}' and '{spelled[key.path]}' are the same key; keep one")
        spelled[key.path] = spelling
        if value is not None:
            changes[spelling] = value
    merged = base.replaced(changes, source=source)
    return Configuration(merged.values, _merged_nodes(base.node_parameters, nodes, source), merged.given)


def _flattened(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path not in BY_SPELLING:
            yield from _flattened(value, path + ".")
        else:
            yield path, value


def _merged_nodes(base: Mapping[str, Mapping[str, Any]], nodes: Any, source: str) -> dict[str, Mapping[str, Any]]:
    if not isinstance(nodes, dict):
        raise ConfigurationError(f"{source}: 'nodes' is {nodes!r}; expected node names with parameters")
    merged = dict(base)
    for node, parameters in nodes.items():
        if node not in NODES:
            raise ConfigurationError(f"{source}: unknown key 'nodes.{node}'{_nearest(f'nodes.{node}', _NODES)}")
        if not isinstance(parameters, dict):
            raise ConfigurationError(f"{source}: 'nodes.{node}' is {parameters!r}; expected parameters with values")
        merged[node] = {**merged.get(node, {}), **parameters}
    return merged


def _known(path: str, source: str) -> Key:
    if below := [spelling for spelling in BY_SPELLING if spelling.startswith(f"{path}.")]:
        raise ConfigurationError(f"{source}: '{path}' is a section; expected keys below it, such as '{below[0]}'")
    if path not in BY_SPELLING:
        raise ConfigurationError(f"{source}: unknown key '{path}'{_nearest(path, tuple(BY_SPELLING))}")
    return BY_SPELLING[path]


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _checked(key: Key, value: Any, source: str, spelling: str) -> bool | int | float | str:
    wanted = type(key.default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # serial numbers look like numbers to YAML
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        found = f"{value!r} ({type(value).__name__})"
        raise ConfigurationError(f"{source}: '{spelling}' is {found}; expected {_TYPE_NAMES[wanted]}")
    unit = f" {key.unit}" if key.unit else ""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{source}: '{spelling}' is {value}; expected a finite number{unit and f' of{unit}'}")
    if key.low is not None and key.high is not None and not key.low <= float(value) <= key.high:
        raise ConfigurationError(
            f"{source}: '{spelling}' is {value}{unit}; allowed is {key.low:g} to {key.high:g}{unit}"
        )
    if key.choices and value not in key.choices:
        raise ConfigurationError(f"{source}: '{spelling}' is '{value}'; expected one of {', '.join(key.choices)}")
    return value


_NODES = tuple(f"nodes.{node}" for node in NODES)
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
