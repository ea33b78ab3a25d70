# SPDX-License-Identifier: Apache-2.0
"""YAML as a person reads it: what PyYAML would silently drop or read as something else is refused, with its line.

YAML 1.1, which PyYAML implements, keeps the last of two equal keys, and has numbers that a person reads otherwise:
`010` is 8 (octal), `1:30` is 90 (base 60), `1e3` is text. Who sets a speed limit must not find out on the robot.
Sources: yaml.org/spec/1.1, sections 3.2.1.1 (keys are unique), and yaml.org/type/int.html, float.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_BASE_60 = re.compile(r"[-+]?\d+(:\d+)+(\.\d*)?")
_TIMESTAMP = _TAG + "timestamp"


class StrictYamlError(ValueError):
    """Text that is no YAML, or that YAML reads otherwise than it looks; the message names line and key."""


def document(text: str) -> yaml.Node | None:
    """The node of the one document in `text`, in which no mapping has a key twice; None if it is empty.

    Raises:
        StrictYamlError: it is not YAML, a key is given twice, or it is nested too deeply.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is not None:
                _check(root, "", frozenset(), set())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise StrictYamlError(f"is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise StrictYamlError("is nested too deeply") from None
    return root


def load(text: str) -> Any:
    """The content of `text` as plain Python values, as `yaml.safe_load` has it.

    Raises:
        StrictYamlError: see `document`; or a number is one that YAML reads otherwise than a person.
    """
    root = document(text)
    return None if root is None else value(root)


def value(node: yaml.Node) -> Any:
    """What `node` holds, as a plain Python value.

    Raises:
        StrictYamlError: see `load`.
    """
    if isinstance(node, yaml.MappingNode):
        return {value(key): value(item) for key, item in pairs(node)}
    if isinstance(node, yaml.SequenceNode):
        return [value(item) for item in node.value]
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if is_plain and (_DECIMAL.fullmatch(node.value) or _BASE_60.fullmatch(node.value)):
        return number(node)
    return node.value if node.tag == _TIMESTAMP else _constructed(node)


def number(node: yaml.Node) -> Any:
    """The plain value of the scalar `node`, refused if it is a number that YAML reads otherwise than a person.

    Raises:
        StrictYamlError: so it is; with both readings.
    """
    read = _constructed(node)
    if _BASE_60.fullmatch(node.value):
        raise StrictYamlError(
            f"line {line(node)}: YAML reads {node.value} as {read!r} (base 60); write that, or quote it"
        )
    if _DECIMAL.fullmatch(node.value):
        is_whole = node.value.lstrip("+-").isdecimal()  # a float cannot hold every whole number
        meant = int(node.value) if is_whole else float(node.value)
        if read != meant:
            found = f"the text '{read}'" if isinstance(read, str) else f"{read} (octal)"
            raise StrictYamlError(f"line {line(node)}: YAML reads {node.value} as {found}; write {meant!r}")
    return read


def pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of a mapping; what it merges (`<<`) stands first, so that its own go over it."""
    merged = [item for key, item in node.value if key.tag == _TAG + "merge"]
    for item in merged:
        for mapping in reversed(item.value) if isinstance(item, yaml.SequenceNode) else [item]:
            if not isinstance(mapping, yaml.MappingNode):
                raise StrictYamlError(f"line {line(item)}: '<<' merges mappings only")
            yield from pairs(mapping)
    yield from ((key, item) for key, item in node.value if key.tag != _TAG + "merge")


def line(node: yaml.Node) -> int:
    """Where `node` begins, counted from 1."""
    return int(node.start_mark.line) + 1


def _constructed(node: yaml.Node) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise StrictYamlError(f"line {line(node)}: {' '.join(str(error).split())}") from None


def _check(node: yaml.Node, path: str, above: frozenset[int], checked: set[int]) -> None:
    """Every mapping at and below `node` has each key once, and nothing contains itself."""
    if id(node) in above:
        raise StrictYamlError(f"line {line(node)}: '{path}' contains itself")
    if id(node) in checked:
        return
    checked.add(id(node))
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, path, above, checked)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise StrictYamlError(f"line {line(key)}: a key is a name; found a {key.id}")
            name = f"{path}.{key.value}" if path else key.value
            if key.value in lines:
                raise StrictYamlError(f"'{name}' is given twice, in lines {lines[key.value]} and {line(key)}; keep one")
            lines[key.value] = line(key)
            _check(item, name, above, checked)
