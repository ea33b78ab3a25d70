# SPDX-License-Identifier: Apache-2.0
"""The images of an episode for formats that store them decoded, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode
from h1_recorder.export.rows import ExportError
from h1_recorder.export.video_store import decoded

_BLOCK = 50


def decoded_images(
    episode: Episode, camera: str, run: tuple[int, int], size: tuple[int, int], resize: tuple[int, int] | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """(H, W, 3) uint8 RGB of each row of `run`.

    Args:
        episode: as read.
        camera: its name.
        run: first row and row after the last.
        size: height and width that all images must have.
        resize: width and height to bring them to.

    Raises:
        ExportError: an image does not decode, or has another size.
    """
    last, image = b"", np.empty(0, np.uint8)
    for row, data in jpegs(episode, camera, run):
        if data != last:
            last, image = data, _sized(decoded(data, f"{episode.path}: image {row} of {camera}"), resize)
            expected = (resize[1], resize[0]) if resize else size
            if image.shape[:2] != expected:
                raise ExportError(
                    f"{episode.path}: image {row} of {camera} is {image.shape[1]}x{image.shape[0]}, the first one"
                    f" {expected[1]}x{expected[0]}: give --resize, or export without this episode"
                )
        yield image


def jpegs(episode: Episode, camera: str, run: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
    """Row and JPEG, as recorded, of each row of `run`; read in blocks."""
    for start in range(run[0], run[1], _BLOCK):
        yield from enumerate(episode.jpegs(camera, slice(start, min(start + _BLOCK, run[1]))), start)


def _sized(image: Any, resize: tuple[int, int] | None) -> Any:
    return image if resize is None else cv2.resize(image, resize, interpolation=cv2.INTER_AREA)
