# SPDX-License-Identifier: Apache-2.0
"""What is served, and what makes it: the two interfaces, and the observation that a policy of this robot takes.

A trainer of one's own is a class with `train` and `load` (see docs/training_server.md); it is named to the server as
`MODULE:CLASS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

ARM_JOINTS, ARMS_AND_HANDS = 14, 26
HORIZON = 50
"""Actions in a chunk, 20 ms each."""

Report = Callable[[float, str], None]
"""Called with a share done, 0..1, and what is going on."""

_CAMERAS = frozenset({"cam_head", "cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"})
_HEAD_NAMES = ("cam_head", "cam_high")
_SIZE = 224


class UnfitObservationError(ValueError):
    """An observation that no policy of this robot takes."""


class TrainingError(Exception):
    """A training that came to nothing, or a checkpoint that cannot be served; the message says why."""


class Policy(Protocol):
    """Some weights, ready to be asked. What one with an attribute `metadata`, a map, says there clients are sent."""

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """A reply with `actions`, (H, A) float32: arms in rad, hands 0 closed .. 1 open.

        Raises:
            Exception: whatever the policy stumbles over; the client gets its text.
        """

    def close(self) -> None:
        """Let go of what it holds: it is asked no more."""


@dataclass(frozen=True)
class Dataset:
    """What a training is given.

    Attributes:
        episodes: files that are whole and valid, oldest first.
        folder: an empty one, for what the trainer derives from them and may find there again next time.
    """

    episodes: Sequence[Path]
    folder: Path


class Trainer(Protocol):
    """Makes checkpoints and loads them. Made again in the training's own process, so it keeps no state between."""

    def train(self, dataset: Dataset, previous: Path | None, out: Path, report: Report) -> dict[str, Any]:
        """Fill the empty folder `out` with weights; `previous` is the checkpoint that serves, or None.

        Returns:
            Metrics for the manifest: what JSON can hold.

        Raises:
            TrainingError: it came to nothing.
        """

    def load(self, checkpoint: Path | None) -> Policy:
        """The weights in `checkpoint`, ready to be asked; None: the untrained policy.

        Raises:
            TrainingError: it cannot be loaded.
        """


def checked_state(observation: Any, action_dim: int) -> npt.NDArray[np.float64]:
    """The state of an observation that is one; this robot's names or openpi's aloha names, either order of axes.

    Raises:
        UnfitObservationError: what the real transforms stumble over (`h1_policy.py` of the fork, `aloha_policy.py`).
    """
    if not isinstance(observation, dict) or not {"state", "images", "prompt"} <= set(observation):
        raise UnfitObservationError("observation needs state, images and prompt")
    state = np.asarray(observation["state"], np.float64)
    if state.shape != (action_dim,) or not np.isfinite(state).all():
        raise UnfitObservationError(f"state has shape {state.shape}; expected ({action_dim},), finite")
    images = observation["images"]
    if not any(name in images for name in _HEAD_NAMES) or set(images) - _CAMERAS:
        raise UnfitObservationError(f"images are {sorted(images)}; expected cam_head or cam_high and the wrists")
    for name, image in images.items():
        if image.dtype != np.uint8 or image.shape not in ((_SIZE, _SIZE, 3), (3, _SIZE, _SIZE)):
            raise UnfitObservationError(
                f"image {name} is {image.dtype} {image.shape}; expected uint8 {_SIZE} x {_SIZE} RGB"
            )
    if not isinstance(observation["prompt"], str):
        raise UnfitObservationError("prompt is no text")
    return state


def head_image(observation: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """The head camera's image of a checked observation, (224, 224, 3) uint8 RGB."""
    images = observation["images"]
    image = next(images[name] for name in _HEAD_NAMES if name in images)
    rgb: npt.NDArray[np.uint8] = image if image.shape[-1] == 3 else np.moveaxis(image, 0, -1)
    return rgb
