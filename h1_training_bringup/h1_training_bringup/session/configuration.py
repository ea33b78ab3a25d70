# SPDX-License-Identifier: Apache-2.0
"""The configuration as a whole: the defaults, a file or two over them, and what the command line changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h1_training_bringup.session.configuration_file import ConfigurationError, given_value, known_key, read_file
from h1_training_bringup.session.keys import BY_PARAMETER, KEYS

__all__ = ["Configuration", "ConfigurationError", "defaults", "load"]


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
            ConfigurationError: see `configuration_file.read_file`.
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


def defaults() -> Configuration:
    """Every key at its default."""
    return Configuration({key.path: key.default for key in KEYS})


def load(*files: Path) -> Configuration:
    """The defaults, overlaid by each file in turn.

    Raises:
        ConfigurationError: see `Configuration.overlaid`.
    """
    configuration = defaults()
    for path in files:
        configuration = configuration.overlaid(path)
    return configuration
