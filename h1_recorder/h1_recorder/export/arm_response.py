# SPDX-License-Identifier: Apache-2.0
"""How arms follow commands, measured from the rows in which a policy ran: their lag, and their friction. Pure.

Everything is a sum over rows, so that episodes add up without being held together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES, stretches
from h1_recorder.episode.episode import Episode

Array = npt.NDArray[Any]

JOINTS = len(JOINT_NAMES)
LONGEST_LAG_ROWS = 25
STALE_ACTION_NS = 100_000_000
"""An action older than this is not one that the policy put out for the row (the arm driver holds from there)."""
STICTION_RAD_S = 0.02
"""Around this speed dry friction changes its side."""
_MOVES_RAD_S = 0.025
_FEWEST_ROWS = 100


class LabelError(ValueError):
    """What a label needs was not recorded; the message says what, and what to do."""


@dataclass(frozen=True)
class ArmResponse:
    """How the arms followed the policy, as sums that add up over episodes; each in the order of `JOINT_NAMES`.

    Attributes:
        error: (LONGEST_LAG_ROWS + 1, 14) rad², sum of (action(t) - qpos(t + k))² over the rows that have one.
        rows: (LONGEST_LAG_ROWS + 1,) how many those are.
        speed: (14,) rad²/s², sum of qvel² over the rows of k = 0.
        normal: (14, 3, 3) and right: (14, 3) of the least squares for friction: dry, viscous, constant.
    """

    error: Array
    rows: Array
    speed: Array
    normal: Array
    right: Array

    @classmethod
    def none(cls) -> ArmResponse:
        """Of no rows."""
        lags = LONGEST_LAG_ROWS + 1
        shapes = ((lags, JOINTS), (lags,), (JOINTS,), (JOINTS, 3, 3), (JOINTS, 3))
        return cls(*(np.zeros(shape) for shape in shapes))

    def __add__(self, other: ArmResponse) -> ArmResponse:
        return ArmResponse(*(one + two for one, two in zip(vars(self).values(), vars(other).values(), strict=True)))

    def to_json(self) -> dict[str, Any]:
        """As JSON can have it; `ArmResponse(**{name: np.array(value)})` is the way back."""
        return {name: value.tolist() for name, value in vars(self).items()}


@dataclass(frozen=True)
class ArmModel:
    """What is known of one robot's response to commands.

    Attributes:
        lag_rows: (14,) by which qpos follows action, a joint; NaN where it cannot be measured.
        dry_nm: (14,) F, N·m; zeros if it cannot be measured.
        viscous_nms: (14,) B, N·m·s/rad.
    """

    lag_rows: Array
    dry_nm: Array
    viscous_nms: Array

    @property
    def lookahead_rows(self) -> int | None:
        """The lag as a number of rows, at least 1: the median over the joints that moved; None if none did."""
        known = self.lag_rows[np.isfinite(self.lag_rows)]
        return max(round(float(np.median(known))), 1) if len(known) else None

    @property
    def spread_rows(self) -> tuple[float, float] | None:
        """Least and greatest lag of a joint that moved."""
        known = self.lag_rows[np.isfinite(self.lag_rows)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def to_json(self) -> dict[str, Any]:
        """As the dataset's metadata has it."""
        lags = [None if np.isnan(lag) else round(float(lag), 2) for lag in self.lag_rows]
        return {
            "lookahead_rows": self.lookahead_rows,
            "lag_rows": dict(zip(JOINT_NAMES, lags, strict=True)),
            "dry_friction_nm": dict(zip(JOINT_NAMES, np.round(self.dry_nm, 3).tolist(), strict=True)),
            "viscous_friction_nms": dict(zip(JOINT_NAMES, np.round(self.viscous_nms, 3).tolist(), strict=True)),
        }


class Phases(Protocol):
    """Who was in control of each row: an episode, or what a survey keeps of one."""

    @property
    def phase(self) -> Array:
        """(T,) "policy" or "human"."""

    @property
    def segment(self) -> Array:
        """(T,) number of the unbroken run of rows."""

    def __len__(self) -> int: ...


def bands(rows: Phases) -> list[tuple[int, int, str]]:
    """First row, row after the last, and phase of each unbroken stretch of one phase."""
    return [(first, last, str(rows.phase[first])) for first, last in stretches(rows.phase, rows.segment)]


