# SPDX-License-Identifier: Apache-2.0
"""A policy that looks at nothing: a smooth reach from wherever the arms are, for tests and for trying a session out.

The motion is a flow: the velocity depends on the pose and on the time alone, so that a chunk asked for in the middle of
a motion goes on where the one before leads. It stays within 0.5 rad of home and 0.6 rad/s. Another posture is reached
for in every episode; a request from the home pose after a pause begins one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h1_policy_bridge.training_server.policy import ARM_JOINTS, Dataset, Report, checked_state
from h1_training_node.parameter import parameter

HAND_JOINTS = 12
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


@dataclass(frozen=True)
class ScriptedSettings:
    """The scripted policy's settings."""

    action_dim: int = parameter(ARM_JOINTS, "values per action, 14 or 26", low=ARM_JOINTS, high=26)
    horizon: int = parameter(50, "actions per chunk", low=1, high=2000)
    training_s: float = parameter(2.0, "how long its training takes", unit="s", low=0.0, high=3600.0)
    seed: int = parameter(0, "of the postures", low=0)

    def __post_init__(self) -> None:
        if self.action_dim not in (ARM_JOINTS, ARM_JOINTS + HAND_JOINTS):
            raise ValueError(f"parameter 'action_dim' is {self.action_dim}; expected 14 or 26")


class ScriptedPolicy:
    """See the module and `policy.Policy`. `generation`: of the weights, by which postures differ."""

    def __init__(
        self, settings: ScriptedSettings, generation: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._generation = generation
        self._clock = clock
        self._episode = 0
        self._last_request_s = -math.inf
        self._phases = np.random.default_rng(settings.seed).uniform(0.0, 2.0 * np.pi, ARM_JOINTS)

    def infer(self, observation: Any) -> dict[str, Any]:
        """One chunk, see `policy.Policy`."""
        now_s = self._clock()
        state = checked_state(observation, self._settings.action_dim)
        self._count_episodes(state, now_s)
        arms = self._arm_motion(state[:ARM_JOINTS], now_s)
        if self._settings.action_dim == ARM_JOINTS:
            return {"actions": arms.astype(np.float32)}
        hands = self._hand_motion(state[ARM_JOINTS:], now_s)
        return {"actions": np.concatenate([arms, hands], axis=1).astype(np.float32)}

    def close(self) -> None:
        """Nothing is held."""

    def _count_episodes(self, state: NDArray[np.float64], now_s: float) -> None:
        at_home = np.abs(state[:ARM_JOINTS]).max() < _HOME_TOLERANCE_RAD
        if self._episode == 0 or (at_home and now_s - self._last_request_s > _PAUSE_BETWEEN_EPISODES_S):
            self._episode += 1
        self._last_request_s = now_s

    def _arm_motion(self, q: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        random = np.random.default_rng([2, self._settings.seed, self._generation, self._episode])
        reach = random.uniform(-_REACH_RAD, _REACH_RAD)
        motion = np.empty((self._settings.horizon, ARM_JOINTS))
        for step in range(len(motion)):
            angle = 2.0 * np.pi * (now_s + step * STEP_S) / _SWAY_PERIOD_S
            error = reach + _SWAY_RAD * np.sin(angle + self._phases) - q
            speed = LARGEST_SPEED_RAD_S * np.tanh(_APPROACH_PER_S * error / LARGEST_SPEED_RAD_S)
            motion[step] = q = q + speed * STEP_S
        return motion

    def _hand_motion(self, angle: NDArray[np.float64], now_s: float) -> NDArray[np.float64]:
        """All fingers open and close together, slowly."""
        motion = np.empty((self._settings.horizon, HAND_JOINTS))
        for step in range(len(motion)):
            wanted = 0.6 + 0.35 * math.cos(2.0 * math.pi * (now_s + step * STEP_S) / _HAND_PERIOD_S)
            longest = _HAND_SPEED_PER_S * STEP_S
            motion[step] = angle = np.clip(angle + np.clip(wanted - angle, -longest, longest), 0.0, 1.0)
        return motion


class ScriptedTrainer:
    """Takes its time, and learns nothing. See `policy.Trainer`."""

    settings_type = ScriptedSettings
    learns = False

    def __init__(self, settings: ScriptedSettings) -> None:
        self._settings = settings

    def metadata(self) -> dict[str, Any]:
        """Sent to a client first."""
        return {"action_dim": self._settings.action_dim, "action_horizon": self._settings.horizon}

    def train(self, dataset: Dataset, previous: Path | None, out: Path, report: Report) -> dict[str, Any]:
        """Wait, and write which generation this is."""
        steps = 20
        for step in range(steps):
            report(step / steps, "waiting")
            time.sleep(self._settings.training_s / steps)
        generation = 1 + (_generation(previous) if previous is not None else 0)
        (out / "generation.txt").write_text(f"{generation}\n")
        return {}

    def load(self, checkpoint: Path | None) -> ScriptedPolicy:
        """The policy of that generation."""
        return ScriptedPolicy(self._settings, 0 if checkpoint is None else _generation(checkpoint))


def _generation(checkpoint: Path) -> int:
    return int((checkpoint / "generation.txt").read_text())
