# SPDX-License-Identifier: Apache-2.0
"""Before new weights serve: are their actions numbers, within the arms' range, and no worse than those that serve?

Asked with rows that the training did not see, as the bridge would ask: the three images, the state and the prompt.
Where nothing was held out, rows that it saw show at least that it answers with a pose of these arms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.images import ImageError, stretched
from h1_policy_bridge.training_server.policy import ARM_JOINTS, Policy, TrainingError
from h1_policy_bridge.training_server.rows import IMAGE_PX, read_rows, runs, sample_weights, way_points
from h1_recorder.episode import episode as episode_file

_EVERY_ROWS, _MOST_ROWS = 10, 60
_AHEAD = np.arange(5, 26, 5)
"""Rows ahead at which an action is compared with what was shown: what is played of a chunk before the next."""
_LOOKAHEAD_ROWS = 2
_RANGE_MARGIN_RAD = 0.05
_LEAST_ERROR_RAD = 0.01
"""Weights whose error is below it are never called worse."""
_CAMERAS = {"ego_cam": "cam_head", "cam_left_wrist": "cam_left_wrist", "cam_right_wrist": "cam_right_wrist"}


@dataclass(frozen=True)
class Question:
    """One held-out row.

    Attributes:
        observation: as the bridge sends it.
        shown: (n, 14) rad, what was right at `_AHEAD`.
        lower, upper: (14,) rad, the arms' range as the episode has it.
    """

    observation: dict[str, Any]
    shown: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Checked:
    """What came of a check.

    Attributes:
        reason: why the weights must not serve; empty if they may.
        rows: that were asked.
        error_rad, previous_error_rad: rms; NaN where nothing was compared.
    """

    reason: str
    rows: int
    error_rad: float
    previous_error_rad: float

    def document(self) -> dict[str, Any]:
        """For the store."""
        return {name: None if value != value else value for name, value in asdict(self).items()}


def questions(paths: Sequence[Path]) -> list[Question]:
    """Rows of these episodes that somebody could be asked about, `_MOST_ROWS` at most.

    Raises:
        TrainingError: an episode cannot be read.
    """
    found = [question for path in paths for question in _of(path)]
    kept = np.linspace(0, len(found) - 1, min(len(found), _MOST_ROWS)).round().astype(int)
    return [found[index] for index in kept]


def _of(path: Path) -> Iterator[Question]:
    rows = read_rows(path)
    weights = sample_weights(rows, 1.0)
    episode = episode_file.read(path)
    lower, upper = _range(episode.attributes)
    prompt = str(episode.attributes.get("prompt", ""))
    state = episode.qpos
    if episode.hand_action is not None and episode.hand_qpos is not None:  # a policy of 26 values drove it
        state = np.hstack([episode.qpos, episode.hand_qpos])
    for run in runs(rows):
        for row in range(run.start, run.stop, _EVERY_ROWS):
            if weights[row] > 0 and np.isfinite(state[row]).all():
                observation = {"state": state[row], "prompt": prompt, "images": _images(episode, row)}
                shown = way_points(rows, run, row, _AHEAD, _LOOKAHEAD_ROWS)
                yield Question(observation, shown, lower, upper)


def _images(episode: episode_file.Episode, row: int) -> dict[str, Any]:
    try:
        return {
            name: stretched(episode.jpegs(camera, slice(row, row + 1))[0], IMAGE_PX)
            for camera, name in _CAMERAS.items()
        }
    except ImageError as error:
        raise TrainingError(f"{episode.path}: row {row}: {error}") from None


def _range(attributes: dict[str, Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    limits = attributes.get("limits", {})
    limits = json.loads(limits) if isinstance(limits, str) else limits
    if not {"lower_rad", "upper_rad"} <= set(limits):
        return np.full(ARM_JOINTS, -np.inf), np.full(ARM_JOINTS, np.inf)
    return np.array(limits["lower_rad"], float), np.array(limits["upper_rad"], float)


def check(policy: Policy, previous: Policy | None, asked: Sequence[Question], factor: float) -> Checked:
    """Ask `policy`, and `previous` for comparison, unless there is nothing to compare with.

    Args:
        policy: the new weights.
        previous: those that serve; None compares nothing.
        asked: see `questions`.
        factor: by which the new error may be larger.
    """
    errors, previous_errors = [], []
    for question in asked:
        try:
            actions = _actions(policy, question)
        except Exception as error:  # whatever a policy stumbles over, it must not serve
            return Checked(f"it fails on a recorded row: {type(error).__name__}: {error}", len(asked), np.nan, np.nan)
        if reason := _unfit(actions, question):
            return Checked(reason, len(asked), np.nan, np.nan)
        errors.append(_error(actions, question))
        if previous is not None:
            previous_errors.append(_error(_actions(previous, question), question))
    if not previous_errors:
        return Checked("", len(asked), _rms(errors), np.nan)
    found, bound = _rms(errors), factor * max(_rms(previous_errors), _LEAST_ERROR_RAD)
    reason = "" if found <= bound else f"its error on held-out rows is {found:.4f} rad; {bound:.4f} is allowed"
    return Checked(reason, len(asked), found, _rms(previous_errors))


def _actions(policy: Policy, question: Question) -> npt.NDArray[np.float64]:
    return np.asarray(policy.infer(question.observation)["actions"], np.float64)


def _error(actions: npt.NDArray[np.float64], question: Question) -> npt.NDArray[np.float64]:
    """(n, 14) rad, from what was shown, as far ahead as the chunk goes."""
    ahead = _AHEAD[len(actions) >= _AHEAD]
    return actions[ahead - 1, :ARM_JOINTS] - question.shown[: len(ahead)]


def _unfit(actions: npt.NDArray[np.float64], question: Question) -> str:
    if actions.ndim != 2 or len(actions) < _AHEAD[0] or actions.shape[1] < ARM_JOINTS:
        return f"its actions have shape {actions.shape}; expected at least ({_AHEAD[0]}, {ARM_JOINTS})"
    if not np.isfinite(actions).all():
        return "its actions are not finite"
    arms = actions[:, :ARM_JOINTS]
    outside = np.maximum(question.lower - arms, arms - question.upper).max(axis=0)
    if outside.max() > _RANGE_MARGIN_RAD:
        return f"its actions leave the range of joint {int(outside.argmax())} by {outside.max():.2f} rad"
    return ""


def _rms(errors: Sequence[npt.NDArray[np.float64]]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate(errors))))) if errors else float("nan")
