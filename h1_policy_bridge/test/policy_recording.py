# SPDX-License-Identifier: Apache-2.0
"""Chunks that were inferred once, to be played by several strategies: what they make of the very same answers.

One chunk is recorded at every tick of a motion, with the time that its inference took. A strategy that asks is given
the one that was observed where the arms are by now, so that a strategy that pauses is not punished for a motion that
went on without it. Tests and the figure of `bench/` stand on this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from policy_virtual_run import Policy, VirtualRun, run_virtually

from h1_policy_bridge.strategies import TICK_NS, Positions, Strategy

_SEARCHED_TICKS = 100


@dataclass(frozen=True)
class Recording:
    """See the module.

    Attributes:
        states: (T, A) that were observed, one a tick; arms rad, hands 0..1.
        actions: (T, H, A) that were inferred from them.
        latency_ns: (T,) how long each inference took.
    """

    states: npt.NDArray[np.float64]
    actions: npt.NDArray[np.float64]
    latency_ns: npt.NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write an .npz file."""
        np.savez_compressed(path, states=self.states, actions=self.actions, latency_ns=self.latency_ns)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read what `save` wrote.

        Raises:
            OSError, KeyError, ValueError: no such file, or no recording.
        """
        with np.load(path, allow_pickle=False) as file:
            return cls(file["states"], file["actions"], file["latency_ns"])

    def played(self, make_strategy: Callable[[], Strategy], ticks: int) -> VirtualRun:
        """What a strategy makes of it, in virtual time."""
        player = _Player(self)
        return run_virtually(make_strategy, player.infer, player.latency_ns, ticks=ticks, state=self.states[0])


class _Player:
    """Hands out the chunk of the pose that comes nearest, not before the last one."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._index = 0

    def infer(self, state: Positions, _now_ns: int) -> npt.NDArray[np.float64]:
        ahead = self._recording.states[self._index : self._index + _SEARCHED_TICKS]
        self._index += int(np.argmin(np.linalg.norm(ahead - state, axis=1)))
        actions: npt.NDArray[np.float64] = self._recording.actions[self._index]
        return actions

    def latency_ns(self) -> int:
        return int(self._recording.latency_ns[self._index])


def record(policy: Policy, motion: npt.NDArray[np.float64], latency_ns: Callable[[], int]) -> Recording:
    """Ask the policy at every tick of a motion.

    Args:
        policy: infers; must not fail.
        motion: (T, A), one pose a tick.
        latency_ns: time of the next inference.

    Raises:
        ValueError: the policy gave no chunk.
    """
    chunks = [policy(state, tick * TICK_NS) for tick, state in enumerate(motion)]
    whole = [chunk for chunk in chunks if chunk is not None]
    if len(whole) < len(chunks):
        raise ValueError("the policy gave no chunk at some ticks; a recording needs one at each")
    return Recording(motion, np.array(whole), np.array([latency_ns() for _ in motion], np.int64))
