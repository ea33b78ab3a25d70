# SPDX-License-Identifier: Apache-2.0
"""The configuration as a whole: the defaults, a file or two over them, and what the command line changes.

Each key and node parameter that a file sets is checked, each error has its line.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from h1_training_bringup.session.keys import BY_PARAMETER, BY_SPELLING, KEYS, Key
from h1_training_bringup.session.node_parameters import CLASSES, Parameter, parameter_fields
from h1_training_node import strict_yaml
from h1_training_node.parameter import checked_value
from h1_training_node.strict_yaml import StrictYamlError

SET_BY_THE_SESSION = frozenset({"session_manager.config_sha256"})
"""Parameters that no file sets."""


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message names file, line, key and what to write instead."""


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

    def of_node(self, node: str) -> dict[str, Any]:
        """The parameters of `node` that keys set, and those of its own section."""
        by_key = {
            parameter.removeprefix(f"{node}."): self.values[key.path]
            for parameter, key in BY_PARAMETER.items()
            if parameter.startswith(f"{node}.") and parameter in key.sets
        }
        return {**by_key, **self.node_parameters.get(node, {})}

    def replaced(self, changes: Mapping[str, Any], *, source: str) -> Configuration:
        """This configuration with some keys set, each checked.

        Args:
            changes: by path or older spelling; a text, for a key that is none, as it would stand in a file.
            source: where they come from, for the message.

        Raises:
            ConfigurationError: a key is unknown or a value unfit.
        """
        checked = {}
        for spelling, given in changes.items():
            try:
                key = known_key(spelling)
            except ValueError as error:
                raise ConfigurationError(f"{source}: {error}") from None
            try:
                checked[key.path] = given_value(key.about, given)
            except ValueError as error:
                raise ConfigurationError(f"{source}: '{spelling}' {error}") from None
        return Configuration({**self.values, **checked}, self.node_parameters, self.given | set(checked))

    def overlaid(self, path: Path) -> Configuration:
        """This configuration with what a file sets.

        Raises:
            ConfigurationError: see `read_file`.
        """
        content = read_file(path)
        nodes = {node: dict(parameters) for node, parameters in self.node_parameters.items()}
        for node, parameters in content.node_parameters.items():
            nodes[node] = {**nodes.get(node, {}), **parameters}
        return Configuration({**self.values, **content.values}, nodes, self.given | set(content.values))

    @property
    def upload_target(self) -> str:
        """Where episodes are uploaded to; empty if they stay here, be it that uploads are off or go nowhere."""
        return str(self.values["rsync.target"]) if self.values["rsync.enabled"] else ""

    def sha256(self) -> str:
        """Fingerprint of all values, for the episode's attributes."""
        text = json.dumps([dict(self.values), {n: dict(p) for n, p in self.node_parameters.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(*files: Path) -> Configuration:
    """Every key at its default, overlaid by each file in turn.

    Raises:
        ConfigurationError: see `Configuration.overlaid`.
    """
    configuration = Configuration({key.path: key.default for key in KEYS})
    for path in files:
        configuration = configuration.overlaid(path)
    return configuration


@dataclass
class FileContent:
    """What a file sets.

    Attributes:
        values: by the key's path.
        node_parameters: by node and parameter.
    """

    values: dict[str, Any] = field(default_factory=dict)
    node_parameters: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_file(path: Path) -> FileContent:
    """The content of `path`; a key without a value is not set.

    Raises:
        ConfigurationError: it is missing, is not YAML, or holds a key or value that is not allowed.
    """
    try:
        root = strict_yaml.document(path.read_text(encoding="utf-8"))
        return FileContent() if root is None or _is_null(root) else _content(root)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not YAML: {error}") from None
    except (StrictYamlError, _LineError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def known_key(spelling: str) -> Key:
    """The key with this spelling.

    Raises:
        ValueError: there is none.
    """
    if below := [other for other in BY_SPELLING if other.startswith(f"{spelling}.")]:
        raise ValueError(f"'{spelling}' is a section; expected keys below it, such as '{below[0]}'")
    if spelling not in BY_SPELLING:
        raise ValueError(f"unknown key '{spelling}'{_nearest(spelling, tuple(BY_SPELLING))}")
    return BY_SPELLING[spelling]


def given_value(about: Parameter, given: Any) -> Any:
    """A value from elsewhere than a file, checked; a text, for what is none, as it would stand in a file.

    Raises:
        ValueError: it does not fit; the message goes behind the key's name.
    """
    if isinstance(given, str) and about.type is not str:
        try:
            node = strict_yaml.document(given)
            given = "" if node is None else _read(about, node)
        except StrictYamlError as error:
            raise ValueError(f"is {given!r}: {error}") from None
    return checked_value(given, about.type, vars(about))


class _LineError(ValueError):
    """Something in a file; the message names its line."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(f"line {strict_yaml.line(node)}: {message}")


def _content(root: yaml.Node) -> FileContent:
    if not isinstance(root, yaml.MappingNode):
        raise _LineError(root, f"expected sections with keys, found {_as_text(root)}")
    found, spelled = FileContent(), dict[str, tuple[str, int]]()
    pairs = list(strict_yaml.pairs(root))
    for name, section in pairs:
        if name.value == "nodes" and not _is_null(section):
            found.node_parameters |= _node_sections(section)
    for spelling, node in _keys_in([pair for pair in pairs if pair[0].value != "nodes"]):
        try:
            key = known_key(spelling)
        except ValueError as error:
            raise _LineError(node, str(error)) from None
        if key.path in spelled:
            other, line = spelled[key.path]
            raise _LineError(node, f"'{spelling}' and '{other}' in line {line} are the same key; keep one")
        spelled[key.path] = spelling, strict_yaml.line(node)
        if not _is_null(node):
            found.values[key.path] = _value(spelling, key.about, node)
    return found


def _keys_in(pairs: list[tuple[yaml.Node, yaml.Node]], prefix: str = "") -> Iterator[tuple[str, yaml.Node]]:
    """The keys of a section, by spelling; one that merging (`<<`) has set as well has its own value."""
    for name, node in {name.value: node for name, node in pairs}.items():
        path = f"{prefix}{name}"
        if isinstance(node, yaml.MappingNode) and any(known.startswith(f"{path}.") for known in BY_SPELLING):
            yield from _keys_in(list(strict_yaml.pairs(node)), f"{path}.")
        else:
            yield path, node


def _node_sections(section: yaml.Node) -> dict[str, dict[str, Any]]:
    if not isinstance(section, yaml.MappingNode):
        raise _LineError(section, f"'nodes' is {_as_text(section)}; expected node names with parameters")
    found = {}
    for name, given in strict_yaml.pairs(section):
        path = f"nodes.{name.value}"
        if name.value not in CLASSES:
            raise _LineError(name, f"unknown key '{path}'{_nearest(path, tuple(f'nodes.{node}' for node in CLASSES))}")
        if not isinstance(given, yaml.MappingNode):
            raise _LineError(given, f"'{path}' is {_as_text(given)}; expected parameters with values")
        found[str(name.value)] = dict(_node_parameters(name.value, given))
    return found


def _node_parameters(node: str, section: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
    known = parameter_fields(node)
    for name, given in strict_yaml.pairs(section):
        path = f"nodes.{node}.{name.value}"
        if key := BY_PARAMETER.get(f"{node}.{name.value}"):
            raise _LineError(name, f"'{path}' is what '{key.path}' sets; write that key")
        if f"{node}.{name.value}" in SET_BY_THE_SESSION:
            raise _LineError(name, f"'{path}' is set by the session; leave it out")
        if name.value not in known:
            nearest = _nearest(path, tuple(f"nodes.{node}.{parameter}" for parameter in known))
            raise _LineError(name, f"unknown key '{path}'{nearest}")
        if not _is_null(given):
            yield str(name.value), _value(path, known[name.value], given)


def _value(path: str, about: Parameter, node: yaml.Node) -> Any:
    try:
        return checked_value(_read(about, node), about.type, vars(about))
    except StrictYamlError as error:
        raise StrictYamlError(f"'{path}': {error}") from None
    except ValueError as error:
        raise _LineError(node, f"'{path}' {error}") from None


def _read(about: Parameter, node: yaml.Node) -> Any:
    """The value of `node`: of a text as it is written, of anything else as YAML and a person both read it."""
    element = typing.get_args(about.type)
    if element and isinstance(node, yaml.SequenceNode):
        return tuple(_read(Parameter(element[0], None, ""), item) for item in node.value)
    if about.type is str and isinstance(node, yaml.ScalarNode):
        return node.value
    return strict_yaml.value(node)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.tag == "tag:yaml.org,2002:null"


def _as_text(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value) or "empty"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a section"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
