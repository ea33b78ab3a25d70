# SPDX-License-Identifier: Apache-2.0
"""How chunks of actions become an even stream: the interface of a strategy, and what strategies are tuned by.

A strategy lives for one entry of POLICY. It counts in ticks of the stream (20 ms), from 0 at the first action; the
bridge gives every chunk the tick at which its observation was made, so that a strategy knows which of its steps have
passed. To add one, write a class with these four methods and name it in `strategies.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import Chunk

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
    """See the module. `tick` is the one that comes next, in all methods.

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
