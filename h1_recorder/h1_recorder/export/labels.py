# SPDX-License-Identifier: Apache-2.0
"""Labels for a person's rows: the command that makes the arms be where the person had them. Pure, no file is touched.

A policy's `action` is a position command; the arms are there only some rows later, and only if it leads them. A person
commands nothing, so a label is computed from what was measured, in one of two ways:

- `lookahead`: the joint positions `rows` later. `rows` is the lag of `qpos` behind `action` in the policy's rows.
- `command`: the position that the driver would have had to be asked for. With q, v at t + d,

      label(t) = q + v |v| / (2 a) + (F tanh(v / v0) + B v) / kp

  d is the delay of the driver's interpolation and mean (`DELAY_S`), v |v| / (2 a) the distance that its pursuit keeps
  so that it can still stop within the acceleration limit a (arm_driver/trajectory.py), and the last term what the
  spring kp has to be stretched by against the joint's friction. Gravity cancels: the driver feeds it forward in both
  phases. kp and a are the file's own; F and B come from the policy's rows by least squares of kp (applied - q).

Both are tried against the simulated robot in h1_training_bringup/test/test_export_labels.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import (
    STICTION_RAD_S,
    ArmModel,
    LabelError,
    Phases,
    acceleration,
    bands,
    stiffness,
)

Array = npt.NDArray[Any]

DELAY_S = 0.028
"""Of the arm driver: 20 ms of interpolation from action to action, and a mean over five periods of 4 ms."""
_MOST_FRICTION_RAD = 0.05
"""However stiff a joint seems: an arm that was held back by something is no measure of friction."""
_SMOOTHED_ROWS = 5


@dataclass(frozen=True)
class Labelling:
    """How the human rows of a dataset are labelled.

    Attributes:
        kind: `command` or `lookahead`.
        rows: fixed look-ahead; None: as measured.
    """

    kind: str = "command"
    rows: int | None = None


def ahead_rows(labelling: Labelling, model: ArmModel, fps: float) -> float:
    """How many rows a label looks ahead.

    Raises:
        LabelError: it is to be measured, and cannot be.
    """
    if labelling.kind == "command":
        return DELAY_S * fps
    rows = labelling.rows or model.lookahead_rows
    if rows is None:
        raise LabelError("no policy rows in motion to measure the look-ahead from; give it: --lookahead ROWS")
    return rows


def has_action(rows: Phases, commanded: Array, ahead: float) -> Array:
    """(T,) bool: the policy put an action out for that row, or a person's run goes on for as long as `ahead` rows.

    Args:
        rows: of an episode.
        commanded: (T,) bool, see `is_commanded`.
        ahead: see `ahead_rows`.
    """
    valid = commanded.copy()
    for first, last, phase in bands(rows):
        if phase == "human":
            valid[first:last] = np.arange(first, last) + ahead <= last - 1
    return valid


def labelled(episode: Episode, labelling: Labelling, model: ArmModel) -> Array:
    """Actions of every row: (T, 14) float32, rad, the policy's in its rows, labels in a person's.

    A label that would look beyond the end of its run stays at that end; `has_action` says where.

    Args:
        episode: as read.
        labelling: of the human rows.
        model: of the robot that it was recorded on.

    Raises:
        LabelError: what the labels need was not recorded.
    """
    action = episode.action.astype(np.float32)
    ahead = ahead_rows(labelling, model, float(episode.attributes["fps"]))
    for first, last, phase in bands(episode):
        if phase != "human":
            continue
        q = later(episode.qpos[first:last].astype(np.float64), ahead)
        if labelling.kind == "command":
            v = later(_smoothed(episode.qvel[first:last].astype(np.float64)), ahead)
            q = q + _lead(v, episode, model)
        action[first:last] = q
    return action


def _lead(v: Array, episode: Episode, model: ArmModel) -> Array:
    """(n, 14) rad, by which a command has to lead arms that move with v, rad/s."""
    friction = (model.dry_nm * np.tanh(v / STICTION_RAD_S) + model.viscous_nms * v) / stiffness(episode)
    bounded = np.clip(friction, -_MOST_FRICTION_RAD, _MOST_FRICTION_RAD)
    return np.asarray(v * np.abs(v) / (2 * acceleration(episode)) + bounded)


def later(values: Array, rows: float) -> Array:
    """(n, m) the values `rows` later, between rows linearly; the last one where they end before."""
    at = np.minimum(np.arange(len(values)) + rows, len(values) - 1)
    below = np.floor(at).astype(int)
    above = np.minimum(below + 1, len(values) - 1)
    share = (at - below)[:, None]
    return np.asarray(values[below] * (1 - share) + values[above] * share)


def _smoothed(values: Array) -> Array:
    """(n, m) means over the five rows around each, as many as there are at the ends."""
    half = _SMOOTHED_ROWS // 2
    total = np.vstack([np.zeros((1, values.shape[1])), values.cumsum(0)])
    row = np.arange(len(values))
    first, last = np.maximum(row - half, 0), np.minimum(row + half + 1, len(values))
    return np.asarray((total[last] - total[first]) / (last - first)[:, None])
