# SPDX-License-Identifier: Apache-2.0
"""unitree_hg LowState and LowCmd as they are on the wire, read and written in microseconds through numpy dtypes.

Each message has two layouts, and they are easily confused (unitree_ros2: unitree_hg/msg, motor_crc_hg.h):

* the **C layout** of the robot's own struct, over which the checksum is computed: `LOW_CMD` (1004 B) and `LOW_STATE`
  (2092 B);
* the **CDR layout** on the wire: CDR aligns members and not structs, so everything up to the first motor's `mode` is
  packed tighter, the bodies are four bytes shorter, and with the four bytes of encapsulation header the totals are the
  same again. A wrong dtype passes a check of the length: `LOW_CMD_CDR`, `LOW_STATE_CDR` (header included).

From the first motor's `q` on, both layouts hold the same bytes at the same offsets; a conversion is one copy.
A record in the C layout is what the rest of this package works with. Senders leave padding bytes uninitialised, so a
record that was read has them set to zero, as the checksum wants them.

The checksum is CRC-32 with polynomial 0x04C11DB7, initial value 0xFFFFFFFF, most significant bit of each 32-bit word
first, no reflection and no final xor (unitree_ros2:example/src/src/common/motor_crc_hg.cpp). zlib's CRC is the same
polynomial, reflected and inverted; so reversing the bits of its input and output makes it ours, at 3 µs instead of 300.
"""

from __future__ import annotations

import zlib
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOTORS = 35
_CDR_LITTLE_ENDIAN = b"\x00\x01"
_HEADER = _CDR_LITTLE_ENDIAN + b"\x00\x00"
_TRAILING_PADDING = 8
"""Other DDS vendors pad a sample's end; more than this is another message."""

_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))

Record = NDArray[np.void]


class WireError(ValueError):
    """A sample that is not the message that it should be; the text says what was found and what was expected."""


class CrcError(WireError):
    """A well-formed sample whose checksum is wrong."""


def crc32_core(data: bytes) -> int:
    """The checksum of `data`, little-endian 32-bit words.

    Raises:
        ValueError: the length is not a multiple of four.
    """
    return int.from_bytes(_remainder(data).to_bytes(4, "big").translate(_REVERSED_BITS), "little")


def _remainder(data: bytes) -> int:
    """The checksum with its bits reversed; 0 for data that end in their own checksum."""
    words = array("I", data.translate(_REVERSED_BITS))
    words.byteswap()
    return zlib.crc32(words) ^ 0xFFFFFFFF


def _struct(size: int, *fields: tuple[str, Any, int]) -> np.dtype[np.void]:
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": list(names), "formats": list(formats), "offsets": list(offsets), "itemsize": size})


MOTOR_CMD = _struct(
    28,
    ("mode", "u1", 0),
    ("q", "<f4", 4),
    ("dq", "<f4", 8),
    ("tau", "<f4", 12),
    ("kp", "<f4", 16),
    ("kd", "<f4", 20),
    ("reserve", "<u4", 24),
)
LOW_CMD = _struct(
    1004,
    ("mode_pr", "u1", 0),
    ("mode_machine", "u1", 1),
    ("motor_cmd", (MOTOR_CMD, MOTORS), 4),
    ("reserve", ("<u4", 4), 984),
    ("crc", "<u4", 1000),
)

MOTOR_STATE = _struct(
    56,
    ("mode", "u1", 0),
    ("q", "<f4", 4),
    ("dq", "<f4", 8),
    ("ddq", "<f4", 12),
    ("tau_est", "<f4", 16),
    ("temperature", ("<i2", 2), 20),
    ("vol", "<f4", 24),
    ("sensor", ("<u4", 2), 28),
    ("motorstate", "<u4", 36),
    ("reserve", ("<u4", 4), 40),
)
IMU_STATE = _struct(
    56,
    ("quaternion", ("<f4", 4), 0),
    ("gyroscope", ("<f4", 3), 16),
    ("accelerometer", ("<f4", 3), 28),
    ("rpy", ("<f4", 3), 40),
    ("temperature", "<i2", 52),
)
LOW_STATE = _struct(
    2092,
    ("version", ("<u4", 2), 0),
    ("mode_pr", "u1", 8),
    ("mode_machine", "u1", 9),
    ("tick", "<u4", 12),
    ("imu_state", IMU_STATE, 16),
    ("motor_state", (MOTOR_STATE, MOTORS), 72),
    ("wireless_remote", ("u1", 40), 2032),
    ("reserve", ("<u4", 4), 2072),
    ("crc", "<u4", 2088),
)


def _without_mode(motor: np.dtype[np.void]) -> np.dtype[np.void]:
    """A motor from its `q` on, in strides of a whole motor; the next motor's `mode` stands in the gap."""
    assert motor.fields is not None
    fields = [(name, field[0], field[1] - 4) for name, field in motor.fields.items() if name != "mode"]
    return _struct(motor.itemsize, *fields)


def _mode_in_strides(motor: np.dtype[np.void]) -> np.dtype[np.void]:
    return _struct(motor.itemsize, ("mode", "u1", 0))


