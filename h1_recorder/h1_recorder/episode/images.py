"""Pictures on their way into an episode: a camera's own JPEG stays untouched, all else becomes JPEG quality 85."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise, starmap
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.tracks import CameraTrack, Tracks, is_jpeg

JPEG_QUALITY = 85
PASSTHROUGH, ENCODED = "passthrough", "q85"
_ENCODED_ANEW = re.compile(r" (q\d+)$")
_TAIL = 64
_DUMMY_SHAPE, _DUMMY_GREY = (480, 640, 3), 128


def encode(image: Any) -> bytes:
    """A (H, W, 3) uint8 BGR picture as JPEG of quality 85."""
    import cv2  # 0.1 s to import, and rarely needed

    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def with_jpegs(tracks: Tracks) -> Tracks:
    """The same tracks with every picture as JPEG; those that do not decode are left out and counted as `bad`."""
    cameras, bad, reasons = dict(tracks.cameras), dict(tracks.bad), dict(tracks.bad_reasons)
    for name, track in tracks.cameras.items():
        if all(map(is_jpeg, track.data)):
            continue
        cameras[name], failed = _as_jpegs(track)
        if failed:
            bad[name] = bad.get(name, 0) + len(failed)
            reasons.setdefault(name, failed[0])
    return replace(tracks, cameras=cameras, bad=bad, bad_reasons=reasons)


def _as_jpegs(track: CameraTrack) -> tuple[CameraTrack, list[str]]:
    """The track as JPEGs, each encoded here named as such in its format; and why pictures were left out."""
    import cv2

    times, pictures, formats = [], [], []
    failed: list[str] = []
    for time, data, text in zip(track.time, track.data, track.format, strict=True):
        picture, said = data, text
        if not is_jpeg(data):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                failed.append(f"begins with {bytes(data[:4]).hex(' ')} and does not decode")
                continue
            picture, said = memoryview(encode(image)), f"{text} q{JPEG_QUALITY}"
        times.append(time)
        pictures.append(picture)
        formats.append(said)
    return CameraTrack(np.array(times, np.int64), pictures, formats), failed


@lru_cache
def dummy_jpeg(camera: str) -> bytes:
    """The grey picture that stands in for a camera without images; it says what it is."""
    import cv2

    image = np.full(_DUMMY_SHAPE, _DUMMY_GREY, np.uint8)
    cv2.putText(image, f"dummy: {camera}", (40, 240), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (90, 90, 90), 2)
    return encode(image)


class FrameSource:
    """The JPEGs of one camera by index into its track (see `with_jpegs`); -1 is the dummy."""

    def __init__(self, camera: str, track: CameraTrack) -> None:
        self._camera, self._track = camera, track

    @property
    def source(self) -> str:
        """`passthrough` or `q85`, as the attribute `jpeg_source_<camera>` has it.

        Who had to encode anew says at which quality at the end of the message's `format`: `... q85`.
        """
        if not self._track.data:
            return ENCODED
        encoded = {match[1] for text in self._track.format if (match := _ENCODED_ANEW.search(text))}
        return ",".join(sorted(encoded)) or PASSTHROUGH

    def repeated(self, index: npt.NDArray[np.int64]) -> int:
        """How many of these rows show a message whose picture is the one before it, byte by byte: a frozen camera."""
        again = np.array([False, *starmap(_is_same, pairwise(self._track.data))], np.bool_)
        return int(again[index[index >= 0]].sum()) if len(self._track.data) else 0

    def sizes(self, index: npt.NDArray[np.int64]) -> list[int]:
        """Bytes of the JPEG of each row."""
        sizes = np.array([len(data) for data in self._track.data], np.int64)
        dummy = len(dummy_jpeg(self._camera)) if (index < 0).any() else 0
        return [dummy if message < 0 else int(sizes[message]) for message in index]

    def jpeg(self, index: int) -> bytes | memoryview:
        """The JPEG of message `index`."""
        return dummy_jpeg(self._camera) if index < 0 else self._track.data[index]


def _is_same(one: memoryview, other: memoryview) -> bool:
    """Whether two pictures are the same bytes; most differ in length or in their last bytes already."""
    return len(one) == len(other) and one[-_TAIL:] == other[-_TAIL:] and bytes(one) == bytes(other)
