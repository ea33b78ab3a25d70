# SPDX-License-Identifier: Apache-2.0
"""What may be wrong with a simulated camera: one line of text each, as `std_msgs/String` on `sim/cameras/fault`.

`FAULTS` is the list. `clear` makes all cameras well again, `clear CAMERA` one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from h1_training_node.cameras import CAMERAS

FAULTS = {
    "stop": "no frames at all",
    "freeze": "the same bytes again and again",
    "slow": "only every N-th frame; needs N",
    "corrupt": "a JPEG with noise in its middle",
    "truncated": "a JPEG that ends early",
    "empty": "a message of no bytes",
    "oversized": "a JPEG with 20 MB behind it",
    "wrong_shape": "a sound JPEG of 320 x 240",
}
_OVERSIZE = 20_000_000
_LARGEST_DIVISOR = 1000


class CameraFaultError(ValueError):
    """A line that is no fault; the text says what would be one."""


@dataclass(frozen=True)
class _Fault:
    kind: str
    divisor: int = 1


class CameraFaults:
    """Which camera has which fault now, and what becomes of its frames."""

    def __init__(self) -> None:
        self._faults: dict[str, _Fault] = {}
        self._last: dict[str, bytes] = {}
        self._count = dict.fromkeys(CAMERAS, 0)
        self._random = np.random.default_rng(8)

    def apply(self, line: str) -> None:
        """Take a line such as `"freeze cam_left_wrist"` or `"slow ego_cam 6"`.

        Raises:
            CameraFaultError: no such fault or camera.
        """
        kind, *rest = line.split() or [""]
        if kind == "clear" and not rest:
            self._faults.clear()
            return
        expects = 2 if kind == "slow" else 1
        if kind not in {*FAULTS, "clear"} or len(rest) != expects or rest[0] not in CAMERAS:
            known = ", ".join(f"{name} ({meaning})" for name, meaning in FAULTS.items())
            raise CameraFaultError(
                f"cannot do '{line}'; expected: clear, or FAULT CAMERA with {' '.join(CAMERAS)}: {known}"
            )
        if kind == "clear":
            self._faults.pop(rest[0], None)
            return
        self._faults[rest[0]] = _Fault(kind, _divisor(rest[1]) if kind == "slow" else 1)

    def has(self, key: str, kind: str) -> bool:
        """Whether the camera has this fault now."""
        return key in self._faults and self._faults[key].kind == kind

    def is_due(self, key: str) -> bool:
        """Whether the camera delivers anything this time; to be asked once a frame."""
        self._count[key] += 1
        fault = self._faults.get(key)
        if fault is None:
            return True
        return fault.kind != "stop" and self._count[key] % fault.divisor == 0

    def spoiled(self, key: str, jpeg: bytes) -> bytes:
        """What the camera delivers instead of the sound frame `jpeg`."""
        fault = self._faults.get(key)
        if fault is not None and fault.kind == "freeze" and key in self._last:
            return self._last[key]
        self._last[key] = jpeg
        return jpeg if fault is None else self._bytes(fault.kind, jpeg)

    def _bytes(self, kind: str, jpeg: bytes) -> bytes:
        if kind == "corrupt":
            third = len(jpeg) // 3
            return jpeg[:third] + self._random.bytes(third) + jpeg[2 * third :]
        if kind == "truncated":
            return jpeg[: len(jpeg) // 2]
        if kind == "empty":
            return b""
        if kind == "oversized":
            return jpeg + bytes(_OVERSIZE)
        if kind == "wrong_shape":
            return cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes()
        return jpeg


def _divisor(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LARGEST_DIVISOR:
        raise CameraFaultError(f"'{text}' is no divisor; expected a whole number from 1 to {_LARGEST_DIVISOR}")
    return int(text)
