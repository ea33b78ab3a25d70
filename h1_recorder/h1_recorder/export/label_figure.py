# SPDX-License-Identifier: Apache-2.0
"""What a policy learns from which rows, as a figure: labels of a person's rows beside the policy's own actions.

If both are the same quantity, the command that makes the arms be there, their distances from the measured position are
alike in size. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import JOINTS, ArmModel, ArmResponse, LabelError, fitted, is_commanded, response
from h1_recorder.export.labels import Labelling, labelled

Array = npt.NDArray[Any]

_MOVES_RAD_S = 0.05
"""Joints at rest say nothing of labels; rows of a joint count from this speed on."""
_LAGS_SHOWN = 12
_COLOURS = {"policy": "#4a90d9", "command": "#f08a24", "look-ahead": "#6a994e", "next row": "#999999"}


@dataclass(frozen=True)
class LabelDistances:
    """How far commands are from the measured positions, where joints move.

    Attributes:
        model: of the robot.
        response: of its arms.
        leads: by name of label (`policy`: the policy's own actions), for each joint: (n,) rad, positive where the
            command is ahead of the motion.
    """

    model: ArmModel
    response: ArmResponse
    leads: dict[str, list[Array]]

    def rms(self, name: str) -> float:
        """rad, over all joints' moving rows; nan without any."""
        values = np.concatenate(self.leads[name])
        return float(np.sqrt((values**2).mean())) if len(values) else float("nan")

    def overlap(self, name: str) -> float:
        """Share that the distribution has in common with the policy's, 0..1."""
        one, other = (np.concatenate(self.leads[key]) for key in ("policy", name))
        if not len(one) or not len(other):
            return float("nan")
        edges = np.linspace(*_range([one, other]), 81)
        shares = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values) for values in (one, other)]
        return float(np.minimum(*shares).sum())


def distances(episodes: Sequence[Episode]) -> LabelDistances:
    """Of episodes of one robot.

    Raises:
        LabelError: gains or limits were not recorded.
    """
    total = ArmResponse.none()
    for episode in episodes:
        total += response(episode)
    model = fitted([total])
    kinds = {"command": Labelling("command"), "next row": Labelling("lookahead", 1)}
    if model.lookahead_rows is not None:
        kinds["look-ahead"] = Labelling("lookahead", model.lookahead_rows)
    leads: dict[str, list[list[Array]]] = {name: [[] for _ in range(JOINTS)] for name in ("policy", *kinds)}
    for episode in episodes:
        human, commanded = episode.phase == "human", is_commanded(episode)
        _collect(leads["policy"], episode, episode.action, commanded)
        for name, labelling in kinds.items():
            _collect(leads[name], episode, labelled(episode, labelling, model), human)
    return LabelDistances(
        model, total, {name: [np.concatenate([*parts, np.empty(0)]) for parts in each] for name, each in leads.items()}
    )


def _collect(found: list[list[Array]], episode: Episode, command: Array, rows: Array) -> None:
    for joint in range(JOINTS):
        speed = episode.qvel[:, joint]
        moving = rows & (np.abs(speed) > _MOVES_RAD_S)
        found[joint].append((command[moving, joint] - episode.qpos[moving, joint]) * np.sign(speed[moving]))


def plot_labels(found: LabelDistances, path: Path, heading: str) -> None:
    """Draw the figure at `path`.

    Raises:
        LabelError: no joint moves in the policy's rows or in a person's.
    """
    from matplotlib.figure import Figure

    if not any(map(len, found.leads["policy"])) or not any(map(len, found.leads["command"])):
        raise LabelError("labels cannot be compared: no joint moves in the policy's rows, or none in a person's")
    figure = Figure(figsize=(14, 8), dpi=110, layout="constrained")
    axes = figure.subplots(2, 2)
    _draw_distributions(axes[0, 0], found)
    _draw_lag(axes[0, 1], found)
    _draw_joints(axes[1, 0], found)
    _draw_friction(axes[1, 1], found)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=11)
    figure.savefig(path)


