# SPDX-License-Identifier: Apache-2.0
"""The rows of an episode as a dataset has them, whatever its format: columns, and what each is. Pure.

`observation.state` and `action` are what trainers look for. All else keeps the name it has in the episode file, so that
no stock trainer takes it for an observation or an action: LeRobot's feeds every column that begins with `observation`
or `action` to the policy (lerobot 0.6.1: utils/feature_utils.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode
from h1_recorder.export.selection import pre_intervention, row_kinds

Array = npt.NDArray[Any]

HAND_NAMES = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("little", "ring", "middle", "index", "thumb_bend", "thumb_rotation")
)
"""Order of the hands' twelve values: the registers' own."""

OUTCOME_VALUES = {"success": 1, "failure": 0, "unlabeled": -1}

NO_HANDS, HAND_STATE, HAND_ACTION = "none", "state", "action"
"""What a dataset has of the hands: nothing, what they measured, or besides what the policy commanded (26 values)."""


class ExportError(ValueError):
    """An episode that cannot be exported, or not together with the others; the message says which and why."""


@dataclass(frozen=True)
class Kind:
    """What all episodes of a dataset have in common.

    Attributes:
        fps: rows a second.
        cameras: height and width of each one's images, even as videos have them.
        hands: `NO_HANDS`, `HAND_STATE` or `HAND_ACTION`.
    """

    fps: int
    cameras: Mapping[str, tuple[int, int]]
    hands: str

    @property
    def width(self) -> int:
        """Values of state and action."""
        return len(JOINT_NAMES) + (len(HAND_NAMES) if self.hands == HAND_ACTION else 0)


@dataclass(frozen=True)
class Place:
    """Where the rows of an episode file stand in a dataset.

    Attributes:
        runs: first row and row after the last of each episode that the dataset makes of the file.
        episode_index: of the first of them.
        first_index: `index` of its first row.
        task_index: of its task.
        source: number of the file.
    """

    runs: tuple[tuple[int, int], ...]
    episode_index: int
    first_index: int
    task_index: int
    source: int

    @property
    def rows(self) -> int:
        """How many rows they have together."""
        return sum(last - first for first, last in self.runs)


def columns(
    episode: Episode, place: Place, kind: Kind, action: Array, valid: Array, weights: Sequence[float]
) -> dict[str, Array]:
    """Every column of a dataset but the images.

    Args:
        episode: as read.
        place: which rows, and where they stand.
        kind: of the dataset.
        action: (T, 14) float32, rad, see `labels.labelled`.
        valid: (T,) bool, where it is one.
        weights: of a row of each of `selection.ROW_KINDS`.

    Returns:
        `observation.state`, `action`: (n, 14 or 26) float32, rad, hands 0 closed .. 1 open; others (n,) or (n, 14).
    """
    taken = np.concatenate([np.arange(first, last) for first, last in place.runs])
    human = episode.phase == "human"
    found: dict[str, Array] = {
        "observation.state": _with_hands(episode.qpos, episode.hand_qpos, kind),
        "action": _with_hands(action, _hand_labels(episode, human), kind),
        "applied_action": episode.applied_action,
        "qvel": episode.qvel,
        "effort": episode.effort,
        "valid_action": valid,
        "intervention": human,
        "pre_intervention": pre_intervention(episode),
        "sample_weight": np.asarray(weights, np.float32)[row_kinds(episode)],
        "segment": episode.segment.astype(np.int64),
        "source": np.full(len(episode), place.source, np.int64),
        "source_row": np.arange(len(episode), dtype=np.int64),
        "epoch": np.full(len(episode), int(episode.attributes["epoch"]), np.int64),
        "outcome": np.full(len(episode), OUTCOME_VALUES[episode.attributes["outcome"]], np.int64),
    }
    if kind.hands != NO_HANDS:
        assert episode.hand_qpos is not None
        found["hand_qpos"] = episode.hand_qpos
    if kind.hands == HAND_ACTION:
        assert episode.hand_command is not None
        found["hand_command"] = episode.hand_command
    found |= _times(episode, kind)
    return {name: values[taken] for name, values in found.items()} | _bookkeeping(episode, place, kind, taken)


def has_hand_state(episode: Episode) -> Array:
    """(T,) bool: where both hands are is known; true where there are none."""
    known = np.full(len(episode), True)
    for values in (episode.hand_qpos, episode.hand_command, episode.hand_action):
        if values is not None:
            known &= np.isfinite(values).all(axis=1)
    return known


def _with_hands(arms: Array, hands: Array | None, kind: Kind) -> Array:
    if kind.hands != HAND_ACTION:
        return arms.astype(np.float32)
    assert hands is not None
    return np.hstack([arms, hands]).astype(np.float32)


def _hand_labels(episode: Episode, human: Array) -> Array | None:
    """(T, 12) what the policy commanded the hands; in a person's rows what keeps them as they are."""
    if episode.hand_action is None or episode.hand_command is None:
        return None
    return np.where(human[:, None], episode.hand_command, episode.hand_action)


