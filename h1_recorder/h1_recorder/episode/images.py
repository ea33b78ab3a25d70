# SPDX-License-Identifier: Apache-2.0
"""Images on their way into an episode: a camera's own JPEG stays untouched, all else becomes JPEG quality 85."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.tracks import CameraTrack, Tracks, is_jpeg
from h1_training_node.clock import NS_PER_S

JPEG_QUALITY = 85
PASSTHROUGH, ENCODED = "passthrough", "q85"
_ENCODED_AGAIN = re.compile(r" (q\d+)$")
STALE_PERIODS = 2
_SAMPLE = 64
_DUMMY_SHAPE, _DUMMY_GREY = (480, 640, 3), 128


def encode(image: Any) -> bytes:
    """A (H, W, 3) uint8 BGR image as JPEG of quality 85."""
    import cv2  # 0.1 s to import, and rarely needed

    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1])


def with_jpegs(tracks: Tracks) -> Tracks:
    """The same tracks with every image as JPEG; those that do not decode are left out and counted as `bad`."""
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
    """The track as JPEGs, each encoded here named as such in its format; and why images were left out."""
    import cv2

    times, images, formats = [], [], []
    failed: list[str] = []
    for time, data, text in zip(track.time, track.data, track.format, strict=True):
        jpeg, said = data, text
        if not is_jpeg(data):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                failed.append(f"begins with {bytes(data[:4]).hex(' ')} and does not decode")
                continue
            jpeg, said = memoryview(encode(image)), f"{text} q{JPEG_QUALITY}"
        times.append(time)
        images.append(jpeg)
        formats.append(said)
    return CameraTrack(np.array(times, np.int64), images, formats), failed


@lru_cache
def dummy_jpeg(camera: str) -> bytes:
    """The grey image that stands in for a camera without images; it says what it is."""
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

        Who had to encode again says at which quality at the end of the message's `format`: `... q85`.
        """
        if not self._track.data:
            return ENCODED
        encoded = {match[1] for text in self._track.format if (match := _ENCODED_AGAIN.search(text))}
        return ",".join(sorted(encoded)) or PASSTHROUGH

    def same_as_before(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(T,) whether each of these rows shows the image of the row before it, byte by byte."""
        data = self._track.data
        return np.array(
            [False]
            + [
                one == other or (one >= 0 and other >= 0 and is_same_jpeg(data[one], data[other]))
                for one, other in pairwise(index.tolist())
            ],
            np.bool_,
        )[: len(index)]

    def sizes(self, index: npt.NDArray[np.int64]) -> list[int]:
        """Bytes of the JPEG of each row."""
        sizes = np.array([len(data) for data in self._track.data], np.int64)
        dummy = len(dummy_jpeg(self._camera)) if (index < 0).any() else 0
        return [dummy if message < 0 else int(sizes[message]) for message in index]

    def jpeg(self, index: int) -> bytes | memoryview:
        """The JPEG of message `index`."""
        return dummy_jpeg(self._camera) if index < 0 else self._track.data[index]


def is_same_jpeg(one: Any, other: Any) -> bool:
    """Whether two images are the same bytes; most differ in length, in the middle or at the end already."""
    size = len(one)
    if size != len(other):
        return False
    samples = (slice(size // 2, size // 2 + _SAMPLE), slice(max(0, size - _SAMPLE), size))
    return all(bytes(one[part]) == bytes(other[part]) for part in samples) and bytes(one) == bytes(other)


@dataclass(frozen=True)
class Freshness:
    """How new the images of one camera are, row by row; a pure function of what the file holds.

    An image is as old as its content: no sensor repeats itself bit by bit, so that a camera that sends the same bytes
    again has frozen, whatever stamps it gives them.

    Args:
        tick: (T,) ns.
        stamps: (T,) ns of the image that each row shows; -1 is a dummy.
        same: (T,) whether a row shows the bytes of the row before it.
        camera_fps: images per second that the camera should deliver.
    """

    tick: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    camera_fps: float

    @property
    def content_stamps(self) -> npt.NDArray[np.int64]:
        """(T,) ns, when what each row shows was new."""
        first = np.maximum.accumulate(np.where(self.same, 0, np.arange(len(self.same))))
        return np.asarray(self.stamps[first], np.int64)

    @property
    def repeated(self) -> npt.NDArray[np.bool_]:
        """(T,) rows that show another message of the same image."""
        return np.asarray((self.stamps >= 0) & (self.stamps != self.content_stamps), np.bool_)

    @property
    def stale(self) -> npt.NDArray[np.bool_]:
        """(T,) rows whose image is older than `STALE_PERIODS` of the camera's periods."""
        age_ns = self.tick - self.content_stamps
        return np.asarray((self.stamps >= 0) & (age_ns > STALE_PERIODS * NS_PER_S / self.camera_fps), np.bool_)