def _range(values: list[Array], share: float = 0.996) -> tuple[float, float]:
    """What the middle `share` of all values spans."""
    low, high = np.quantile(np.concatenate(values), [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _draw_distributions(axes: Any, found: LabelDistances) -> None:
    everything = {name: np.concatenate(each) for name, each in found.leads.items()}
    edges = np.linspace(*_range(list(everything.values()), 0.98), 81)
    for name, values in everything.items():
        label = "policy: action" if name == "policy" else f"human: {name}, overlap {found.overlap(name):.0%}"
        style = (
            {"alpha": 0.35, "histtype": "stepfilled"} if name == "policy" else {"histtype": "step", "linewidth": 1.6}
        )
        weights = np.full(len(values), 1 / (len(values) * (edges[1] - edges[0])))  # of all, those outside included
        axes.hist(values, edges, weights=weights, color=_COLOURS[name], label=label, **style)
    axes.axvline(0, color="#777777", linewidth=0.6)
    axes.set(
        xlabel="command ahead of the measured position in the direction of motion, rad",
        ylabel="density, 1/rad",
        title="What a row teaches, all joints while they move",
    )
    axes.legend(fontsize=9)


def _draw_lag(axes: Any, found: LabelDistances) -> None:
    total = found.response
    rms = np.sqrt(total.error / np.maximum(total.rows, 1)[:, None]) * 1e3
    known = np.isfinite(found.model.lag_rows)
    for joint in np.flatnonzero(known):
        name = JOINT_NAMES[joint].removesuffix("_joint").replace("_", " ")
        axes.plot(rms[:, joint], color=f"C{joint % 7}", linestyle="-" if joint < 7 else "--", linewidth=0.9, label=name)
        at = found.model.lag_rows[joint]
        axes.plot(at, np.interp(at, np.arange(len(rms)), rms[:, joint]), "o", color=f"C{joint % 7}", markersize=4)
    if found.model.lookahead_rows is not None:
        axes.axvline(found.model.lookahead_rows, color="black", linewidth=1.0)
    axes.set(
        xlabel="rows that the arms are behind",
        ylabel="rms of action(t) − qpos(t + rows), mrad",
        title=f"Lag of the arms behind the policy: {found.model.lookahead_rows} rows (dots: each joint's)",
        xlim=(0, _LAGS_SHOWN),
        ylim=(0, 1.1 * float(rms[: _LAGS_SHOWN + 1, known].max(initial=1.0))),
    )
    axes.legend(fontsize=7, ncols=2)


def _draw_joints(axes: Any, found: LabelDistances) -> None:
    names = [name for name in ("policy", "command", "look-ahead", "next row") if name in found.leads]
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        rms = [1e3 * float(np.sqrt((each**2).mean())) if len(each) else 0.0 for each in found.leads[name]]
        label = f"{'policy: action' if name == 'policy' else f'human: {name}'}, rms {1e3 * found.rms(name):.1f} mrad"
        axes.bar(
            np.arange(JOINTS) + (number - len(names) / 2 + 0.5) * width, rms, width, color=_COLOURS[name], label=label
        )
    _joint_ticks(axes)
    axes.set(ylabel="rms of command − qpos while it moves, mrad", title="The same, joint by joint")
    axes.legend(fontsize=8)


def _draw_friction(axes: Any, found: LabelDistances) -> None:
    axes.bar(np.arange(JOINTS) - 0.2, found.model.dry_nm, 0.4, color="#3d5a80", label="dry, N·m")
    axes.bar(np.arange(JOINTS) + 0.2, found.model.viscous_nms, 0.4, color="#98c1d9", label="viscous, N·m·s/rad")
    _joint_ticks(axes)
    axes.set(title="Friction found in the policy's rows, which labels of kind 'command' add", ylabel="N·m, N·m·s/rad")
    axes.legend(fontsize=8)


def _joint_ticks(axes: Any) -> None:
    names = [name.removesuffix("_joint").replace("shoulder", "sh").replace("wrist", "wr") for name in JOINT_NAMES]
    axes.set_xticks(range(JOINTS), [name.replace("_", " ") for name in names], rotation=60, ha="right", fontsize=7)
