# SPDX-License-Identifier: Apache-2.0
"""Message definitions as text: found in the ament index, put into the journal, and read from there again.

A journal carries the full definition of every message in it (MCAP's `ros2msg` schemas), so that it is read by what
it says itself and not by the message packages of whatever machine it ends up on. Format: https://mcap.dev/spec/registry
("ros2msg"): the type's own .msg text, then for each dependency a line of 80 `=`, `MSG: pkg/Name`, and its text.

Definitions are parsed, and messages decoded, by `rosbags`: it was measured at half the time of decoding by hand for
the arms of a minute. Only images, which it copies, are cut out of their messages by hand (`raw_message`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.msg import get_types_from_msg
from rosbags.typesys.store import Typestore

SEPARATOR = "=" * 80
_ENCAPSULATION = 4

Fields = list[tuple[str, Any]]
"""Name and type of each field, as rosbags has them."""


class DefinitionError(ValueError):
    """A message definition is missing or cannot be parsed; the message names the type."""


class MessageError(ValueError):
    """A serialized message is not what its definition says."""


def parsed(text: str, type_name: str) -> dict[str, Fields]:
    """The fields of a type and of all types in its `ros2msg` schema, by `pkg/msg/Name`.

    Raises:
        DefinitionError: the text is no definition.
    """
    try:
        return {name: fields for name, (_, fields) in get_types_from_msg(text, type_name).items()}
    except (TypesysError, ValueError, IndexError, RecursionError) as error:
        raise DefinitionError(f"cannot read the definition of {type_name}: {str(error).splitlines()[0]}") from None


def installed_text(type_name: str) -> str:
    """The .msg text of one installed type, from the ament index.

    Raises:
        DefinitionError: the package or the message is not installed.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory  # not to read journals

    package, *_, name = type_name.split("/")
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
    parts: list[str] = []
    seen, todo = {type_name}, [type_name]
    while todo:
        name = todo.pop(0)
        text = text_of(name)
        package, *_, short = name.split("/")
        parts.append(text.rstrip("\n") if not parts else f"{SEPARATOR}\nMSG: {package}/{short}\n{text.rstrip()}")
        needed = [_nested(kind) for _, kind in parsed(text, name)[name]]
        todo += [base for base in dict.fromkeys(needed) if base and base not in seen]
        seen.update(filter(None, needed))
    return "\n".join(parts) + "\n"


def _nested(kind: Any) -> str:
    """The message type that a field is made of; empty for a primitive."""
    node, what = kind
    if node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return _nested(what[0])
    return str(what) if node == Nodetype.NAME else ""


class Decoder:
    """Decodes the messages of one type by the definition that a journal has of it.

    Args:
        schema: `ros2msg` text.
        type_name: e.g. `std_msgs/msg/Header`.

    Raises:
        DefinitionError: the schema cannot be used.
    """

    def __init__(self, schema: str, type_name: str) -> None:
        self._type = type_name
        self._store = Typestore()
        types = parsed(schema, type_name)
        self.fields = types[type_name]
        try:
            self._store.register({name: ([], fields) for name, fields in types.items()})
            for name in types:  # compiled on first use, else
                self._store.get_msgdef(name)
            self._definition = self._store.get_msgdef(type_name)
        except (TypesysError, KeyError, ValueError, TypeError, SyntaxError) as error:
            raise DefinitionError(f"cannot use the definition of {type_name}: {error!r}") from None

    def decode(self, raw: bytes | memoryview) -> Any:
        """The message, with its fields as attributes; arrays and sequences of numbers are numpy arrays.

        Raises:
            MessageError: too short, not CDR, or a length that cannot be.
        """
        definition = self._definition
        order = bytes(raw[:2])
        if order not in (b"\0\0", b"\0\1"):
            raise MessageError(f"not plain CDR: {order.hex(' ') or 'no bytes'}; expected 00 00 or 00 01")
        read = definition.deserialize_cdr_le if order[1] else definition.deserialize_cdr_be
        try:  # not `Typestore.deserialize_cdr`: it refuses what Fast CDR leaves behind a message of empty sequences
            return read(memoryview(raw)[_ENCAPSULATION:], 0, definition.cls, self._store)[0]
        except (SerdeError, struct.error, ValueError, MemoryError, IndexError, OverflowError) as error:
            raise MessageError(f"{self._type} of {len(raw)} bytes: {error}") from None


@lru_cache(maxsize=64)
def decoder(schema: str, type_name: str) -> Decoder:
    """As `Decoder`, made once."""
    return Decoder(schema, type_name)


def stamp_ns(message: Any) -> int:
    """The stamp of a decoded message's header, ns since the Unix epoch.

    Raises:
        MessageError: it has no header.
    """
    try:
        return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
    except AttributeError:
        raise MessageError("a message without a header") from None
