# SPDX-License-Identifier: Apache-2.0
"""An episode on one page: every joint, the hands, torques, ages of images, events.

All panels share one time axis. Who was in control is a band behind the curves, a handover a thin line, a break in the
rows a hatched strip: rows are drawn at their own times, nothing is joined across a break. Needs matplotlib.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES, stretches
from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import bands
from h1_recorder.export.rows import HAND_NAMES
from h1_recorder.export.scene import PHASE_COLOURS

Array = npt.NDArray[Any]

_SIDES = ("left", "right")
_MEASURED, _ACTION, _APPLIED = "#1b1b1e", "#e5004f", "#00a6c7"
_CAMERA_COLOURS = {"ego_cam": "#2a6f97", "cam_left_wrist": "#bc4749", "cam_right_wrist": "#6a994e"}
_SERIES_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#111111", "#17becf")
"""Of seven joints or six fingers in one panel: no two look alike, in print neither."""
_LEVEL_COLOURS = {0: "#555555", 1: "#e07a00", 2: "#c1121f"}
_LINES: dict[str, dict[str, Any]] = {  # drawn thickest first: where all three agree, each can still be seen
    "applied action": {"color": _APPLIED, "linewidth": 4.5, "alpha": 0.5, "solid_capstyle": "butt"},
    "measured": {"color": _MEASURED, "linewidth": 1.2},
    "action": {"color": _ACTION, "linewidth": 1.5, "linestyle": (0, (3, 2))},
}
_LEGEND: dict[str, Any] = {
    **{"fontsize": 7, "loc": "upper center", "handlelength": 1.2, "columnspacing": 0.8, "borderpad": 0.2},
    **{"facecolor": "white", "framealpha": 0.75, "edgecolor": "none"},
}
_MOST_REASONS = 12


def seconds(episode: Episode) -> Array:
    """(T,) time of each row since the first, s."""
    return np.asarray((episode.stamps["tick"] - episode.stamps["tick"][0]) / 1e9)


def camera_ages_ms(episode: Episode) -> dict[str, Array]:
    """(T,) how old each row's image is, ms; nan where there is none."""
    tick = episode.stamps["tick"]
    return {
        camera: np.where(episode.stamps[camera] >= 0, (tick - episode.stamps[camera]) / 1e6, np.nan)
        for camera in episode.cameras
    }


def plot_episode(episode: Episode, path: Path) -> None:
    """Draw the page as a PNG (or what else `path` ends in: .pdf, .svg)."""
    from matplotlib.figure import Figure

    hands = episode.hand_qpos is not None
    events = min(len({event["reason"] for event in episode.events}), _MOST_REASONS)
    heights = [1.0] * 7 + [0.9, *([0.9] if hands else []), 0.7, 0.3 + 0.09 * events]
    figure = Figure(figsize=(15, 1.75 * sum(heights)), dpi=110, layout="constrained")
    axes = figure.subplots(len(heights), 2, sharex=True, height_ratios=heights)
    for column, side in enumerate(_SIDES):
        axes[0, column].set_title(f"{side} arm", fontsize=11, fontweight="bold")
        for row in range(7):
            _draw_joint(axes[row, column], episode, 7 * column + row)
        _draw_effort(axes[7, column], episode, column)
        if hands:
            _draw_hand(axes[8, column], episode, column)
    for row, column, draw in (
        (-2, 0, _draw_ages),
        (-2, 1, _draw_action_age),
        (-1, 0, _draw_events),
        (-1, 1, _draw_gaps),
    ):
        draw(axes[row, column], episode)
    for panel in axes.flat:
        _draw_bands(panel, episode)
        panel.tick_params(labelsize=8)
        panel.grid(axis="y", linewidth=0.3, color="#999999")
    for panel in axes[-1]:
        panel.set_xlabel("time, s", fontsize=9)
    _label(figure, episode)
    figure.align_ylabels()
    figure.savefig(path)


