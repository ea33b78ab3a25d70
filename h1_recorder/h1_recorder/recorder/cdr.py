"""Reads serialized ROS 2 messages (CDR) by their definition, without rclpy and without message packages.

A definition is compiled once to a few steps: runs of fixed-size values, which one `struct` call reads, and between
them strings and sequences. CDR aligns each value to its size, counted from behind the 4-byte encapsulation header;
after a string the alignment depends on the string, so a run has one `struct` for each of the eight offsets.
Plain CDR of either byte order is read (OMG DDSI-RTPS 2.5 §10.5, identifiers 0x0000 and 0x0001): what Fast DDS and
Cyclone DDS send for final types.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from h1_recorder.recorder.definitions import PRIMITIVES, Field, parse_schema, short_name

_HEADER = 4
_LENGTH = {"<": struct.Struct("<I"), ">": struct.Struct(">I")}
_LARGEST_SEQUENCE_OF_MESSAGES = 1_000_000


class CdrError(ValueError):
    """The bytes are not what the definition says."""


class _Run:
    """Consecutive fixed-size values: names, and a struct for each byte order and alignment."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str, int, int | None]] = []
        self._structs: dict[tuple[str, int], struct.Struct] = {}

    def struct_at(self, order: str, offset: int) -> struct.Struct:
        """The struct that reads this run from `offset` on (counted from behind the encapsulation header)."""
        key = (order, offset % 8)
        found = self._structs.get(key)
        if found is None:
            code, position = order, offset % 8
            for _, letter, size, count in self.fields:
                padding = -position % size
                code += f"{padding}x" * bool(padding) + (letter if count is None else f"{count}{letter}")
                position += padding + size * (1 if count is None else count)
            found = self._structs[key] = struct.Struct(code)
        return found

    def read(self, cursor: _Cursor, into: dict[str, Any]) -> None:
        reader = self.struct_at(cursor.order, cursor.offset)
        values = cursor.unpack(reader)
        at = 0
        for name, _, _, count in self.fields:
            if count is None:
                into[name] = values[at]
                at += 1
            else:
                into[name] = values[at : at + count]
                at += count


class _Cursor:
    """A position in one message."""

    __slots__ = ("data", "offset", "order")

    def __init__(self, raw: bytes | memoryview) -> None:
        if len(raw) < _HEADER or raw[0] != 0 or raw[1] > 1:
            raise CdrError(f"not plain CDR: {bytes(raw[:_HEADER]).hex(' ') or 'no bytes'}; expected 00 00 or 00 01")
        self.order = "<" if raw[1] else ">"
        self.data = memoryview(raw)[_HEADER:]
        self.offset = 0

    def align(self, size: int) -> None:
        self.offset += -self.offset % size

    def unpack(self, reader: struct.Struct) -> tuple[Any, ...]:
        try:
            values = reader.unpack_from(self.data, self.offset)
        except struct.error:
            raise CdrError(f"message ends at byte {len(self.data)}, within a value at {self.offset}") from None
        self.offset += reader.size
        return values

    def length(self) -> int:
        self.align(4)
        return int(self.unpack(_LENGTH[self.order])[0])

    def take(self, size: int) -> memoryview:
        end = self.offset + size
        if end > len(self.data):
            raise CdrError(f"message ends at byte {len(self.data)}; {size} bytes were announced at {self.offset}")
        part = self.data[self.offset : end]
        self.offset = end
        return part

    def string(self) -> str:
        return bytes(self.take(self.length())).rstrip(b"\0").decode("utf-8", errors="replace")


class _String:
    def __init__(self, name: str, count: int | None) -> None:
        self.name, self.count = name, count

    def read(self, cursor: _Cursor, into: dict[str, Any]) -> None:
        if self.count is None:
            into[self.name] = cursor.string()
            return
        count = cursor.length() if self.count < 0 else self.count
        if count > len(cursor.data):
            raise CdrError(f"{self.name} announces {count} strings in a message of {len(cursor.data)} bytes")
        into[self.name] = [cursor.string() for _ in range(count)]


