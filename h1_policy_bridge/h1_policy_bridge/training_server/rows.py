# SPDX-License-Identifier: Apache-2.0
"""From an episode to what a policy can learn from it: unbroken runs, a label for each row, and how much it counts.

A row that a person guided says where the arms should be `lookahead` rows later: what the arms were is no command. How
much a row counts is what an export's `sample_weight` says (`h1_recorder.export.selection`, `success`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.images import Image, ImageError, stretched
from h1_policy_bridge.training_server.policy import ARM_JOINTS, TrainingError
from h1_recorder.episode import episode as episode_file
from h1_recorder.episode.content import stretches
from h1_recorder.export.selection import is_corrected, kind_weights, kinds_of

Joints = npt.NDArray[np.float64]
"""(T, 14), rad."""

IMAGE_PX = 224


@dataclass(frozen=True)
class EpisodeRows:
    """The rows of one episode, whoever has them.

    Attributes:
        name: for messages.
        qpos, action: (T, 14) rad, measured, and put out by the policy (zeros where a person guided).
        is_human: (T,).
        segment: (T,) number of the unbroken run of rows.
        tick: (T,) ns, each row's time.
        succeeded: its outcome.
        image: of the head camera at a row, (224, 224, 3) uint8 RGB.
    """

    name: str
    qpos: Joints
    action: Joints
    is_human: npt.NDArray[np.bool_]
    segment: npt.NDArray[np.int32]
    tick: npt.NDArray[np.int64]
    succeeded: bool
    image: Callable[[int], Image]


@dataclass(frozen=True)
class Run:
    """Rows from `start` to before `stop`, one phase, no break."""

    start: int
    stop: int
    is_human: bool


def read_rows(path: Path, *, images: bool = True) -> EpisodeRows:
    """The rows of an episode's file. Its images are decoded as the bridge shows them to a policy; without, none is.

    Raises:
        TrainingError: it is no episode, or an image in it (when it is asked for) does not decode.
    """
    try:
        found = episode_file.read(path)
        jpegs = found.jpegs("ego_cam") if images else []
    except (episode_file.EpisodeError, OSError) as error:
        raise TrainingError(str(error)) from None
    return EpisodeRows(
        name=str(path),
        qpos=found.qpos.astype(np.float64),
        action=found.action[:, :ARM_JOINTS].astype(np.float64),
        is_human=found.phase == "human",
        segment=found.segment,
        tick=found.stamps["tick"],
        succeeded=found.attributes.get("outcome") == "success",
        image=partial(_decoded, path, jpegs),
    )


def _decoded(path: Path, jpegs: list[bytes], row: int) -> Image:
    try:
        return stretched(jpegs[row], IMAGE_PX)
    except ImageError as error:
        raise TrainingError(f"{path}: image {row} of ego_cam: {error}") from None


def runs(rows: EpisodeRows) -> list[Run]:
    """The episode's runs, in order."""
    return [Run(start, stop, bool(rows.is_human[start])) for start, stop in stretches(rows.is_human, rows.segment)]


def is_correction(rows: EpisodeRows, run: Run) -> bool:
    """A person moved the arms in it, and did not only let them be."""
    return bool(is_corrected(rows.is_human, rows.segment, rows.qpos)[run.start])


def sample_weights(rows: EpisodeRows, policy_weight: float) -> npt.NDArray[np.float64]:
    """(T,): 1 for a person's rows, `policy_weight` for a policy's run in a success that nobody corrected, else 0."""
    kinds = kinds_of(rows.is_human, rows.segment, rows.tick, rows.qpos, succeeded=rows.succeeded)
    weights: npt.NDArray[np.float64] = np.array(kind_weights("success", np.bincount(kinds).tolist(), policy_weight))
    return weights[kinds]


def way_points(rows: EpisodeRows, run: Run, row: int, ahead: npt.NDArray[np.int_], lookahead: int) -> Joints:
    """(n, 14), rad: where the arms should be `ahead` rows after `row`, a row of `run`; held at the run's end."""
    taught, later = (rows.qpos, ahead + lookahead) if run.is_human else (rows.action, ahead)
    points: Joints = taught[np.minimum(row + later, run.stop - 1)]
    return points
