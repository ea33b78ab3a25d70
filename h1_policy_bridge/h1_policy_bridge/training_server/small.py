# SPDX-License-Identifier: Apache-2.0
"""A small policy that a CPU learns in seconds: kernel ridge regression from the head's image and 14 angles to a chunk.

Of the image it keeps two numbers: the middle of what is more colourful than all that is always there. The reply is ten
way points, as offsets from the measured pose. What it knows beforehand is thus that the object is the one colourful
thing: that makes a few demonstrations enough, and is what a policy for real tasks has to learn.

It learns from a person's rows alone. Rows of the policy, even of its successes, teach it its own errors again, 2 cm of
which pass for a success (`policy_weight` lets them in). Width, ridge and the image's share are chosen by leaving out an
episode at a time, in closed form, and judged by what the person showed in it: a policy foretells its own rows easily.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_policy_bridge.training_server.policy import (
    ARM_JOINTS,
    ARMS_AND_HANDS,
    HORIZON,
    Dataset,
    Report,
    TrainingError,
    checked_state,
    head_image,
)
from h1_policy_bridge.training_server.rows import EpisodeRows, Run, read_rows, runs, sample_weights, way_points
from h1_training_node.parameter import parameter

Array = npt.NDArray[np.float64]

FILE = "policy.npz"
_EVERY_ROWS = 5
"""Rows between two samples: 10 Hz."""
_AHEAD = np.arange(5, HORIZON + 1, 5)
_MAP_PX = 64
_ALWAYS_PERCENTILE, _NOISE_FLOOR, _FAINT = 99.0, 12.0, 65.0
"""What is always there; colourfulness above it, of 255, that is noise; the sum of squares at which it counts half."""
_STATE_SCALE = 1.5
_IDLE_ROWS, _IDLE_RAD = 25, 0.02
_IMAGE_SCALES, _WIDTHS, _RIDGES = (1.75, 3.5, 7.0), (0.125, 0.25, 0.5, 1.0, 2.0), (1e-2, 3e-2, 1e-1, 3e-1)
"""Of the kernel: per image width; of the median distance; for a row of weight 1."""
_MOST_FOR_CHOICE = 600
"""Samples among which the three are chosen."""
_CAPTION_ROWS = 0.92
"""Below this share of the height a caption would stand."""


@dataclass(frozen=True)
class SmallSettings:
    """What the small policy learns from; the defaults are best, the rest shows what happens without."""

    lookahead_rows: int = parameter(2, "a person's row teaches where the arms are so much later", low=0, high=25)
    policy_weight: float = parameter(0.0, "of rows of the policy that nobody had to correct", low=0, high=1)
    labels: str = parameter("lookahead", "what a person's rows teach", choices=("lookahead", "zeros"))
    rows: str = parameter("all", "whose rows count", choices=("all", "human", "policy"))
    split: str = parameter("runs", "whether way points end with a run", choices=("runs", "none"))
    sees: str = parameter(
        "image", "of the image: all, nothing, or its lowest rows", choices=("image", "blind", "caption")
    )


@dataclass(frozen=True)
class Samples:
    """What is learned from.

    Attributes:
        colour: (N, 64, 64) float32, how colourful the image is.
        state: (N, 14) rad.
        target: (N, 140) rad, way points as offsets from the state.
        weight: (N,).
        group: (N,) number of the episode.
        is_human: (N,) bool, a person's row.
    """

    colour: npt.NDArray[np.float32]
    state: Array
    target: Array
    weight: Array
    group: npt.NDArray[np.int_]
    is_human: npt.NDArray[np.bool_]


def colourfulness(image: npt.NDArray[np.uint8], sees: str = "image") -> npt.NDArray[np.float32]:
    """(64, 64) float32: how far each pixel of an RGB image is from grey, of 255."""
    small = cv2.resize(image, (_MAP_PX, _MAP_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    colour: npt.NDArray[np.float32] = np.abs(small - small.mean(axis=2, keepdims=True)).max(axis=2)
    if sees == "blind":
        colour[:] = 0.0
    elif sees == "caption":
        colour[: round(_CAPTION_ROWS * _MAP_PX)] = 0.0
    return colour


def samples(episodes: Sequence[EpisodeRows], settings: SmallSettings) -> Samples:
    """What `settings` takes from the episodes; perhaps nothing."""
    colour, state, target, weight, group, is_human = [], [], [], [], [], []
    for number, rows in enumerate(episodes):
        counts = _weights(rows, settings)
        for run in runs(rows):
            for row in range(-(-run.start // _EVERY_ROWS) * _EVERY_ROWS, run.stop, _EVERY_ROWS):
                if counts[row] <= 0 or _is_idle(rows, run, row):
                    continue
                colour.append(colourfulness(rows.image(row), settings.sees))
                state.append(rows.qpos[row])
                target.append((_label(rows, run, row, settings) - rows.qpos[row]).ravel())
                weight.append(counts[row])
                group.append(number)
                is_human.append(run.is_human)
    return Samples(
        np.array(colour, np.float32).reshape(-1, _MAP_PX, _MAP_PX),
        np.array(state).reshape(-1, ARM_JOINTS),
        np.array(target).reshape(-1, len(_AHEAD) * ARM_JOINTS),
        np.array(weight),
        np.array(group, int),
        np.array(is_human, bool),
    )


def _weights(rows: EpisodeRows, settings: SmallSettings) -> Array:
    if settings.rows == "policy":
        return np.where(rows.is_human, 0.0, 1.0)
    weights = sample_weights(rows, settings.policy_weight)
    return np.where(rows.is_human, weights, 0.0) if settings.rows == "human" else weights


def _is_idle(rows: EpisodeRows, run: Run, row: int) -> bool:
    """A person who has not begun yet; at the end of a run standing still is what is to be learned."""
    later = row + _IDLE_ROWS
    return run.is_human and later < run.stop - 1 and bool(np.abs(rows.qpos[later] - rows.qpos[row]).max() < _IDLE_RAD)


def _label(rows: EpisodeRows, run: Run, row: int, settings: SmallSettings) -> Array:
    # Without runs, as a trainer does that knows no phases: it reads the column `action` on and on.
    last = len(rows.action) - 1 if settings.split == "none" else run.stop - 1
    if settings.split == "none" or (settings.labels == "zeros" and run.is_human):
        label: Array = rows.action[np.minimum(row + _AHEAD, last)]
        return label
    return way_points(rows, run, row, _AHEAD, settings.lookahead_rows)


@dataclass
class KernelPolicy:
    """Answers from the samples it has seen.

    Attributes:
        always: colourfulness, of 255, that is in every image somewhere.
        centres, states: (N, 2) image widths and (N, 14) rad, of the samples.
        alpha: (N, 140), what each contributes.
        mean: (140,).
        image_scale, width: of the kernel.
        sees: as in the settings.
    """

    always: float
    centres: Array
    states: Array
    alpha: Array
    mean: Array
    image_scale: float
    width: float
    sees: str = "image"
    metrics: dict[str, float] = field(default_factory=dict)

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See `policy.Policy`."""
        state = checked_state(observation, ARM_JOINTS)
        seen = _centre(colourfulness(head_image(observation), self.sees), self.always)[None]
        distance = _distances(seen, state[None], self.centres, self.states, self.image_scale)
        offsets = self.mean + (np.exp(-distance / (2 * self.width)) @ self.alpha)[0]
        return {"actions": chunk(state, offsets.reshape(len(_AHEAD), ARM_JOINTS)).astype(np.float32)}

    def close(self) -> None:
        """Nothing is held."""

    def save(self, path: Path) -> None:
        """Write it, without a pickle in it."""
        with path.open("wb") as file:
            np.savez(
                file,
                centres=self.centres,
                states=self.states,
                alpha=self.alpha,
                mean=self.mean,
                numbers=np.array([self.always, self.image_scale, self.width]),
                sees=np.array(self.sees),
            )

    @classmethod
    def read(cls, path: Path) -> KernelPolicy:
        """What `save` wrote.

        Raises:
            TrainingError: it is not that.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                always, image_scale, width = (float(number) for number in file["numbers"])
                found = cls(
                    always, file["centres"], file["states"], file["alpha"], file["mean"],
                    image_scale, width, str(file["sees"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise TrainingError(f"{path}: no weights of the small policy: {error}") from None
        count = len(found.centres)
        if found.alpha.shape != (count, len(_AHEAD) * ARM_JOINTS) or len(found.states) != count:
            raise TrainingError(f"{path}: weights that do not belong together")
        return found


class HoldPolicy:
    """What serves before anything was learned: the arms stay where they are.

    Args:
        action_dim: values of the state; None takes 14 and 26.
    """

    def __init__(self, action_dim: int | None = ARM_JOINTS) -> None:
        self._action_dim = action_dim

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See `policy.Policy`."""
        hands = self._action_dim is None and np.size(observation.get("state", 0)) == ARMS_AND_HANDS
        state = checked_state(observation, ARMS_AND_HANDS if hands else ARM_JOINTS)
        return {"actions": np.tile(state, (HORIZON, 1)).astype(np.float32)}

    def close(self) -> None:
        """Nothing is held."""


