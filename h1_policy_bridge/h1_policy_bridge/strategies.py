# SPDX-License-Identifier: Apache-2.0
"""How chunks of actions become an even stream: the strategies, by the name that the parameter `strategy` gives them.

A strategy lives for one entry of POLICY. It counts in ticks of the stream (20 ms), from 0 at the first action; the
bridge gives every chunk the tick at which its observation was made, so that a strategy knows which of its steps have
passed. To add one, write a class with the four methods of `Strategy` and name it in `STRATEGIES`.

`blend` asks ahead, skips what has passed, and fades from one chunk into the next without a jerk. While one is played
the next one is asked for early enough to be there before this one ends. When it comes, the steps that passed since its
observation are skipped, and the difference between what was going to be played and what the new chunk says is faded out
along a smooth curve that begins and ends with slope zero: position and velocity are continuous. Where the old plan ends
before the window does, its difference to the new chunk is carried on.

The fade itself moves the arms, by up to 1.5 x difference / window a tick. The window is therefore stretched where two
chunks disagree much, and what remains is limited: no step at a seam is larger than `step_gain` times the largest one
inside the two chunks that meet there. That holds for any chunks whatever (see the property tests); with chunks so far
apart that the limit binds, the arms come round to the new plan later instead of jumping to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import ARM_JOINTS, Chunk

TICKS_PER_S = 50
"""The policies of this robot are trained on 50 Hz rows, one action each."""

TICK_NS = 1_000_000_000 // TICKS_PER_S

Positions = npt.NDArray[np.float64]
"""(A,) arms rad, hands 0 closed .. 1 open."""


@dataclass(frozen=True)
class Step:
    """One action of the stream.

    Attributes:
        positions: (A,).
        chunk: the newest one that it is made from.
        index: of the step within that chunk.
        holding: the chunk has run out.
    """

    positions: Positions
    chunk: Chunk
    index: int
    holding: bool = False


@dataclass(frozen=True)
class StrategyConfig:
    """What strategies are tuned by.

    Attributes:
        window_ticks: over how many ticks `blend` fades from one chunk to the next; 0 switches at once.
        execute_ticks: how many steps of a chunk `blend` means to play before the next one takes over.
        coast_ticks: how long `blend` bridges an answer that comes late, slowing down.
        play_ticks: how many steps of a chunk `open_loop` plays; 0 plays them all.
        hold_ticks: how long `open_loop` repeats the last position while it waits.
        step_gain: largest step at a seam, in largest steps inside the chunks that meet there.
    """

    window_ticks: int = 10
    execute_ticks: int = 25
    coast_ticks: int = 10
    play_ticks: int = 0
    hold_ticks: int = TICKS_PER_S
    step_gain: float = 1.5


class Strategy(Protocol):
    """What a strategy does. `tick` is the one that comes next, in all methods.

    One that has a method `remainder(tick)` besides, (R, A) planned from that tick on, has the server continue it.
    """

    def start(self, chunk: Chunk) -> None:
        """Begin with this chunk, observed while the arms stood still; its step 0 is due at tick 0."""

    def wants_chunk(self, tick: int, latency_ticks: int) -> bool:
        """Whether to observe and ask now, if an answer takes about `latency_ticks`."""

    def take(self, chunk: Chunk, observed_tick: int, tick: int) -> None:
        """A new chunk is here; it was observed at `observed_tick`, when its step 0 was due."""

    def step(self, tick: int) -> Step | None:
        """The action of this tick; None ends the stream until the arms have held and a new chunk has come."""


Plan = npt.NDArray[np.float64]
"""(T, A): positions of the next T ticks."""

COAST_DECAY = 0.7
"""Velocity left after each tick that has no plan: from a step d the arms come to rest within 2.4 d."""

_LEAST_ARM_STEP_RAD = 0.002
_LEAST_HAND_STEP = 0.02
"""Steps always allowed at a seam (0.1 rad/s; a hand from closed to open in 1 s): two chunks that both stand still, at
different places, have no step inside."""

_SMOOTHSTEP_PEAK = 1.5
"""Steepest slope of x^2 (3 - 2x)."""
_JOINED_WINDOW_TICKS = 3


class Blend:
    """See the module, and `Strategy` for the methods."""

    def __init__(self, config: StrategyConfig) -> None:
        self._config = config
        self._chunk: Chunk | None = None
        self._observed_tick = 0
        self._seam_tick = 0
        self._plan: Plan = np.zeros((0, 0))
        self._last: Positions = np.zeros(0)
        self._velocity: Positions = np.zeros(0)

    def start(self, chunk: Chunk) -> None:
        # The arms stand at the observed state: the first chunk is entered like any other, from a plan of standing.
        self._last, self._velocity = chunk.state, np.zeros_like(chunk.state)
        self._plan = chunk.actions[:0]
        self._enter(chunk, 0, 0)

    def wants_chunk(self, tick: int, latency_ticks: int) -> bool:
        if self._chunk is None:
            return False
        played = tick - self._seam_tick
        left = self._seam_tick + len(self._plan) - tick
        config = self._config
        return played + latency_ticks >= config.execute_ticks or left <= latency_ticks + config.window_ticks + 1

    def take(self, chunk: Chunk, observed_tick: int, tick: int) -> None:
        if tick - observed_tick < chunk.horizon:  # else all of it has passed
            self._enter(chunk, observed_tick, tick)

    def step(self, tick: int) -> Step | None:
        if self._chunk is None:
            return None
        ahead = tick - self._seam_tick
        beyond = ahead - len(self._plan)
        if beyond >= self._config.coast_ticks:
            return None
        positions = self._plan[ahead] if beyond < 0 else self._last + COAST_DECAY * self._velocity
        self._velocity, self._last = positions - self._last, positions
        index = min(tick - self._observed_tick, self._chunk.horizon - 1)
        return Step(positions, self._chunk, index, holding=beyond >= 0)

    def _enter(self, chunk: Chunk, observed_tick: int, tick: int) -> None:
        """Make the plan from `tick` on, which leads from the one before into `chunk`."""
        passed = max(tick - observed_tick, 0)
        new = chunk.actions[passed:]
        if self._config.window_ticks:
            old = self._plan[tick - self._seam_tick :]
            before = chunk.actions[passed - 1] if passed else 2 * new[0] - new[min(1, len(new) - 1)]
            difference = _difference(old, new, self._last - before, self._velocity - (new[0] - before))
            largest = np.maximum(_largest_step(chunk), _largest_step(self._chunk))
            self._plan = self._faded(new, difference, largest)
        else:
            self._plan = new
        self._chunk, self._observed_tick, self._seam_tick = chunk, observed_tick, tick

    def _faded(self, new: Plan, difference: Plan, largest: Positions) -> Plan:
        gain = self._config.step_gain
        window = _window_ticks(difference, (gain - 1.0) * largest, self._config.window_ticks)
        x = np.minimum(np.arange(1, len(new) + 1) / (window + 1), 1.0)
        left = 1.0 - x * x * (3.0 - 2.0 * x)
        return _limited(new + left[:, None] * difference, self._last, gain * largest)


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


STRATEGIES: dict[str, Callable[[StrategyConfig], Strategy]] = {
    "blend": Blend,
    "open_loop": OpenLoop,
    "rtc": RealTimeChunking,
}


def _difference(old: Plan, new: Plan, before: Positions, slope: Positions) -> Plan:
    """Old minus new, (T, A) as `new`; where `old` has ended it is carried on, its slope dying away.

    Args:
        old: (S, A), S may be 0.
        new: (T, A).
        before: (A,) the difference one tick before both.
        slope: (A,) its change a tick, there.
    """
    both = min(len(old), len(new))
    difference = np.empty_like(new)
    difference[:both] = old[:both] - new[:both]
    if both:
        slope = difference[both - 1] - (difference[both - 2] if both > 1 else before)
        before = difference[both - 1]
    travelled = np.cumsum(COAST_DECAY ** np.arange(1, len(new) - both + 1))
    difference[both:] = before + travelled[:, None] * slope
    return difference


def _window_ticks(difference: Plan, allowance: Positions, window: int) -> int:
    """The window over which fading `difference` out adds no more than `allowance` to a step; `window` at least."""
    longest = len(difference)
    while window < longest:
        worst = float((np.abs(difference[:window]) / allowance).max())
        needed = int(np.ceil(_SMOOTHSTEP_PEAK * worst))
        if needed <= window:
            break
        window = min(needed, longest)
    return min(window, longest)


def _largest_step(chunk: Chunk | None) -> Positions:
    """(A,) for each value the largest step of its group, arms or hands, inside the chunk; never nothing."""
    if chunk is None:
        return np.zeros(1)
    steps = np.abs(np.diff(chunk.actions, axis=0))
    largest = np.empty(chunk.actions.shape[1])
    largest[:ARM_JOINTS] = max(steps[:, :ARM_JOINTS].max(initial=0.0), _LEAST_ARM_STEP_RAD)
    largest[ARM_JOINTS:] = max(steps[:, ARM_JOINTS:].max(initial=0.0), _LEAST_HAND_STEP)
    return largest


def _limited(plan: Plan, last: Positions, limit: Positions) -> Plan:
    """`plan` with no step over `limit`, from `last` on."""
    steps = np.diff(plan, axis=0, prepend=last[None])
    if (np.abs(steps) <= limit).all():
        return plan
    limited = np.empty_like(plan)
    for index, target in enumerate(plan):
        last = limited[index] = last + np.clip(target - last, -limit, limit)
    return limited
