# SPDX-License-Identifier: Apache-2.0
"""Writes videos that trainers read at random: few images from one key frame to the next, none that refer forward.

Image i has the time i / fps exactly. A file appears under its name complete or not at all.

The default, H.264 at crf 19 with a key frame at every fifth image, is at least as good as LeRobot's own (SVT-AV1, crf
30, every second image) on a session's images, at fewer bytes and a third of the encoder's time, and as fast to read at
random; not on pure noise. h1_recorder/bench/bench_export.py prints both side by side.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}
_PRESETS = {"h264": "veryfast", "av1": "12"}
_CRF = {"h264": 19, "av1": 28}
CODECS = tuple(_ENCODERS)


@dataclass(frozen=True)
class VideoSettings:
    """How videos are encoded.

    Attributes:
        codec: one of `CODECS`.
        crf: constant rate factor; less is better and bigger. None: the codec's default here.
        gop: images from one key frame to the next.
    """

    codec: str = "h264"
    crf: int | None = None
    gop: int = 5

    @property
    def quality(self) -> int:
        """The constant rate factor."""
        return _CRF[self.codec] if self.crf is None else self.crf

    @property
    def preset(self) -> str:
        """Speed of the encoder, in its own words."""
        return _PRESETS[self.codec]

    @property
    def encoder(self) -> str:
        """FFmpeg's name of it."""
        return _ENCODERS[self.codec]

    def options(self) -> dict[str, str]:
        """For FFmpeg; the same images always become the same bytes.

        One thread: episodes are encoded in parallel. x264's macroblock tree decides otherwise about once in a hundred
        videos; without it 3000 in a row were the same.
        """
        common = {"crf": str(self.quality), "preset": self.preset, "g": str(self.gop)}
        if self.codec == "av1":
            return {**common, "svtav1-params": "lp=1"}
        return {**common, "bf": "0", "threads": "1", "x264-params": "mbtree=0:rc-lookahead=0"}


class VideoFile:
    """A video that is being written; use as a context manager.

    Args:
        path: final name; replaced if it is there.
        fps: images a second.
        settings: of the encoder.
        key_frames: images that are key frames besides every `gop`-th, so that the video can be cut there.

    Raises:
        ValueError: this PyAV has no such encoder.
        OSError: the file cannot be written.
    """

    def __init__(
        self, path: Path, *, fps: int, settings: VideoSettings | None = None, key_frames: Collection[int] = ()
    ) -> None:
        self._path, self._fps, self._settings = path, fps, settings or VideoSettings()
        self._part = path.with_name(f".{path.name}.part")
        self._key_frames = frozenset(key_frames)
        self._stream: Any = None
        self._container: Any = None
        self._count = 0

    def __enter__(self) -> VideoFile:
        os.environ.setdefault("SVT_LOG", "1")  # else it describes itself on stderr
        import av

        self._container = av.open(str(self._part), "w", format="mp4")
        return self

    def add(self, image: Array) -> None:
        """Append a (H, W, 3) uint8 RGB image; sides must be even and those of the first one.

        Raises:
            ValueError: its size is another than the first one's.
        """
        import av
        from av.video.frame import PictureType

        height, width = image.shape[:2]
        if self._stream is None:
            self._stream = self._new_stream(width, height)
        if (self._stream.width, self._stream.height) != (width, height):
            expected = f"{self._stream.width}x{self._stream.height}"
            raise ValueError(f"image {self._count} of {self._path} is {width}x{height}; expected {expected}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self._count, Fraction(1, self._fps)
        if self._count in self._key_frames:
            frame.pict_type = PictureType.I
        self._container.mux(self._stream.encode(frame))
        self._count += 1

    def _new_stream(self, width: int, height: int) -> Any:
        import av

        encoder = self._settings.encoder
        try:
            stream = self._container.add_stream(encoder, rate=self._fps, options=self._settings.options())
        except av.codec.codec.UnknownCodecError:
            others = ", ".join(codec for codec in CODECS if codec != self._settings.codec)
            raise ValueError(f"this PyAV has no encoder {encoder}; choose another codec: {others}") from None
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


def cut(source: Path, first: int, last: int, target: Path, *, fps: int) -> None:
    """Copy images `first` to `last` - 1 of a video into one of their own, without encoding them again.

    Args:
        source: written by `VideoFile`, with a key frame at `first`.
        first, last: numbers of images.
        target: final name; replaced if it is there.
        fps: images a second.

    Raises:
        ValueError: there is no key frame at `first`, or the video is shorter.
        OSError: of the file system.
    """
    import av

    part = target.with_name(f".{target.name}.part")
    count = 0
    with av.open(str(source)) as reader, av.open(str(part), "w", format="mp4") as writer:
        stream: Any = reader.streams.video[0]
        out = writer.add_stream_from_template(stream, opaque=True)
        out.time_base = stream.time_base
        reader.seek(round(first / fps / stream.time_base), stream=stream)
        packet: Any
        for packet in reader.demux(stream):
            if packet.pts is None or (number := round(packet.pts * stream.time_base * fps)) < first:
                continue
            if number >= last:
                break
            if count == 0 and not (number == first and packet.is_keyframe):
                raise ValueError(f"{source} has no key frame at image {first}")
            start = round(first / fps / stream.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, out
            writer.mux(packet)
            count += 1
    if count != last - first:
        part.unlink()
        raise ValueError(f"{source} ends before image {last}")
    part.replace(target)


def even(image: Array) -> Array:
    """The image without its last line or column where their number is odd, as the colour format asks."""
    height, width = image.shape[:2]
    return image[: height & ~1, : width & ~1]