LOW_CMD_CDR = _struct(
    1004,
    ("encapsulation", "V4", 0),
    ("mode_pr", "u1", 4),
    ("mode_machine", "u1", 5),
    ("first_mode", "u1", 6),
    ("motor_cmd", (_without_mode(MOTOR_CMD), MOTORS), 8),
    ("later_modes", (_mode_in_strides(MOTOR_CMD), MOTORS - 1), 32),
    ("reserve", ("<u4", 4), 984),
    ("crc", "<u4", 1000),
)
LOW_STATE_CDR = _struct(
    2092,
    ("encapsulation", "V4", 0),
    ("version", ("<u4", 2), 4),
    ("mode_pr", "u1", 12),
    ("mode_machine", "u1", 13),
    ("tick", "<u4", 16),
    ("quaternion", ("<f4", 4), 20),
    ("gyroscope", ("<f4", 3), 36),
    ("accelerometer", ("<f4", 3), 48),
    ("rpy", ("<f4", 3), 60),
    ("imu_temperature", "<i2", 72),
    ("first_mode", "u1", 74),
    # The last motor's stride reaches four bytes into wireless_remote; its fields do not.
    ("motor_state", (_without_mode(MOTOR_STATE), MOTORS), 76),
    ("later_modes", (_mode_in_strides(MOTOR_STATE), MOTORS - 1), 128),
    ("wireless_remote", ("u1", 40), 2032),
    ("reserve", ("<u4", 4), 2072),
    ("crc", "<u4", 2088),
)


def _occupied(layout: np.dtype[np.void]) -> int:
    """0xFF where `layout` has a field, 0 where it has padding; one per byte, as a little-endian number."""
    mask = np.zeros(layout.itemsize, np.uint8)

    def mark(dtype: np.dtype[Any], at: int) -> None:
        if dtype.subdtype is not None:
            element, shape = dtype.subdtype
            for index in range(int(np.prod(shape))):
                mark(element, at + index * element.itemsize)
        elif dtype.fields is not None:
            for field, offset, *_ in dtype.fields.values():
                mark(field, at + offset)
        else:
            mask[at : at + dtype.itemsize] = 0xFF

    mark(layout, 0)
    return int.from_bytes(mask.tobytes(), "little")


_LOW_CMD_HEAD, _LOW_STATE_HEAD = 2, 70
"""Bytes before the first motor's `mode`, which CDR aligns to 1 and C to 4; from its `q` on all is in the same place."""
_MASK = {layout.itemsize: _occupied(layout) for layout in (LOW_CMD, LOW_STATE)}


def new_low_cmd() -> Record:
    """An all-zero command, C layout, shape ()."""
    return np.zeros((), LOW_CMD)


def new_low_state() -> Record:
    """An all-zero state, C layout, shape ()."""
    return np.zeros((), LOW_STATE)


def checksum(record: Record) -> int:
    """The CRC that belongs into `record` (C layout, padding zero): over everything but the crc itself."""
    return crc32_core(record.tobytes()[:-4])


def encode_low_cmd(record: Record) -> bytes:
    """A command (C layout) as a CDR sample of 1004 bytes; sets `record["crc"]`."""
    return _encoded(record, _LOW_CMD_HEAD)


def encode_low_state(record: Record) -> bytes:
    """A state (C layout) as a CDR sample of 2092 bytes; sets `record["crc"]`."""
    return _encoded(record, _LOW_STATE_HEAD)


def decode_low_cmd(sample: bytes) -> Record:
    """A CDR sample as a command in the C layout.

    Raises:
        CrcError: the checksum is wrong.
        WireError: not a little-endian LowCmd.
    """
    return np.ndarray((), LOW_CMD, bytearray(_decoded(sample, LOW_CMD, _LOW_CMD_HEAD, "LowCmd")))


def decode_low_state(sample: bytes) -> Record:
    """A CDR sample as a state in the C layout.

    Raises:
        CrcError: the checksum is wrong.
        WireError: not a little-endian LowState.
    """
    return np.ndarray((), LOW_STATE, bytearray(low_state_bytes(sample)))


def low_state_bytes(sample: bytes) -> bytes:
    """What `decode_low_state` makes a record of, for readers at 250 Hz that pick their values out of the bytes."""
    return _decoded(sample, LOW_STATE, _LOW_STATE_HEAD, "LowState")


def _encoded(record: Record, head: int) -> bytes:
    """C layout to CDR: `head` bytes and the first motor's mode close up behind the encapsulation header."""
    source = record.tobytes()[:-4]
    record["crc"] = crc = crc32_core(source)
    first_mode, rest = source[head + 2 : head + 3], source[head + 6 :]
    return b"".join((_HEADER, source[:head], first_mode, b"\x00", rest, crc.to_bytes(4, "little")))


def _decoded(sample: bytes, layout: np.dtype[np.void], head: int, name: str) -> bytes:
    """CDR to C layout: the same way back."""
    size = layout.itemsize
    if not size <= len(sample) <= size + _TRAILING_PADDING:
        raise WireError(f"{name} sample has {len(sample)} bytes; expected {size}: another message type or version")
    if sample[:2] != _CDR_LITTLE_ENDIAN:
        raise WireError(f"{name} sample is encoded as 0x{sample[:2].hex()}; expected 0x0001 (plain CDR, little-endian)")
    first_mode, rest = sample[4 + head : 5 + head], sample[6 + head : size]
    source = b"".join((sample[4 : 4 + head], b"\x00\x00", first_mode, b"\x00\x00\x00", rest))
    # As one number: out of cold caches numpy takes longer for this.
    source = (int.from_bytes(source, "little") & _MASK[size]).to_bytes(size, "little")
    if _remainder(source) != 0:
        found, expected = int.from_bytes(source[-4:], "little"), crc32_core(source[:-4])
        raise CrcError(f"{name} sample has checksum 0x{found:08X}; computed 0x{expected:08X}")
    return source
