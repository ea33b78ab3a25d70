# SPDX-License-Identifier: Apache-2.0
"""One ZeroMQ message of an image server: a bare JPEG, or a device's stamp and a JPEG, and whether that is whole.

Source: `unitreerobotics/xr_teleoperate:teleop/image_server/image_server.py` before teleimager: with `Unit_Test`, twelve
bytes `struct.pack('dI', time.time(), frame_id)` (the server's native order, little-endian) come first. The newer
teleimager sends bare JPEGs.

Of a JPEG only the markers are looked at (ISO/IEC 10918-1, annex B): size, block grid, its end; at the speed of a
regular expression, some 20 us for 60 kB. This finds every frame that was cut short and most that were damaged on the
way; it is no proof that the image is good.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SOI = b"\xff\xd8"
_SOS, _EOI, _DHT, _DNL = 0xDA, 0xD9, 0xC4, 0xDC
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_BETWEEN_SCANS = frozenset({_SOS, _DHT, 0xDB, _DNL, 0xDD, 0xFE}) | frozenset(range(0xE0, 0xF0))
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length: TEM and the restart markers."""

_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""Within a scan, FF is followed by 00 (a stuffed byte) or a restart marker; anything else is a marker."""

_PADDING = b"\x00"
"""USB cameras pad their buffers with zeros behind the end of the image."""


class BadJpegError(ValueError):
    """Not a whole JPEG.

    Attributes:
        cause: `not_jpeg`, `truncated` or `corrupt`.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True)
class JpegHeader:
    """Size and block grid of a JPEG.

    Attributes:
        width: px.
        height: px.
        components: 1 grey, 3 colour, 4 colour with black.
        block_width: px; a cut without loss begins at a multiple of this.
        block_height: px, likewise.
    """

    width: int
    height: int
    components: int
    block_width: int
    block_height: int


def jpeg_header(data: bytes) -> JpegHeader:
    """Walk all markers of `data`, from the start of the image to its end.

    Raises:
        BadJpegError: it is no JPEG, ends too early, or contradicts itself.
    """
    if not data.startswith(SOI):
        raise BadJpegError("not_jpeg", f"begins with {data[:4].hex(' ') or 'nothing'}; a JPEG begins with ff d8 ff")
    header: JpegHeader | None = None
    position, in_scan = len(SOI), False
    while True:
        marker, position = _marker(data, position, in_scan)
        if marker == _EOI:
            break
        if in_scan and marker not in _BETWEEN_SCANS:
            raise BadJpegError("corrupt", f"marker ff {marker:02x} in the middle of the image data")
        if marker in _BARE:
            continue
        body, position = _segment(data, position)
        if marker in _FRAME_HEADERS:
            if header is not None:
                raise BadJpegError("corrupt", "two frame headers")
            header = _frame_header(body)
        in_scan = marker == _SOS or in_scan
        if in_scan and header is None:
            raise BadJpegError("corrupt", "image data without a frame header")
    if header is None or not in_scan:
        raise BadJpegError("corrupt", "ends without an image")
    if data[position:].strip(_PADDING):
        raise BadJpegError("corrupt", f"{len(data) - position} bytes behind the end of the image")
    return header


def _marker(data: bytes, position: int, in_scan: bool) -> tuple[int, int]:
    """The next marker and the position behind it."""
    match = (_NEXT_MARKER.search if in_scan else _NEXT_MARKER.match)(data, position)
    if match is not None:
        return data[match.end() - 1], match.end()
    if in_scan or position >= len(data) - 1:
        raise BadJpegError("truncated", f"{len(data)} bytes without an end-of-image marker")
    raise BadJpegError("corrupt", f"{data[position : position + 2].hex(' ')} where a marker should be")


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    """The body of a marker segment and the position behind it."""
    length = int.from_bytes(data[position : position + 2], "big")
    if position + max(length, 2) > len(data):
        raise BadJpegError("truncated", f"ends within a header, after {len(data)} bytes")
    if length < 2:
        raise BadJpegError("corrupt", f"a marker segment of length {length}")
    return data[position + 2 : position + length], position + length


def _frame_header(body: bytes) -> JpegHeader:
    """SOF: precision, height, width, and per component its sampling factors."""
    if len(body) < 6:
        raise BadJpegError("corrupt", "a frame header too short")
    height, width, components = struct.unpack(">xHHB", body[:6])
    if len(body) != 6 + 3 * components or components not in (1, 3, 4):
        raise BadJpegError("corrupt", f"a frame header of {components} components in {len(body)} bytes")
    if not (width and height):
        raise BadJpegError("corrupt", f"an image of {width}x{height}")
    sampling = [(body[7 + 3 * index] >> 4, body[7 + 3 * index] & 0xF) for index in range(components)]
    if not all(1 <= factor <= 4 for pair in sampling for factor in pair):
        raise BadJpegError("corrupt", "impossible sampling factors")
    if components == 1:
        return JpegHeader(width, height, 1, 8, 8)
    across, down = (max(factors) for factors in zip(*sampling, strict=True))
    return JpegHeader(width, height, components, 8 * across, 8 * down)


_JPEG = b"\xff\xd8\xff"
_STAMP = struct.Struct("<dI")


class RefusedFrameError(ValueError):
    """A frame that is not passed on.

    Attributes:
        cause: short name in snake_case, under which it is counted.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True)
class DeviceStamp:
    """What the server's header says; it decides nothing.

    Attributes:
        time_s: the server's own clock.
        frame_id: counted by the server from 0.
    """

    time_s: float
    frame_id: int


@dataclass(frozen=True)
class Frame:
    """A whole JPEG as it came, and what it says about itself."""

    jpeg: bytes
    header: JpegHeader
    device: DeviceStamp | None


def frame_of(parts: Sequence[bytes], max_bytes: int) -> Frame:
    """The frame in one ZeroMQ message.

    Args:
        parts: of the message.
        max_bytes: largest message that is looked at.

    Raises:
        RefusedFrameError: `several_parts`, `empty`, `oversized`, `not_jpeg`, `truncated` or `corrupt`.
    """
    if len(parts) != 1:
        raise RefusedFrameError("several_parts", f"a message of {len(parts)} parts; an image server sends one")
    payload = parts[0]
    if not payload:
        raise RefusedFrameError("empty", "a message without a byte")
    if len(payload) > max_bytes:
        raise RefusedFrameError("oversized", f"{len(payload)} bytes; max_frame_bytes is {max_bytes}")
    device = None
    # The inner place first: a stamp may look like a JPEG by chance, the inside of a JPEG's header never does.
    if payload.startswith(_JPEG, _STAMP.size):
        device = DeviceStamp(*_STAMP.unpack_from(payload))
        payload = payload[_STAMP.size :]
    elif payload.startswith(b"{"):
        raise RefusedFrameError("not_jpeg", "JSON, as LeRobot's camera server sends; expected Unitree's image_server")
    try:
        return Frame(payload, jpeg_header(payload), device)
    except BadJpegError as error:
        raise RefusedFrameError(error.cause, str(error)) from None
