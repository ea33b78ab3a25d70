# SPDX-License-Identifier: Apache-2.0
"""The cameras' names and topics, and the one rule by which an observation and a row choose an image.

Of a stream the newest datum counts whose time is not later than the instant in question (`newest`). The time of the
head camera's image is its stamp, by which our own driver says when it came off the wire; that of a wrist camera's
image is when it was received, because RealSense's driver stamps by another idea of time (`CAMERA_DATING`).

The policy bridge chooses from what it has received at an instant, the recorder from all that was ever stamped before
it. So for one instant both give the same image, unless one was under way then: dated before the instant and received
by the bridge after it. The row then has the later image, by one image at most while delivery takes less than a camera's
period (`h1_training_bringup/test/test_observation_parity.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
"""Their names in parameters, statuses and episode files."""

CAMERA_TOPICS = {
    "ego_cam": "head_camera/image_raw/compressed",
    "cam_left_wrist": "left_wrist_camera/color/image_raw/compressed",
    "cam_right_wrist": "right_wrist_camera/color/image_raw/compressed",
}

CAMERA_FRAMES = {
    "ego_cam": "head_camera_color_optical_frame",
    "cam_left_wrist": "left_wrist_camera_color_optical_frame",
    "cam_right_wrist": "right_wrist_camera_color_optical_frame",
}
"""Their optical frames, in the URDF; those of the wrists as RealSense's wrapper names them."""

LATE_NS = 250_000_000
"""Nothing new for so long: a stream is LATE, or FROZEN if the same comes again and again; no policy is to see it."""

ABSENT_NS = 1_000_000_000
"""Nothing at all for so long: a stream is ABSENT."""


class Dating(StrEnum):
    """Which time places a message among others."""

    STAMP = "stamp"
    RECEPTION = "reception"


CAMERA_DATING = {
    "ego_cam": Dating.STAMP,
    "cam_left_wrist": Dating.RECEPTION,
    "cam_right_wrist": Dating.RECEPTION,
}


def image_time_ns(camera: str, stamp_ns: int, received_ns: int) -> int:
    """The time that places an image: its stamp or its reception, ns of the session clock."""
    return stamp_ns if CAMERA_DATING[camera] == Dating.STAMP else received_ns


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, px, from the frame header of a JPEG (ISO/IEC 10918-1, annex B); None if it has none."""
    position = 2
    while data[position : position + 1] == b"\xff" and position + 9 <= len(data):
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def newest(times_ns: npt.NDArray[np.int64] | Sequence[int], at_ns: Any) -> Any:
    """Index of the newest of `times_ns` (N,), ascending, that is not later than `at_ns`; -1 where there is none.

    Args:
        times_ns: of a stream's data.
        at_ns: an instant, or (T,) instants; the result has its shape.
    """
    return np.searchsorted(times_ns, at_ns, side="right").astype(np.int64) - 1
