# SPDX-License-Identifier: Apache-2.0
"""The strategies, by the name that the parameter `strategy` gives them; `blend` has a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from h1_policy_bridge.blend import Blend, Plan
from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.strategy import Step, Strategy, StrategyConfig

_JOINED_WINDOW_TICKS = 3


class OpenLoop:
    """Play a chunk to its end, then ask for the next: what openpi's `ActionChunkBroker` does.

    Policies are often evaluated that way. The arms wait for an answer at every chunk, but the stream goes on: the last
    position is repeated, marked `holding`, for a bounded time.
    """

    def __init__(self, config: StrategyConfig) -> None:
        self._config = config
        self._chunk: Chunk | None = None
        self._from_tick = 0

    def start(self, chunk: Chunk) -> None:
        self._chunk, self._from_tick = chunk, 0

    def wants_chunk(self, tick: int, latency_ticks: int) -> bool:
        return self._chunk is not None and tick - self._from_tick >= self._steps(self._chunk)

    def take(self, chunk: Chunk, observed_tick: int, tick: int) -> None:
        # Observed at the end of the chunk before, from where it is played whole: the arms waited for it.
        self._chunk, self._from_tick = chunk, tick

    def step(self, tick: int) -> Step | None:
        chunk, index = self._chunk, tick - self._from_tick
        if chunk is None or index >= self._steps(chunk) + self._config.hold_ticks:
            return None
        last = self._steps(chunk) - 1
        return Step(chunk.actions[min(index, last)], chunk, min(index, last), holding=index > last)

    def _steps(self, chunk: Chunk) -> int:
        """How many steps of a chunk are played: openpi's `action_horizon`."""
        return min(self._config.play_ticks or chunk.horizon, chunk.horizon)


class RealTimeChunking(Blend):
    """Real-time chunking (arXiv 2506.07339): the server continues what is being played, and gets the remainder for it.

    A chunk that the server has joined to the one before needs hardly any fading; what is left of a seam is bounded as
    in `blend`, so a server that ignores the remainder costs smoothness and no jerk.
    """

    def __init__(self, config: StrategyConfig) -> None:
        super().__init__(replace(config, window_ticks=min(config.window_ticks, _JOINED_WINDOW_TICKS)))

    def remainder(self, tick: int) -> Plan:
        """(R, A) what is planned from `tick` on; R is 0 when that is past."""
        return self._plan[max(tick - self._seam_tick, 0) :]


STRATEGIES: dict[str, Callable[[StrategyConfig], Strategy]] = {
    "blend": Blend,
    "open_loop": OpenLoop,
    "rtc": RealTimeChunking,
}
