# SPDX-License-Identifier: Apache-2.0
"""The videos of a dataset, kept by what is in them: episode, camera and encoder settings. None is made twice.

One video has all rows of an episode file, whatever the dataset takes of them: which rows, which labels, in which order
is said elsewhere. Files of the dataset are hard links to the store (copies where the file system has none).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from h1_recorder.episode.content import stretches
from h1_recorder.episode.episode import Episode, read
from h1_recorder.export.arm_response import bands, is_commanded
from h1_recorder.export.rows import ExportError, has_hand_state
from h1_recorder.export.statistics import image_counts
from h1_recorder.export.video_file import VideoFile, VideoSettings, even

Array = npt.NDArray[Any]

_SAMPLE_EVERY = 10
_BLOCK = 50


@dataclass(frozen=True)
class StoredVideo:
    """A video of all rows of one camera of one episode.

    Attributes:
        path: of it.
        images: of each band of its rows (`arm_response.bands`): first row, row after the last, images counted, and how
            often each value occurred in them, (3, 256).
    """

    path: Path
    images: list[tuple[int, int, int, list[list[int]]]]

    def counts(self, first: int, last: int) -> tuple[Array, int]:
        """(3, 256) values in the bands that rows `first` to `last` - 1 lie in, and images counted."""
        total, images = np.zeros((3, 256), np.int64), 0
        for start, stop, number, counts in self.images:
            if start < last and stop > first:
                total, images = total + np.array(counts), images + number
        return total, images


class VideoStore:
    """The videos in `folder`; more to take from in `others`, the stores of other datasets."""

    def __init__(self, folder: Path, settings: VideoSettings, others: Sequence[Path] = ()) -> None:
        self.folder, self._settings, self._others = folder, settings, tuple(others)

    def path(self, content: str, camera: str) -> Path:
        """Where the video of a camera's images is, or will be.

        Args:
            content: fingerprint of the images, see `fingerprint`.
            camera: its name.
        """
        made = f"{content} {self._settings.codec} {json.dumps(self._settings.options())}"
        return self.folder / f"{camera}-{hashlib.sha256(made.encode()).hexdigest()[:24]}.mp4"

    def take(self, content: str, camera: str) -> bool:
        """Whether the video is there, by now: it may come from another store."""
        path = self.path(content, camera)
        if _is_whole(path):
            return True
        for other in self._others:
            found = other / path.name
            if _is_whole(found):
                self.folder.mkdir(parents=True, exist_ok=True)
                place(found, path)
                place(_notes(found), _notes(path))
                return True
        return False

    def load(self, content: str, camera: str) -> StoredVideo:
        """A video that is there.

        Raises:
            OSError: it is not.
        """
        path = self.path(content, camera)
        return StoredVideo(path, [(*band,) for band in json.loads(_notes(path).read_text())])

    def make(self, path: Path, contents: dict[str, str]) -> list[str]:
        """Encode what is missing of the cameras of the episode at `path`; returns which cameras those were.

        Args:
            path: of the episode.
            contents: fingerprint of each camera's images.

        Raises:
            ExportError: an image does not decode, or has another size than the one before it; names row and camera.
            OSError: of the file system.
        """
        missing = [camera for camera, content in contents.items() if not self.take(content, camera)]
        if not missing:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        episode = read(path)
        for camera in missing:
            target = self.path(contents[camera], camera)
            notes = _encode(target, episode, camera, self._settings)
            part = target.with_name(f".{target.name}.json.part")
            part.write_text(json.dumps(notes))
            part.replace(_notes(target))
        return missing

    def keep_only(self, paths: set[Path]) -> int:
        """Delete all other videos, and what was left half-made; returns how many videos were deleted."""
        deleted = 0
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else []:
            if path in paths or (path.suffix == ".json" and path.with_suffix(".mp4") in paths):
                continue
            path.unlink()
            deleted += path.suffix == ".mp4"
        return deleted


def fingerprint(episode: Episode, camera: str) -> str:
    """Of a camera's images: the episode's identity, which image each row shows, and a few of the images themselves."""
    found = hashlib.sha256(str(episode.attributes.get("episode_uuid", "")).encode())
    found.update(episode.stamps["tick"].tobytes() + episode.stamps[camera].tobytes())
    if not (known := has_hand_state(episode)).all():  # its video has key frames where that changes
        found.update(known.tobytes())
    for row in sorted({0, len(episode) // 2, len(episode) - 1}):
        found.update(episode.jpegs(camera, slice(row, row + 1))[0])
    return found.hexdigest()


def place(source: Path, target: Path) -> None:
    """Let `target` be `source`: a hard link, or a copy where there can be none. Replaces what is there."""
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(target)


def _notes(video: Path) -> Path:
    return video.with_suffix(".json")


def _is_whole(video: Path) -> bool:
    return video.exists() and _notes(video).exists()


def _encode(target: Path, episode: Episode, camera: str, settings: VideoSettings) -> list[list[Any]]:
    """Make the video; its `StoredVideo.images`."""
    found: list[list[Any]] = [[first, last, 0, np.zeros((3, 256), np.int64)] for first, last, _ in bands(episode)]
    band, starts = 0, {first for first, *_ in found}
    for changing in (is_commanded(episode), has_hand_state(episode)):  # a run may begin there
        starts |= {first for first, _ in stretches(changing)}
    last, image, size = b"", np.empty(0, np.uint8), (0, 0)
    with VideoFile(target, fps=int(episode.attributes["fps"]), settings=settings, key_frames=starts) as video:
        for start in range(0, len(episode), _BLOCK):
            for row, data in enumerate(episode.jpegs(camera, slice(start, start + _BLOCK)), start):
                if data != last:
                    last, image = data, decoded(data, f"{episode.path}: image {row} of {camera}")
                if row and image.shape[:2] != size:
                    raise ExportError(_change_of_size(episode, row, camera, image.shape, size))
                size = (image.shape[0], image.shape[1])
                video.add(image)
                band += row >= found[band][1]
                if (row - found[band][0]) % _SAMPLE_EVERY == 0:
                    found[band][2] += 1
                    found[band][3] += image_counts(image)
    return [[first, last, number, counts.tolist()] for first, last, number, counts in found]


def decoded(data: bytes, what: str) -> Array:
    """(H, W, 3) uint8 RGB, sides even.

    Raises:
        ExportError: it does not decode, or libjpeg warns of it; begins with `what`.
    """
    try:
        return even(simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True))
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise ExportError(f"{what} does not decode: {why}; 'episodes validate' says what else is wrong") from None


def _change_of_size(episode: Episode, row: int, camera: str, now: tuple[int, ...], before: tuple[int, ...]) -> str:
    sizes = f"{now[1]}x{now[0]}, those before it {before[1]}x{before[0]}"
    grey = " (grey dummies)" if episode.stamps[camera][row - 1] < 0 else ""
    return (
        f"{episode.path}: image {row} of {camera} is {sizes}{grey}; a video has one size: export without this episode"
    )