def is_commanded(episode: Episode) -> Array:
    """(T,) bool: policy rows whose action was put out for that moment, not stood in for and not stale."""
    age_ns = episode.stamps["tick"] - episode.stamps["action"]
    fresh = (episode.stamps["action"] >= 0) & (age_ns <= STALE_ACTION_NS)
    return np.asarray((episode.phase == "policy") & fresh)


def response(episode: Episode) -> ArmResponse:
    """How the arms followed the policy in `episode`; friction only if its gains are known."""
    total, commanded = ArmResponse.none(), is_commanded(episode)
    try:
        kp = stiffness(episode)
    except LabelError:
        kp = np.zeros(JOINTS)
    for first, last, phase in bands(episode):
        if phase != "policy":
            continue
        rows = slice(first, last)
        q, v, action = (values[rows].astype(np.float64) for values in (episode.qpos, episode.qvel, episode.action))
        valid = commanded[rows]
        error, count = np.zeros_like(total.error), np.zeros_like(total.rows)
        for lag in range(min(LONGEST_LAG_ROWS + 1, last - first)):
            behind = slice(0, last - first - lag)
            error[lag] = ((action[behind] - q[lag:])[valid[behind]] ** 2).sum(0)
            count[lag] = valid[behind].sum()
        stretch = kp * (episode.applied_action[rows] - q)
        known = np.stack([np.tanh(v / STICTION_RAD_S), v, np.ones_like(v)], axis=2)[valid]
        normal = np.einsum("tji,tjk->jik", known, known)
        right = np.einsum("tji,tj->ji", known, stretch[valid])
        total += ArmResponse(error, count, (v[valid] ** 2).sum(0), normal, right)
    return total


def fitted(responses: Iterable[ArmResponse]) -> ArmModel:
    """The model of the robot whose `responses` these are."""
    total = ArmResponse.none()
    for found in responses:
        total += found
    lag, dry, viscous = np.full(JOINTS, np.nan), np.zeros(JOINTS), np.zeros(JOINTS)
    if total.rows[0] < _FEWEST_ROWS:
        return ArmModel(lag, dry, viscous)
    for joint in np.flatnonzero(np.sqrt(total.speed / total.rows[0]) > _MOVES_RAD_S):
        mean = total.error[:, joint] / np.maximum(total.rows, 1)
        lag[joint] = _least(mean[total.rows >= _FEWEST_ROWS / 2])
        dry[joint], viscous[joint] = np.maximum(_solved(total.normal[joint], total.right[joint]), 0.0)
    return ArmModel(lag, dry, viscous)


def _solved(normal: Array, right: Array) -> Array:
    """(2,) dry and viscous friction."""
    return np.asarray(np.linalg.lstsq(normal, right, rcond=None)[0][:2])


def _least(curve: Array) -> float:
    """Where a curve has its minimum, by the parabola through the least value and its neighbours."""
    at = int(curve.argmin())
    if at in (0, len(curve) - 1):
        return float(at)
    before, here, after = curve[at - 1 : at + 2]
    bend = before - 2 * here + after
    return at + (float((before - after) / (2 * bend)) if bend > 0 else 0.0)


def stiffness(episode: Episode) -> Array:
    """(14,) kp of the arms in POLICY, N·m/rad.

    Raises:
        LabelError: it was not recorded.
    """
    return _per_joint(episode, "gains", "kp")


def acceleration(episode: Episode) -> Array:
    """(14,) the driver's limit of acceleration, rad/s².

    Raises:
        LabelError: it was not recorded.
    """
    return _per_joint(episode, "limits", "acceleration_rad_s2")


def _per_joint(episode: Episode, attribute: str, name: str) -> Array:
    try:
        table = json.loads(episode.attributes[attribute])
        values = np.array(table[name] if isinstance(table, Mapping) else None, np.float64)
    except (KeyError, ValueError, TypeError):
        values = np.empty(0)
    if values.shape != (JOINTS,) or not (values > 0).all():
        raise LabelError(
            f"{episode.path}: attribute '{attribute}' has no {JOINTS} positive values '{name}', which labels of kind"
            " 'command' need; use --labels lookahead"
        )
    return values
