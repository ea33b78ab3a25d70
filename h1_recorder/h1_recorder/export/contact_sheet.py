# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: images of an episode in rows, under each its time and who was in control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode
from h1_recorder.export.scene import PHASE_COLOURS, bgr, timeline

Array = npt.NDArray[Any]

_COLUMNS, _ROWS, _TILE_WIDTH = 6, 4, 240
_GAP, _CAPTION, _HEADING = 4, 22, 30
_FONT, _INK = cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)


def contact_sheet(episode: Episode, camera: str) -> Array:
    """(H, W, 3) uint8 BGR: 24 images of a camera spread over the episode."""
    rows = np.linspace(0, len(episode) - 1, min(_COLUMNS * _ROWS, len(episode))).astype(int)
    tiles = [_tile(episode, camera, int(row)) for row in rows]
    while len(tiles) % _COLUMNS:
        tiles.append(np.full_like(tiles[0], 255))
    return np.vstack([np.hstack(tiles[start : start + _COLUMNS]) for start in range(0, len(tiles), _COLUMNS)])


def dataset_sheet(episodes: Iterable[Episode], camera: str) -> Array:
    """(H, W, 3) uint8 BGR: of each episode a heading, a bar of who was in control when, and six images."""
    strips: list[Array] = []
    for episode in episodes:
        rows = np.linspace(0, len(episode) - 1, _COLUMNS).astype(int)
        tiles = np.hstack([_tile(episode, camera, int(row)) for row in rows])
        strips += [_heading(episode, tiles.shape[1]), timeline(episode, tiles.shape[1])[:10], tiles]
    width = max(strip.shape[1] for strip in strips)
    return np.vstack([_padded(strip, width) for strip in strips])


def _heading(episode: Episode, width: int) -> Array:
    strip = np.full((_HEADING, width, 3), 255, np.uint8)
    found = episode.attributes
    who = f"{episode.path.parent.name}/{episode.path.name}"
    text = f"{who}   {found['outcome']}   epoch {found['epoch']}   {len(episode)} rows, {_time_s(episode, -1):.1f} s"
    cv2.putText(strip, text, (2, _HEADING - 9), _FONT, 0.55, _INK, 1, cv2.LINE_AA)
    return strip


def _time_s(episode: Episode, row: int) -> float:
    return (int(episode.stamps["tick"][row]) - int(episode.stamps["tick"][0])) / 1e9


def _tile(episode: Episode, camera: str, row: int) -> Array:
    """An image over its caption, with a white edge at the right and below."""
    image = episode.image(camera, row)
    height = round(image.shape[0] * _TILE_WIDTH / image.shape[1])
    tile = np.full((height + _CAPTION + _GAP, _TILE_WIDTH + _GAP, 3), 255, np.uint8)
    tile[:height, :_TILE_WIDTH] = cv2.resize(image, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    phase = str(episode.phase[row])
    tile[height : height + _CAPTION, :_TILE_WIDTH] = bgr(PHASE_COLOURS[phase])
    at = (6, height + _CAPTION - 6)
    cv2.putText(tile, f"{_time_s(episode, row):.1f} s  {phase}", at, _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return tile


def _padded(strip: Array, width: int) -> Array:
    right = width - strip.shape[1]
    return cv2.copyMakeBorder(strip, 0, 0, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
