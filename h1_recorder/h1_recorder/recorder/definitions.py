"""Message definitions as text: found in the ament index, put into the journal, and parsed from there again.

A journal carries the full definition of every message in it (MCAP's `ros2msg` schemas), so that it is read by what
it says itself and not by the message packages of whatever machine it ends up on. Format: https://mcap.dev/spec/registry
("ros2msg"): the type's own .msg text, then for each dependency a line of 80 `=`, `MSG: pkg/Name`, and its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = "=" * 80

PRIMITIVES: dict[str, tuple[str, int]] = {
    "bool": ("?", 1),
    "byte": ("B", 1),
    "char": ("B", 1),
    "int8": ("b", 1),
    "uint8": ("B", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "uint64": ("Q", 8),
    "float32": ("f", 4),
    "float64": ("d", 8),
}
"""struct code and size in bytes of every fixed-size primitive of a .msg file."""

_FIELD = re.compile(
    r"^(?P<base>[A-Za-z][\w/]*)(?:<=\d+)?(?P<array>\[(?:<=)?\d*\])?\s+(?P<name>[a-z]\w*)\s*(?P<rest>.*)$",
)


class DefinitionError(ValueError):
    """A message definition is missing or cannot be parsed; the message names the type."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        name: the field's name.
        base: a primitive of `PRIMITIVES`, `string`, or a type `pkg/Name`.
        count: None for a single value, -1 for a sequence, else the length of a fixed array.
    """

    name: str
    base: str
    count: int | None


def short_name(type_name: str) -> str:
    """`pkg/msg/Name` or `pkg/Name` as `pkg/Name`, which is how dependencies are named in a schema."""
    package, *_, name = type_name.split("/")
    return f"{package}/{name}"


def parse_fields(text: str, package: str) -> tuple[Field, ...]:
    """The fields of one .msg text; constants, comments and default values are left out.

    Args:
        text: of one message, without its dependencies.
        package: in which a type named without a package is looked for.

    Raises:
        DefinitionError: a line that is neither a field nor a constant nor a comment.
    """
    fields = []
    for line in text.splitlines():
        code = line.split("#", 1)[0].strip()
        if not code:
            continue
        match = _FIELD.match(code)
        if match is None:
            if "=" in code:
                continue  # a constant: NAME=value
            raise DefinitionError(f"cannot read the line {line!r} of a message of package {package}")
        if match["rest"].startswith("="):
            continue  # a constant with a lower-case name
        base = match["base"]
        if base not in PRIMITIVES and base not in ("string", "wstring"):
            base = short_name(base if "/" in base else f"{'std_msgs' if base == 'Header' else package}/{base}")
        fields.append(Field(match["name"], base, _array_count(match["array"])))
    return tuple(fields)


def _array_count(array: str | None) -> int | None:
    """None for no array, -1 for a sequence (bounded or not), else the fixed length."""
    if array is None:
        return None
    inside = array[1:-1]
    return -1 if not inside or inside.startswith("<=") else int(inside)


def parse_schema(text: str, type_name: str) -> dict[str, tuple[Field, ...]]:
    """A whole `ros2msg` schema: the fields of the type itself and of every type that it needs, by `pkg/Name`.

    Raises:
        DefinitionError: a part without its `MSG:` line, or a line that cannot be parsed.
    """
    own, *others = re.split(rf"^{SEPARATOR}\n", text, flags=re.MULTILINE)
    root = short_name(type_name)
    types = {root: parse_fields(own, root.split("/")[0])}
    for part in others:
        first, _, body = part.partition("\n")
        if not first.startswith("MSG: "):
            raise DefinitionError(f"the schema of {type_name} has a part without a 'MSG:' line: {first!r}")
        name = short_name(first.removeprefix("MSG: ").strip())
        types[name] = parse_fields(body, name.split("/")[0])
    return types


def installed_text(type_name: str) -> str:
    """The .msg text of one installed type, from the ament index.

    Raises:
        DefinitionError: the package or the message is not installed.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory  # not to read journals

    package, name = short_name(type_name).split("/")
    try:
        share = Path(get_package_share_directory(package))
    except (PackageNotFoundError, ValueError) as error:
        raise DefinitionError(f"package '{package}' of type {type_name} is not installed here: {error}") from None
    path = share / "msg" / f"{name}.msg"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"no definition of {type_name}: {error}") from None


def schema_text(type_name: str, text_of: Callable[[str], str] = installed_text) -> str:
    """The `ros2msg` schema of a type: its own text, then that of everything it needs, each once.

    Args:
        type_name: e.g. `sensor_msgs/msg/CompressedImage`.
        text_of: gives the .msg text of one type.

    Raises:
        DefinitionError: a type of the tree is not installed or cannot be parsed.
    """
    root = short_name(type_name)
    own = text_of(root)
    parts, seen, todo = [own.rstrip("\n")], {root}, list(parse_fields(own, root.split("/")[0]))
    while todo:
        base = todo.pop(0).base
        if "/" not in base or base in seen:
            continue
        seen.add(base)
        text = text_of(base)
        parts.append(f"{SEPARATOR}\nMSG: {base}\n{text.rstrip()}")
        todo.extend(parse_fields(text, base.split("/")[0]))
    return "\n".join(parts) + "\n"