def _times(episode: Episode, kind: Kind) -> dict[str, Array]:
    """Stamps, ns of the session clock (-1: none yet, or a dummy), and what they say of ages, s (-1 likewise)."""
    tick = episode.stamps["tick"]
    found = {"stamps.tick": tick}
    for name in ("qpos", "action", *kind.cameras):
        stamps = episode.stamps[name]
        found[f"stamps.{name}"] = stamps
        found[f"age_s.{name}"] = np.where(stamps < 0, -1.0, (tick - stamps) / 1e9).astype(np.float32)
    return found


def _bookkeeping(episode: Episode, place: Place, kind: Kind, taken: Array) -> dict[str, Array]:
    """Where rows stand, and how their episode of the dataset ends."""
    lengths = np.array([last - first for first, last in place.runs])
    ends = np.zeros(len(taken), bool)
    ends[lengths.cumsum() - 1] = True
    over = ends & (taken == len(episode) - 1)
    success = over & (episode.attributes["outcome"] == "success")
    frame = np.concatenate([np.arange(length) for length in lengths])
    return {
        "next.reward": success.astype(np.float32),
        "next.done": ends,
        "next.truncated": ends & ~over,
        "next.success": success,
        "timestamp": (frame / kind.fps).astype(np.float32),
        "frame_index": frame.astype(np.int64),
        "episode_index": place.episode_index + np.repeat(np.arange(len(lengths)), lengths).astype(np.int64),
        "index": place.first_index + np.arange(len(taken), dtype=np.int64),
        "task_index": np.full(len(taken), place.task_index, np.int64),
    }


def features(kind: Kind) -> dict[str, dict[str, Any]]:
    """dtype, shape and names of every column of `columns`, in its order."""
    arms, hands = list(JOINT_NAMES), list(HAND_NAMES)
    both = arms + (hands if kind.hands == HAND_ACTION else [])
    found = {name: _feature("float32", both) for name in ("observation.state", "action")}
    found |= {name: _feature("float32", arms) for name in ("applied_action", "qvel", "effort")}
    found |= {name: _feature("bool") for name in ("valid_action", "intervention", "pre_intervention")}
    found["sample_weight"] = _feature("float32")
    found |= {name: _feature("int64") for name in ("segment", "source", "source_row", "epoch", "outcome")}
    if kind.hands != NO_HANDS:
        found["hand_qpos"] = _feature("float32", hands)
    if kind.hands == HAND_ACTION:
        found["hand_command"] = _feature("float32", hands)
    found["stamps.tick"] = _feature("int64")
    for name in ("qpos", "action", *kind.cameras):
        found |= {f"stamps.{name}": _feature("int64"), f"age_s.{name}": _feature("float32")}
    found["next.reward"] = _feature("float32")
    found |= {name: _feature("bool") for name in ("next.done", "next.truncated", "next.success")}
    found["timestamp"] = _feature("float32")
    found |= {name: _feature("int64") for name in ("frame_index", "episode_index", "index", "task_index")}
    return found


def _feature(dtype: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}