class _Sequence:
    """A sequence of primitives: a numpy view, or for bytes a memoryview, neither of which copies."""

    def __init__(self, name: str, letter: str, size: int) -> None:
        self.name, self.letter, self.size = name, letter, size

    def read(self, cursor: _Cursor, into: dict[str, Any]) -> None:
        count = cursor.length()
        if count:
            cursor.align(self.size)
        part = cursor.take(count * self.size)
        into[self.name] = part if self.letter == "B" else np.frombuffer(part, np.dtype(cursor.order + self.letter))


class _Messages:
    """A fixed array or a sequence of messages: a list of dicts."""

    def __init__(self, name: str, steps: list[_Step], count: int) -> None:
        self.name, self.steps, self.count = name, steps, count

    def read(self, cursor: _Cursor, into: dict[str, Any]) -> None:
        count = cursor.length() if self.count < 0 else self.count
        if count > min(len(cursor.data), _LARGEST_SEQUENCE_OF_MESSAGES):
            raise CdrError(f"{self.name} announces {count} messages in {len(cursor.data)} bytes")
        items: list[dict[str, Any]] = []
        for _ in range(count):
            item: dict[str, Any] = {}
            for step in self.steps:
                step.read(cursor, item)
            items.append(item)
        into[self.name] = items


_Step = _Run | _String | _Sequence | _Messages


class Layout:
    """A compiled definition.

    Args:
        schema: `ros2msg` text (see `definitions`).
        type_name: of the message that it describes.
        until: name of the last top-level field that is wanted; later ones are not read. None reads all.

    Raises:
        DefinitionError: the schema cannot be parsed.
        CdrError: a type that this reader does not know (`wstring`), or a field `until` that is not there.
    """

    def __init__(self, schema: str, type_name: str, until: str | None = None) -> None:
        self._types = parse_schema(schema, type_name)
        fields = self._types[short_name(type_name)]
        if until is not None:
            names = [field.name for field in fields]
            if until not in names:
                raise CdrError(f"{type_name} has no field '{until}'; it has {', '.join(names)}")
            fields = fields[: names.index(until) + 1]
        self._steps: list[_Step] = []
        self._compile(fields, "", self._steps)

    def decode(self, raw: bytes | memoryview) -> dict[str, Any]:
        """The fields of one message, nested ones as `header.stamp.sec`.

        Fixed arrays are tuples; sequences of numbers are numpy arrays and sequences of bytes memoryviews, both
        views into `raw`; sequences of messages are lists of dicts.

        Raises:
            CdrError: too short, not CDR, or a length that cannot be.
        """
        cursor = _Cursor(raw)
        values: dict[str, Any] = {}
        for step in self._steps:
            step.read(cursor, values)
        return values

    def _compile(self, fields: tuple[Field, ...], prefix: str, steps: list[_Step]) -> None:
        if not fields:  # IDL has no empty struct; rosidl puts one byte there
            fields = (Field("structure_needs_at_least_one_member", "uint8", None),)
        for field in fields:
            name = prefix + field.name
            if field.base in PRIMITIVES:
                letter, size = PRIMITIVES[field.base]
                if field.count == -1:
                    steps.append(_Sequence(name, letter, size))
                    continue
                if not steps or not isinstance(steps[-1], _Run):
                    steps.append(_Run())
                run = steps[-1]
                assert isinstance(run, _Run)
                run.fields.append((name, letter, size, field.count))
            elif field.base == "string":
                steps.append(_String(name, field.count))
            elif field.base not in self._types:
                raise CdrError(f"field '{name}' is of type {field.base}, which this reader does not know")
            elif field.count is None:
                self._compile(self._types[field.base], name + ".", steps)
            else:
                inner: list[_Step] = []
                self._compile(self._types[field.base], "", inner)
                steps.append(_Messages(name, inner, field.count))


def stamp_ns(values: dict[str, Any], field: str = "header.stamp") -> int:
    """A decoded `builtin_interfaces/Time` in ns since the Unix epoch."""
    return int(values[f"{field}.sec"]) * 1_000_000_000 + int(values[f"{field}.nanosec"])
