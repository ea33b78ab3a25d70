"""Pictures on their way into an episode: a camera's own JPEG stays untouched, all else becomes JPEG quality 85."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise, starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.tracks import CameraTrack, is_jpeg

JPEG_QUALITY = 85
PASSTHROUGH, ENCODED = "passthrough", "q85"
_ENCODED_BY_DRIVER = re.compile(r" (q\d+)$")
_TAIL = 64
_LARGEST_ENCODED = 1_000_000
_DUMMY_SHAPE, _DUMMY_GREY = (480, 640, 3), 128


class ImageError(ValueError):
    """A picture that cannot be decoded."""


def encode(image: Any) -> bytes:
    """A (H, W, 3) uint8 BGR picture as JPEG of quality 85.

    Raises:
        ImageError: OpenCV refuses it.
    """
    import cv2  # 0.1 s to import, and rarely needed

    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ImageError(f"cannot encode a picture of shape {np.shape(image)}")
    return bytes(data)


def as_jpeg(data: bytes | memoryview) -> bytes | memoryview:
    """The picture as JPEG: itself if it is one, else decoded and encoded anew.

    Raises:
        ImageError: it cannot be decoded.
    """
    if is_jpeg(data):
        return data
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"cannot decode a picture that begins with {bytes(data[:4]).hex(' ')}")
    return encode(image)


@lru_cache
def dummy_jpeg(camera: str) -> bytes:
    """The grey picture that stands in for a camera without images; it says what it is."""
    import cv2

    image = np.full(_DUMMY_SHAPE, _DUMMY_GREY, np.uint8)
    cv2.putText(image, f"dummy: {camera}", (40, 240), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (90, 90, 90), 2)
    return encode(image)


class FrameSource:
    """The JPEGs of one camera by index into its track; -1 is the dummy.

    Attributes:
        undecodable: pictures replaced by the one before, because they could not be decoded.
    """

    def __init__(self, camera: str, track: CameraTrack) -> None:
        self._camera, self._track = camera, track
        self._encoded: dict[int, bytes] = {}
        self.undecodable: set[int] = set()

    @property
    def source(self) -> str:
        """`passthrough` or `q85`, as the attribute `jpeg_source_<camera>` has it.

        A driver that had to encode anew says at which quality at the end of the message's `format`: `... q85`.
        """
        if not self._track.data or not all(map(is_jpeg, self._track.data)):
            return ENCODED
        encoded = {match[1] for text in self._track.format if (match := _ENCODED_BY_DRIVER.search(text))}
        return ",".join(sorted(encoded)) or PASSTHROUGH

    def repeated(self, index: npt.NDArray[np.int64]) -> int:
        """How many of these rows show a message whose picture is the one before it, byte by byte: a frozen camera."""
        again = np.array([False, *starmap(_is_same, pairwise(self._track.data))], np.bool_)
        return int(again[index[index >= 0]].sum()) if len(self._track.data) else 0

    def sizes(self, index: npt.NDArray[np.int64]) -> list[int]:
        """Bytes of the JPEG of each row; of one that is still to be encoded, what it cannot exceed."""
        sizes = np.array([len(data) if is_jpeg(data) else _LARGEST_ENCODED for data in self._track.data], np.int64)
        dummy = len(dummy_jpeg(self._camera)) if (index < 0).any() else 0
        return [dummy if message < 0 else int(sizes[message]) for message in index]

    def jpeg(self, index: int) -> bytes | memoryview:
        """The JPEG of message `index`."""
        if index < 0:
            return dummy_jpeg(self._camera)
        data = self._track.data[index]
        if is_jpeg(data):
            return data
        if index not in self._encoded:
            try:
                self._encoded[index] = bytes(as_jpeg(data))
            except ImageError:
                self.undecodable.add(index)
                self._encoded[index] = bytes(self.jpeg(index - 1))
        return self._encoded[index]


def _is_same(one: memoryview, other: memoryview) -> bool:
    """Whether two pictures are the same bytes; most differ in length or in their last bytes already."""
    return len(one) == len(other) and one[-_TAIL:] == other[-_TAIL:] and bytes(one) == bytes(other)
