"""One line about one entry of POLICY: how even the stream was, and how fast the server."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.strategy import TICK_NS, Step


@dataclass
class StreamDigest:
    """Counts while the stream runs.

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