def chunk(state: Array, offsets: Array) -> Array:
    """(50, 14), rad: straight from way point to way point, which are `offsets`, (10, 14), from `state`, (14,)."""
    ways = np.vstack([np.zeros(ARM_JOINTS), offsets])
    times, at = np.arange(1, HORIZON + 1), np.concatenate([[0], _AHEAD])
    steps: Array = np.stack([np.interp(times, at, ways[:, joint]) for joint in range(ARM_JOINTS)], axis=1)
    return state + steps


def fit(found: Samples, settings: SmallSettings) -> KernelPolicy:
    """Learn.

    Raises:
        TrainingError: there is nothing to learn from.
    """
    if len(found.state) < len(_AHEAD):
        raise TrainingError(f"{len(found.state)} samples; at least {len(_AHEAD)} are needed")
    always = float(np.percentile(np.median(found.colour, axis=0), _ALWAYS_PERCENTILE))
    centres = np.stack([_centre(colour, always) for colour in found.colour])
    image_scale, width, ridge, error = _chosen(found, centres, _few(found.group))
    mean = np.average(found.target, axis=0, weights=found.weight)
    kernel = np.exp(-_distances(centres, found.state, centres, found.state, image_scale) / (2 * width))
    alpha = np.linalg.solve(kernel + np.diag(ridge / found.weight), found.target - mean)
    metrics = {"samples": float(len(centres)), "left_out_rms_rad": error, "ridge": ridge, "image_scale": image_scale}
    return KernelPolicy(always, centres, found.state, alpha, mean, image_scale, width, settings.sees, metrics)


