"""Writes a video picture by picture; it appears under its name complete or not at all.

H.264 with a key frame at every second picture and none that refer forward, so that a loader that jumps to any moment
decodes two pictures at most. Picture i is shown at exactly i / fps.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
QUALITY = "23"
"""x264's constant rate factor: its default; 30 is what LeRobot asks of AV1, which compares to this."""


class VideoFile:
    """A video that is being written; use as a context manager.

    Args:
        path: final name; replaced if it is there.
        fps: pictures a second.
        keyframe_every: pictures from one key frame to the next.

    Raises:
        RuntimeError: this PyAV has no H.264 encoder.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, *, fps: int, keyframe_every: int = 2) -> None:
        self._path, self._fps, self._keyframe_every = path, fps, keyframe_every
        self._part = path.with_name(f".{path.name}.part")
        self._stream: Any = None
        self._container: Any = None
        self._count = 0

    def __enter__(self) -> VideoFile:
        import av

        self._container = av.open(str(self._part), "w", format="mp4")
        return self

    def add(self, picture: Array) -> None:
        """Append a (H, W, 3) uint8 RGB picture; sides must be even and those of the first one.

        Raises:
            ValueError: its size is another than the first one's.
        """
        import av

        height, width = picture.shape[:2]
        if self._stream is None:
            self._stream = self._new_stream(width, height)
        if (self._stream.width, self._stream.height) != (width, height):
            expected = f"{self._stream.width}x{self._stream.height}"
            raise ValueError(f"picture {self._count} of {self._path} is {width}x{height}; expected {expected}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self._count, Fraction(1, self._fps)
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def _new_stream(self, width: int, height: int) -> Any:
        options = {"crf": QUALITY, "preset": "veryfast", "bf": "0", "g": str(self._keyframe_every)}
        stream = self._container.add_stream("libx264", rate=self._fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, self._fps)
        return stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode())
        finally:
            with contextlib.suppress(OSError) if kind else contextlib.nullcontext():
                self._container.close()
        if kind is None and self._stream is not None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)


def even(picture: Array) -> Array:
    """The picture without its last line or column where their number is odd, as the colour format asks."""
    height, width = picture.shape[:2]
    return picture[: height & ~1, : width & ~1]