def _label(figure: Any, episode: Episode) -> None:
    """Heading, and one legend for all joints."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [Line2D([], [], label=name, **style) for name, style in _LINES.items()]
    entries += [Patch(color=colour, label=f"{phase} in control") for phase, colour in PHASE_COLOURS.items()]
    entries.append(Patch(facecolor="white", edgecolor="#888888", hatch="////", label="no rows"))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=9, frameon=False)
    found = episode.attributes
    who = f"{episode.path.parent.name}/{episode.path.name}"
    what = f"{found['task']} · {found['outcome']} · epoch {found['epoch']} · {len(episode)} rows"
    figure.suptitle(f"{who}    {what}", x=0.01, ha="left", fontsize=11)


def _runs(episode: Episode) -> list[slice]:
    """Rows that are joined by a line."""
    return [slice(first, last) for first, last in stretches(episode.segment)]


def _lines(axes: Any, episode: Episode, values: Array, **style: Any) -> None:
    """One line a run, so that none crosses a break."""
    time, label = seconds(episode), style.pop("label", None)
    for number, rows in enumerate(_runs(episode)):
        axes.plot(time[rows], values[rows], label=label if number == 0 else None, **style)


def _draw_joint(axes: Any, episode: Episode, joint: int) -> None:
    policy = episode.phase == "policy"
    drawn = {
        "applied action": np.where(policy, episode.applied_action[:, joint], np.nan),
        "measured": episode.qpos[:, joint],
        "action": np.where(policy, episode.action[:, joint], np.nan),
    }
    for name, values in drawn.items():
        _lines(axes, episode, values, **_LINES[name])
    name = JOINT_NAMES[joint].removesuffix("_joint").split("_", 1)[1].replace("_", " ")
    axes.set_ylabel(f"{name}\nrad", fontsize=8)
    axes.margins(y=0.12)
    low, high = axes.get_ylim()
    if high - low < 0.02:  # else noise of a resting joint looks like motion
        axes.set_ylim((low + high) / 2 - 0.01, (low + high) / 2 + 0.01)


def _draw_effort(axes: Any, episode: Episode, column: int) -> None:
    for joint in range(7):
        name = JOINT_NAMES[joint].removeprefix("left_").removesuffix("_joint").replace("_", " ")
        _lines(
            axes,
            episode,
            episode.effort[:, 7 * column + joint],
            linewidth=0.8,
            color=_SERIES_COLOURS[joint],
            label=name,
        )
    axes.set_ylabel("torque\nN·m", fontsize=8)
    axes.legend(**_LEGEND, ncols=7)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))


def _draw_hand(axes: Any, episode: Episode, column: int) -> None:
    assert episode.hand_qpos is not None
    for finger in range(6):
        name = HAND_NAMES[finger].removeprefix("left_").replace("_", " ")
        values = episode.hand_qpos[:, 6 * column + finger]
        _lines(axes, episode, values, linewidth=0.9, color=_SERIES_COLOURS[finger], label=name)
        if episode.hand_action is not None:
            commanded = np.where(episode.phase == "policy", episode.hand_action[:, 6 * column + finger], np.nan)
            _lines(axes, episode, commanded, linewidth=0.7, color=_SERIES_COLOURS[finger], linestyle=(0, (4, 2)))
    axes.set_ylabel("hand\n0 closed … 1 open", fontsize=8)
    axes.set_ylim(-0.05, 1.35)
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.legend(**_LEGEND, ncols=6)


def _draw_ages(axes: Any, episode: Episode) -> None:
    for camera, ages in camera_ages_ms(episode).items():
        colour = _CAMERA_COLOURS.get(camera, "#777777")
        axes.plot(seconds(episode), ages, ".", markersize=1.5, color=colour)
        axes.plot([], [], "o", markersize=5, color=colour, label=camera)
    axes.set_ylim(0, None)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 1.35)
    axes.set_ylabel("image age\nms", fontsize=8)
    axes.legend(**_LEGEND, ncols=3)


def _draw_action_age(axes: Any, episode: Episode) -> None:
    stamps = episode.stamps["action"]
    ages = np.where(stamps >= 0, (episode.stamps["tick"] - stamps) / 1e6, np.nan)
    axes.plot(seconds(episode), ages, ".", markersize=1.5, color=_ACTION)
    axes.set_ylim(0, max(25.0, 1.1 * float(np.nanmax(ages, initial=0.0))))
    axes.set_ylabel("action age\nms", fontsize=8)


def _draw_events(axes: Any, episode: Episode) -> None:
    """Events by their reason, a line each, in the order of their first times."""
    start, last = int(episode.stamps["tick"][0]), float(seconds(episode)[-1])
    reasons = list(dict.fromkeys(str(event["reason"]) for event in episode.events))[:_MOST_REASONS]
    for event in episode.events:
        if event["reason"] in reasons:
            line, colour = reasons.index(event["reason"]), _LEVEL_COLOURS.get(int(event["level"]), "#555555")
            at = min(
                max((int(event["stamp"]) - start) / 1e9, 0.0), last
            )  # what came before the first row is at its edge
            axes.plot(at, line, "|", color=colour, markersize=9, markeredgewidth=2.0, clip_on=False, zorder=3)
    axes.set_yticks(range(len(reasons)), reasons, fontsize=6)
    axes.set_ylim(-0.7, max(len(reasons), 1) - 0.3)
    axes.set_ylabel("events", fontsize=8)
    axes.invert_yaxis()


def _draw_gaps(axes: Any, episode: Episode) -> None:
    """Breaks that should not be, by their reason."""
    start = int(episode.stamps["tick"][0])
    reasons = list(dict.fromkeys(str(gap["reason"]) for gap in episode.gaps))
    for gap in episode.gaps:
        first, last = ((int(gap[name]) - start) / 1e9 for name in ("start_ns", "end_ns"))
        axes.barh(reasons.index(str(gap["reason"])), last - first, left=first, color="#c1121f", height=0.6)
    axes.set_yticks(range(len(reasons)), reasons, fontsize=6)
    axes.set_ylim(-0.7, max(len(reasons), 1) - 0.3)
    axes.set_ylabel("gaps" if reasons else "gaps\n(none)", fontsize=8)


def _draw_bands(axes: Any, episode: Episode) -> None:
    """Who was in control; a line at each change, hatching where there are no rows."""
    time, period = seconds(episode), 1 / float(episode.attributes["fps"])
    before: float | None = None
    for first, last, phase in bands(episode):
        start, end = float(time[first]), float(time[last - 1]) + period
        axes.axvspan(start, end, color=PHASE_COLOURS[phase], linewidth=0, zorder=0)
        if before is not None:
            axes.axvline(start, color="#555555", linewidth=0.6, zorder=1)
            if start - before > period / 2:
                axes.axvspan(before, start, facecolor="white", edgecolor="#888888", hatch="////", linewidth=0, zorder=1)
        before = end
    axes.set_xlim(0.0, float(time[-1]) + period)