def _centre(colour: npt.NDArray[np.float32], always: float) -> Array:
    """(2,), image widths from the middle: of what is more colourful than what is always there; (0, 0) for nothing."""
    weight = np.maximum(colour - always - _NOISE_FLOOR, 0.0).astype(float) ** 2
    place = (np.arange(_MAP_PX) - (_MAP_PX - 1) / 2) / _MAP_PX
    centre: Array = np.array([weight.sum(axis=0) @ place, weight.sum(axis=1) @ place]) / (weight.sum() + _FAINT)
    return centre


def _squares(one: Array, other: Array) -> Array:
    distance: Array = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.maximum(distance, 0.0)


def _distances(centres: Array, states: Array, other_centres: Array, other_states: Array, image_scale: float) -> Array:
    return image_scale**2 * _squares(centres, other_centres) + _STATE_SCALE**2 * _squares(states, other_states)


def _few(group: npt.NDArray[np.int_]) -> npt.NDArray[np.intp]:
    """Samples of whole episodes, `_MOST_FOR_CHOICE` at most, but of two at least."""
    order = np.random.default_rng(0).permutation(np.unique(group))
    sizes = np.cumsum([(group == number).sum() for number in order])
    count = max(2, int((sizes <= _MOST_FOR_CHOICE).sum()))
    return np.flatnonzero(np.isin(group, order[:count]))


def _chosen(found: Samples, centres: Array, few: npt.NDArray[np.intp]) -> tuple[float, float, float, float]:
    """Image scale, width and ridge whose error on a left-out episode's human rows is least, and that error, rad rms."""
    centres, state, group = centres[few], found.state[few], found.group[few]
    root = np.sqrt(found.weight[few])[:, None]
    judged = found.is_human[few] if found.is_human[few].any() else np.ones(len(few), bool)
    centred = root * (found.target[few] - np.average(found.target[few], axis=0, weights=found.weight[few]))
    episodes = [np.flatnonzero(group == number) for number in np.unique(group)]
    best = (np.inf, 1.0, 1.0, 1.0)
    for image_scale in _IMAGE_SCALES:
        distance = _distances(centres, state, centres, state, image_scale)
        middle = float(np.median(distance)) or 1.0
        for width in (middle * factor for factor in _WIDTHS):
            values, vectors = np.linalg.eigh(root * np.exp(-distance / (2 * width)) * root.T)
            for ridge in _RIDGES:
                inverse = (vectors / (np.maximum(values, 0.0) + ridge)) @ vectors.T
                alpha = inverse @ centred
                left_out = 0.0
                for rows in episodes:
                    missed = np.linalg.solve(inverse[np.ix_(rows, rows)], alpha[rows]) / root[rows]
                    left_out += float((missed[judged[rows]] ** 2).sum())
                best = min(best, (left_out, image_scale, width, ridge))
    error, image_scale, width, ridge = best
    return image_scale, width, ridge, float(np.sqrt(error / (judged.sum() * found.target.shape[1])))


class SmallTrainer:
    """See `policy.Trainer`.

    Args:
        settings: see `SmallSettings`.
    """

    settings_type = SmallSettings

    def __init__(self, settings: SmallSettings) -> None:
        self._settings = settings

    def train(self, dataset: Dataset, previous: Path | None, out: Path, report: Report) -> dict[str, Any]:
        """Read all episodes, learn from all of them."""
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        episodes = []
        for number, path in enumerate(dataset.episodes):
            report(0.7 * number / len(dataset.episodes), f"reading {path.name}")
            episodes.append(read_rows(path))
        found = samples(episodes, self._settings)
        report(0.7, f"learning from {len(found.state)} samples")
        policy = fit(found, self._settings)
        policy.save(out / FILE)
        seconds, cpu_seconds = time.monotonic() - began_s, time.process_time() - began_cpu_s
        return {**policy.metrics, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}

    def load(self, checkpoint: Path | None) -> KernelPolicy | HoldPolicy:
        """The weights, or standing still."""
        return HoldPolicy() if checkpoint is None else KernelPolicy.read(checkpoint / FILE)
