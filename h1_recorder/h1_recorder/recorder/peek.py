# SPDX-License-Identifier: Apache-2.0
"""A few bytes of each message, looked at as it arrives: the message itself is never decoded while recording.

A `Peek` finds stamp and `seq` where every message of ours has them, and of two streams a little more; where the
definition in the journal says otherwise, it sees nothing, and the message is journaled all the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from rosbags.interfaces import Nodetype

from h1_recorder.recorder.definitions import DefinitionError, Fields, MessageError, parsed
from h1_recorder.recorder.streams import ARM_STATUS, SESSION_STATE
from h1_training_node.clock import NS_PER_S

_ENCAPSULATION = 4
_HEAD, _SEQ, _LENGTH = struct.Struct("<iII"), struct.Struct("<Q"), struct.Struct("<I")
_ARM = struct.Struct("<QB3xiI")
"""`seq`, `mode` and `mode_since` of an arm_status as they are packed: they are read fifty times a second."""
_SAMPLE = 64
_IMAGE_FIELDS = {
    kind: (struct.Struct(order + "iI"), struct.Struct(order + "I")) for kind, order in ((b"\0\0", ">"), (b"\0\1", "<"))
}
"""Stamp and length of a CompressedImage, by the first bytes of its encapsulation."""
_STRINGS = 12
"""Behind encapsulation and stamp: two strings, then the image."""


def _base(name: str) -> tuple[Nodetype, tuple[str, int]]:
    return (Nodetype.BASE, (name, 0))


_JOINTS = (Nodetype.ARRAY, (_base("float32"), 14))
_JOINT_BYTES = 4 * 14
_HEADER = ("header", (Nodetype.NAME, "std_msgs/msg/Header"))
_SEQ_FIELD = ("seq", _base("uint64"))
_STATE_FIELD = ("state", _base("string"))
_ARM_FIELDS = [
    ("mode", _base("uint8")),
    ("mode_since", (Nodetype.NAME, "builtin_interfaces/msg/Time")),
    ("reason", _base("string")),
    ("acknowledge_needed", _base("bool")),
    ("fault", _base("string")),
    ("transition", _base("bool")),
    ("weight", _base("float32")),
    ("q", _JOINTS),
    ("dq", _JOINTS),
    ("tau_est", _JOINTS),
]


class Glance(NamedTuple):
    """What was seen of a message; a tuple, because one is made 300 times a second.

    Attributes:
        stamp_ns: of its header; None if it has none.
        seq: its number, if it has one.
        text: `state` of a session/state, `reason` of an arm_status.
        mode: of an arm_status.
        measured: of an arm_status the bytes of q, dq and tau_est.
    """

    stamp_ns: int | None = None
    seq: int | None = None
    text: str | None = None
    mode: int | None = None
    measured: bytes = b""


_NOTHING = Glance()


class Peek:
    """Looks at the messages of one stream.

    Args:
        name: of the stream.
        schema: its `ros2msg` definition.
        type_name: its type.

    Attributes:
        has_seq: messages have a number; without one nothing but the stamp is ever seen.
    """

    def __init__(self, name: str, schema: str, type_name: str) -> None:
        try:
            fields: Fields = parsed(schema, type_name)[type_name]
        except DefinitionError:
            fields = []
        self._has_header = fields[:1] == [_HEADER]
        self.has_seq = self._has_header and fields[1:2] == [_SEQ_FIELD]
        self._is_arm = name == ARM_STATUS and self.has_seq and fields[2 : 2 + len(_ARM_FIELDS)] == _ARM_FIELDS
        self._is_state = name == SESSION_STATE and self.has_seq and fields[2:3] == [_STATE_FIELD]

    def read(self, raw: bytes) -> Glance:
        """What is seen; nothing if the type has no header or the message is broken."""
        if not self._has_header:
            return _NOTHING
        try:
            return self._read(raw)
        except (struct.error, IndexError):
            return _NOTHING

    def _read(self, raw: bytes) -> Glance:
        if raw[1] != 1:
            return _NOTHING  # not little-endian CDR
        sec, nanosec, length = _HEAD.unpack_from(raw, _ENCAPSULATION)
        stamp_ns = sec * NS_PER_S + nanosec
        if not self.has_seq:
            return Glance(stamp_ns)
        end = _HEAD.size + length
        at = _ENCAPSULATION + end + -end % 8
        if self._is_arm:
            seq, mode, _, _ = _ARM.unpack_from(raw, at)
            reason, at = _string(raw, at + _ARM.size)
            _, at = _string(raw, at + 1)  # behind acknowledge_needed
            at += 1 + -(at + 1) % 4 + 4  # transition and weight
            return Glance(stamp_ns, seq, reason, mode, raw[at : at + 3 * _JOINT_BYTES])
        seq = _SEQ.unpack_from(raw, at)[0]
        return Glance(stamp_ns, seq, _string(raw, at + _SEQ.size)[0] if self._is_state else None)


def _string(raw: bytes, at: int) -> tuple[str, int]:
    """The string at or behind `at`, aligned to 4, and where it ends."""
    at += -at % 4
    length = _LENGTH.unpack_from(raw, at)[0]
    end = at + _LENGTH.size + length
    if end > len(raw):
        raise IndexError("a string that is longer than its message")
    return raw[at + _LENGTH.size : end - 1].decode("utf-8", "replace"), end


@dataclass(frozen=True)
class RawImage:
    """A serialized CompressedImage, taken apart without copying the image.

    Attributes:
        stamp_ns: of its header.
        format: as its sender wrote it.
        data: the image, a view.
    """

    stamp_ns: int
    format: str
    data: memoryview


def read_image(raw: bytes | memoryview) -> RawImage:
    """A serialized CompressedImage, of either byte order.

    Raises:
        MessageError: it is none.
    """
    try:
        stamp, length = _IMAGE_FIELDS[bytes(raw[:2])]
        sec, nanosec = stamp.unpack_from(raw, _ENCAPSULATION)
        at, text = _STRINGS, ""
        for _ in ("frame_id", "format"):
            end = at + length.size + length.unpack_from(raw, at)[0]
            text = bytes(raw[at + length.size : end]).rstrip(b"\0").decode("utf-8", "replace")
            at = end + -end % 4
        start = at + length.size
        end = start + length.unpack_from(raw, at)[0]
    except (struct.error, IndexError, KeyError):
        raise MessageError(f"{len(raw)} bytes that are no CompressedImage") from None
    if end > len(raw):
        raise MessageError(f"message ends at byte {len(raw)}; an image up to {end} was announced")
    return RawImage(sec * NS_PER_S + nanosec, text, memoryview(raw)[start:end])


def is_same_image(raw: bytes, before: bytes) -> bool:
    """Whether two serialized images hold the same image; costs a microsecond unless they do, or nearly.

    A few bytes of the middle and of the end differ between any two images of a camera that lives; some cameras pad.

    Only the images are compared: the bytes between the strings before them are whatever was in the sender's memory.
    """
    size = len(raw)
    middle = slice(size // 2, size // 2 + _SAMPLE)
    if size != len(before) or raw[middle] != before[middle] or raw[-_SAMPLE:] != before[-_SAMPLE:]:
        return False
    try:
        return bytes(read_image(raw).data) == bytes(read_image(before).data)
    except MessageError:
        return False
