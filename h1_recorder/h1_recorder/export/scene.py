# SPDX-License-Identifier: Apache-2.0
"""A video of an episode for a person: its cameras side by side, each named, over a bar of the whole episode.

The bar shows who was in control of which part and where the video is; a break in the rows is a slide that says how long
it was and why, so that no jump goes unmarked. Contact sheets have images in rows, under each its time and who was in
control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode, EpisodeError
from h1_recorder.export.arm_response import bands
from h1_recorder.export.video_file import VideoFile, VideoSettings, even

Array = npt.NDArray[Any]

PHASE_COLOURS = {"policy": "#dbe9f6", "human": "#fde6cf"}
_STRONG_COLOURS = {"policy": "#4a90d9", "human": "#f08a24"}
_SIDE_BY_SIDE = ("cam_left_wrist", "ego_cam", "cam_right_wrist")
_NAMES = {"cam_left_wrist": "left wrist", "ego_cam": "head", "cam_right_wrist": "right wrist"}
_HEIGHT, _BAR, _STATUS = 360, 26, 34
_SLIDE_S = 0.7
_COLUMNS, _ROWS, _TILE_WIDTH = 6, 4, 240
_GAP, _CAPTION, _HEADING = 4, 22, 30
_INK = (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def make_video(episode: Episode, path: Path, *, every: int) -> None:
    """Make the video at `path` of every `every`-th row, as fast as it happened.

    Raises:
        EpisodeError: the episode has no rows, or an image does not decode.
        OSError: it cannot be written.
    """
    if not len(episode):
        raise EpisodeError(f"{episode.path} has no rows")
    fps = max(round(episode.attributes["fps"] / every), 1)
    with VideoFile(path, fps=fps, settings=VideoSettings(crf=20, gop=fps)) as video:
        for frame in _frames(episode, every, round(_SLIDE_S * fps)):
            video.add(cv2.cvtColor(even(frame), cv2.COLOR_BGR2RGB))


def _frames(episode: Episode, every: int, slide_frames: int) -> Iterator[Array]:
    """(H, W, 3) uint8 BGR each."""
    bar = previous = None
    for row in range(0, len(episode), every):
        scene = np.hstack([_view(episode, camera, row) for camera in _SIDE_BY_SIDE if camera in episode.cameras])
        bar = timeline(episode, scene.shape[1]) if bar is None else bar
        if previous is not None and episode.segment[row] != episode.segment[previous]:
            text = _break_text(episode, previous, row)
            slide = np.vstack([_dimmed(scene, text), _status(episode, row, scene.shape[1]), _marked(bar, episode, row)])
            yield from (slide for _ in range(slide_frames))
        yield np.vstack([scene, _status(episode, row, scene.shape[1]), _marked(bar, episode, row)])
        previous = row


def _view(episode: Episode, camera: str, row: int) -> Array:
    """A camera's image with its name, and its age where it is not fresh."""
    image = episode.image(camera, row)
    height, width = image.shape[:2]
    view = cv2.resize(image, (round(width * _HEIGHT / height), _HEIGHT), interpolation=cv2.INTER_AREA)
    stamp = int(episode.stamps[camera][row])
    age_ms = (int(episode.stamps["tick"][row]) - stamp) / 1e6
    name = _NAMES[camera] + (" (no image: dummy)" if stamp < 0 else f" ({age_ms:.0f} ms old)" if age_ms > 100 else "")
    _write(view, name, (8, 22), 0.6)
    return np.asarray(view)


def _write(image: Array, text: str, at: tuple[int, int], size: float) -> None:
    """White on a dark edge: legible on anything."""
    cv2.putText(image, text, at, _FONT, size, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.putText(image, text, at, _FONT, size, (255, 255, 255), 1, cv2.LINE_AA)


def _status(episode: Episode, row: int, width: int) -> Array:
    """A line on the colour of who is in control."""
    phase = str(episode.phase[row])
    strip = np.full((_STATUS, width, 3), bgr(_STRONG_COLOURS[phase]), np.uint8)
    when = f"{_time_s(episode, row):6.2f} s    row {row} of {len(episode)}    segment {episode.segment[row]}"
    text = f"{phase.upper()} in control    {when}"
    _write(strip, text, (10, _STATUS - 11), 0.62)
    task = f"{episode.attributes['task']} ({episode.attributes['outcome']})"
    (size, _), _ = cv2.getTextSize(task, _FONT, 0.55, 1)
    if size < width // 2:
        _write(strip, task, (width - size - 10, _STATUS - 11), 0.55)
    return strip


def timeline(episode: Episode, width: int) -> Array:
    """(H, width, 3) uint8 BGR, the whole episode as a bar: who was in control when, white where there are no rows."""
    bar = np.full((_BAR, width, 3), 255, np.uint8)
    for first, last, phase in bands(episode):
        left, right = _at(episode, first, width), max(_at(episode, last - 1, width), _at(episode, first, width) + 1)
        bar[3:-3, left:right] = bgr(_STRONG_COLOURS[phase])
    return bar


def _at(episode: Episode, row: int, width: int) -> int:
    tick = episode.stamps["tick"]
    return round((width - 1) * (int(tick[row]) - int(tick[0])) / max(int(tick[-1]) - int(tick[0]), 1))


def _marked(bar: Array, episode: Episode, row: int) -> Array:
    """The bar with a mark at the present."""
    marked, at = bar.copy(), _at(episode, row, bar.shape[1])
    cv2.rectangle(marked, (at - 2, 0), (at + 2, _BAR), (0, 0, 0), cv2.FILLED)
    return marked


def _break_text(episode: Episode, before: int, after: int) -> str:
    tick = episode.stamps["tick"]
    reasons = [
        str(gap["reason"])
        for gap in episode.gaps
        if tick[before] < int(gap["end_ns"]) and int(gap["start_ns"]) < tick[after]
    ]
    why = ", ".join(dict.fromkeys(reasons)) or "handover"
    return f"{(int(tick[after]) - int(tick[before])) / 1e9:.1f} s without rows: {why}"


def _dimmed(scene: Array, text: str) -> Array:
    slide = (scene * 0.35).astype(np.uint8)
    (width, _), _ = cv2.getTextSize(text, _FONT, 1.0, 2)
    _write(slide, text, ((slide.shape[1] - width) // 2, slide.shape[0] // 2), 1.0)
    return slide


def bgr(colour: str) -> tuple[int, int, int]:
    """A colour written `#rrggbb` as OpenCV has it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return blue, green, red


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
