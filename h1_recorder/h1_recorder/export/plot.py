"""Pictures of an episode for a person: its curves on one page, and a contact sheet of each camera.

Left of an arm is one column, right the other; policy and person are bands behind the curves, and runs that are not one
are parted by a white gap. Needs matplotlib, which is imported when the first picture is drawn.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode

Array = npt.NDArray[Any]

PHASE_COLOURS = {"policy": "#dbe9f6", "human": "#fde6cf"}
_CAMERA_COLOURS = ("#2a6f97", "#bc4749", "#6a994e")
_SHEET_COLUMNS, _SHEET_ROWS, _TILE_WIDTH = 6, 4, 240


def seconds(episode: Episode) -> Array:
    """(T,) time of each row since the first, s."""
    return np.asarray((episode.stamps["tick"] - episode.stamps["tick"][0]) / 1e9)


def phase_bands(episode: Episode) -> list[tuple[int, int, str]]:
    """First row, row after the last, and phase of each unbroken stretch of one phase."""
    changes = (episode.phase[1:] != episode.phase[:-1]) | (np.diff(episode.segment) != 0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(episode)]
    return [(first, last, str(episode.phase[first])) for first, last in pairwise(edges)]


def camera_ages_ms(episode: Episode) -> dict[str, Array]:
    """(T,) how old each row's picture is, ms; nan where there is none."""
    tick = episode.stamps["tick"]
    return {
        camera: np.where(episode.stamps[camera] >= 0, (tick - episode.stamps[camera]) / 1e6, np.nan)
        for camera in episode.cameras
    }


def plot_episode(episode: Episode, path: Path) -> None:
    """Draw joints, actions, phases and camera ages as a PNG at `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 20), dpi=80, layout="constrained")
    grid = figure.add_gridspec(8, 2, height_ratios=[1] * 7 + [1.2])
    time, bands = seconds(episode), phase_bands(episode)
    for joint, name in enumerate(JOINT_NAMES):
        axes = figure.add_subplot(grid[joint % 7, joint // 7])
        _draw_joint(axes, episode, joint, time, bands)
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_ylabel("rad", fontsize=8)
    axes = figure.add_subplot(grid[7, :])
    _draw_bands(axes, time, bands)
    for colour, (camera, ages) in zip(_CAMERA_COLOURS, camera_ages_ms(episode).items(), strict=False):
        axes.plot(time, ages, ".", markersize=2, color=colour, label=camera)
    axes.set_title("age of the picture in each row", fontsize=9, loc="left")
    axes.set(ylabel="ms", xlabel="s", ylim=(0, None))
    axes.legend(loc="upper right", fontsize=8)
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper right", ncols=len(lines[0]), fontsize=9)
    found = episode.attributes
    figure.suptitle(
        f"{episode.path.parent.name}/{episode.path.name}   {found['task']}   {found['outcome']}   {len(episode)} rows",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    figure.savefig(path, format="png")


def _draw_joint(axes: Any, episode: Episode, joint: int, time: Array, bands: list[tuple[int, int, str]]) -> None:
    _draw_bands(axes, time, bands)
    for number, (first, last, phase) in enumerate(bands):
        rows = slice(first, last)
        axes.plot(
            time[rows], episode.qpos[rows, joint], color="#14213d", linewidth=1.2, label=_once("measured", number)
        )
        if phase == "policy":
            axes.plot(time[rows], episode.action[rows, joint], "--", color="#d00000", linewidth=0.9)
            axes.plot(time[rows], episode.applied_action[rows, joint], color="#588157", linewidth=0.9)
    axes.plot([], [], "--", color="#d00000", label="action")
    axes.plot([], [], color="#588157", label="applied action")


def _once(label: str, number: int) -> str:
    """A label that a legend takes once only."""
    return label if number == 0 else "_" + label


def _draw_bands(axes: Any, time: Array, bands: list[tuple[int, int, str]]) -> None:
    for first, last, phase in bands:
        axes.axvspan(time[first], time[last - 1], color=PHASE_COLOURS[phase], linewidth=0)
    axes.set_xlim(time[0], time[-1] if len(time) > 1 else time[0] + 1)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.1)
    for phase, colour in PHASE_COLOURS.items():
        axes.fill_between([], [], color=colour, label=phase)


def contact_sheet(episode: Episode, camera: str) -> Array:
    """(H, W, 3) uint8 BGR: 24 pictures of a camera spread over the episode, with time and phase."""
    count = min(_SHEET_COLUMNS * _SHEET_ROWS, len(episode))
    time, tiles = seconds(episode), []
    for row in np.linspace(0, len(episode) - 1, count).astype(int):
        picture = episode.image(camera, int(row))
        height = round(picture.shape[0] * _TILE_WIDTH / picture.shape[1])
        tile = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
        burn_in(tile, f"{time[row]:.1f} s {episode.phase[row]}", str(episode.phase[row]))
        tiles.append(tile)
    while len(tiles) % _SHEET_COLUMNS:
        tiles.append(np.zeros_like(tiles[0]))
    lines = [np.hstack(tiles[start : start + _SHEET_COLUMNS]) for start in range(0, len(tiles), _SHEET_COLUMNS)]
    return np.vstack(lines)


def burn_in(picture: Array, text: str, phase: str) -> None:
    """Write a line at the lower edge of a BGR picture, on its phase's colour."""
    colour = tuple(int(PHASE_COLOURS[phase][at : at + 2], 16) for at in (5, 3, 1))
    height, width = picture.shape[:2]
    bar = max(height // 10, 10)
    cv2.rectangle(picture, (0, height - bar), (width, height), colour, cv2.FILLED)
    cv2.putText(picture, text, (4, height - bar // 4), cv2.FONT_HERSHEY_SIMPLEX, bar / 32, (0, 0, 0), 1, cv2.LINE_AA)
