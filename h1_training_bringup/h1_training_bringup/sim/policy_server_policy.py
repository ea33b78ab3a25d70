"""What the simulated server infers: a smooth reach from wherever the arms are, strict about what it is shown.

The motion is a flow: the velocity depends on the pose and on the time alone, so that a chunk asked for in the middle of
a motion goes on where the one before leads. It stays within 0.5 rad of home and 0.6 rad/s. It looks at no image: the
posture that is reached for is another one in every episode, and a request from home after a pause begins an episode.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARM_JOINTS, HAND_JOINTS = 14, 12
STEP_S = 0.02
LARGEST_ANGLE_RAD = 0.5
LARGEST_SPEED_RAD_S = 0.6

_REACH_RAD = np.tile([0.44, 0.1, 0.2, 0.3, 0.2, 0.2, 0.2], 2)
"""Shoulder to wrist: no joint of a posture that is reached for is further from home."""
_APPROACH_PER_S = 1.5
_SWAY_RAD, _SWAY_PERIOD_S = 0.06, 4.0
_HAND_PERIOD_S, _HAND_SPEED_PER_S = 6.0, 1.0
_HOME_TOLERANCE_RAD = 0.12
_PAUSE_BETWEEN_EPISODES_S = 1.0
_CAMERAS = frozenset({"cam_head", "cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist"})
_REQUIRED_CAMERAS = (frozenset({"cam_head"}), frozenset({"cam_high"}))


class SimulatedPolicy:
    """A policy of this robot's fork of openpi, as seen from outside.

    Args:
        action_dim: 14 or 26.
        horizon: actions per chunk.
        seed: of the scene.
    """

    def __init__(self, action_dim: int, horizon: int, seed: int) -> None:
        self._action_dim = action_dim
        self._horizon = horizon
        self._seed = seed
        self._epoch = 0
        self._episode = 0
        self._last_request_s = -math.inf
        self._phases = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, ARM_JOINTS)

    def set_epoch(self, epoch: int) -> None:
        """Other weights: the episodes are counted anew."""
        if epoch != self._epoch:
            self._epoch, self._episode = epoch, 0

    def infer(self, observation: Any, now_s: float) -> dict[str, Any]:
        """One chunk: `actions` (horizon, action_dim) float32, arms rad, hands 0 closed .. 1 open.

        Raises:
            ValueError: the observation is not what such a policy takes.
        """
        state = checked_state(observation, self._action_dim)
        self._count_episodes(state, now_s)
        arms = self._arm_motion(state[:ARM_JOINTS], now_s)
        if self._action_dim == ARM_JOINTS:
            return {"actions": arms.astype(np.float32)}
        hands = self._hand_motion(state[ARM_JOINTS:], now_s)
        return {"actions": np.concatenate([arms, hands], axis=1).astype(np.float32)}

    def _count_episodes(self, state: NDArray[np.float64], now_s: float) -> None:
        at_home = np.abs(state[:ARM_JOINTS]).max() < _HOME_TOLERANCE_RAD
        if self._episode == 0 or (at_home and now_s - self._last_request_s > _PAUSE_BETWEEN_EPISODES_S):
            self._episode += 1
        self._last_request_s = now_s

    def _arm_motion(self, q: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        random = np.random.default_rng([2, self._seed, self._epoch + 1, self._episode])
        reach = random.uniform(-_REACH_RAD, _REACH_RAD)
        motion = np.empty((self._horizon, ARM_JOINTS))
        for step in range(self._horizon):
            angle = 2.0 * np.pi * (now_s + step * STEP_S) / _SWAY_PERIOD_S
            error = reach + _SWAY_RAD * np.sin(angle + self._phases) - q
            speed = LARGEST_SPEED_RAD_S * np.tanh(_APPROACH_PER_S * error / LARGEST_SPEED_RAD_S)
            motion[step] = q = q + speed * STEP_S
        return motion

    def _hand_motion(self, angle: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        """All fingers open and close together, slowly."""
        motion = np.empty((self._horizon, HAND_JOINTS))
        for step in range(self._horizon):
            wanted = 0.6 + 0.35 * math.cos(2.0 * math.pi * (now_s + step * STEP_S) / _HAND_PERIOD_S)
            longest = _HAND_SPEED_PER_S * STEP_S
            motion[step] = angle = np.clip(angle + np.clip(wanted - angle, -longest, longest), 0.0, 1.0)
        return motion


def checked_state(observation: Any, action_dim: int) -> NDArray[np.float64]:
    """The state of an observation that is one; this robot's names or openpi's aloha names, either order of axes.

    Raises:
        ValueError: anything that the real transforms stumble over (`h1_policy.py` of the fork, `aloha_policy.py`).
    """
    if not isinstance(observation, dict) or not {"state", "images", "prompt"} <= set(observation):
        raise ValueError("observation needs state, images and prompt")
    state = np.asarray(observation["state"], np.float64)
    if state.shape != (action_dim,) or not np.isfinite(state).all():
        raise ValueError(f"state has shape {state.shape}; expected ({action_dim},), finite")
    images = observation["images"]
    if not any(names <= set(images) for names in _REQUIRED_CAMERAS) or set(images) - _CAMERAS:
        raise ValueError(f"images are {sorted(images)}; expected cam_head or cam_high and the wrists")
    for name, image in images.items():
        if image.dtype != np.uint8 or image.shape not in ((224, 224, 3), (3, 224, 224)):
            raise ValueError(f"image {name} is {image.dtype} {image.shape}; expected uint8 224 x 224 RGB")
    if not isinstance(observation["prompt"], str):
        raise ValueError("prompt is no text")
    return state
