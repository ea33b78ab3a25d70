# SPDX-License-Identifier: Apache-2.0
"""One ZeroMQ message of an image server: a bare JPEG, or a device's stamp and a JPEG.

Source: `unitreerobotics/xr_teleoperate:teleop/image_server/image_server.py` before teleimager: with `Unit_Test`, twelve
bytes `struct.pack('dI', time.time(), frame_id)` (the server's native order, little-endian) come first. The newer
teleimager sends bare JPEGs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from h1_training_bringup.head_camera.jpeg import BadJpegError, JpegHeader, jpeg_header

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
