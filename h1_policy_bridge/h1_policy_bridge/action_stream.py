# SPDX-License-Identifier: Apache-2.0
"""One entry of POLICY: a strategy, the tick that comes next, and how even it all was.

Its time is the number of steps put out, not the clock. A tick that comes late is put out late, ticks that were missed
are counted and never made up for: the arms stood meanwhile, and go on with the very next step. To catch up or to skip
would turn a stall of this computer into a jump of the arms.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.observation import Remainder
from h1_policy_bridge.strategies import TICK_NS, Step, Strategy


@dataclass
class StreamDigest:
    """One line about one entry of POLICY: how even the stream was, and how fast the server.

    Attributes:
        steps: actions put out.
        held: of which the chunk had run out.
        missed: ticks without an action, because this process did not get to run.
        longest_ns: between two actions.
    """

    steps: int = 0
    held: int = 0
    missed: int = 0
    longest_ns: int = 0
    _inference_ms: list[float] = field(default_factory=list)

    def chunk(self, chunk: Chunk) -> None:
        self._inference_ms.append(chunk.inference_ms)

    def step(self, step: Step, gap_ns: int) -> None:
        """Count an action that went out `gap_ns` after the one before."""
        self.steps += 1
        self.held += step.holding
        self.missed += max(round(gap_ns / TICK_NS) - 1, 0)
        self.longest_ns = max(self.longest_ns, gap_ns)

    def line(self, why: str) -> str:
        """For a person; `why` the stream ended, if not by order."""
        counts = (
            f"{self.steps} actions, {self.held} held, {self.missed} missed, longest gap {self.longest_ns / 1e6:.0f} ms"
        )
        if self._inference_ms:
            worst, middle = max(self._inference_ms), statistics.median(self._inference_ms)
            counts += f"; {len(self._inference_ms)} inferences, median {middle:.0f} ms, worst {worst:.0f} ms"
        return f"{why} ({counts})" if why else counts


class ActionStream:
    """See the module.

    Args:
        strategy: a new one.
        first: chunk to begin with.
        policy_ns: when the arms entered POLICY.
        execution: token of this entry, for its actions.
    """

    def __init__(self, strategy: Strategy, first: Chunk, policy_ns: int, execution: int) -> None:
        self.policy_ns, self.execution = policy_ns, execution
        self.digest = StreamDigest()
        self._strategy = strategy
        self._tick = 0
        self._last_ns = 0
        strategy.start(first)
        self.digest.chunk(first)

    def take(self, chunk: Chunk, observed_tick: int) -> None:
        """A new chunk, observed at `observed_tick`."""
        self._strategy.take(chunk, observed_tick, self._tick)
        self.digest.chunk(chunk)

    def step(self, now_ns: int) -> Step | None:
        """The step that is due; None ends the stream."""
        step = self._strategy.step(self._tick)
        if step is None:
            return None
        self.digest.step(step, now_ns - self._last_ns if self._last_ns else TICK_NS)
        self._last_ns = now_ns
        self._tick += 1
        return step

    def wants_chunk(self, latency_ns: int) -> bool:
        """Whether to observe and ask now, if an answer takes so long."""
        return self._strategy.wants_chunk(self._tick, -(-latency_ns // TICK_NS) + 1)

    def remainder(self, observed_tick: int, latency_ns: int) -> Remainder | None:
        """What the server is to continue, if the strategy wants that, and something is left."""
        planned = getattr(self._strategy, "remainder", None)
        if planned is None or not len(actions := planned(observed_tick)):
            return None
        return Remainder(actions, -(-latency_ns // TICK_NS))

    def tick_of(self, observation_ns: int, now_ns: int) -> int:
        """The tick at which something was observed. The one just put out was due now."""
        return self._tick - 1 - round((now_ns - observation_ns) / TICK_NS)
