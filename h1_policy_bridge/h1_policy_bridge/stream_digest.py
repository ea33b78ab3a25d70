"""One line about one entry of POLICY: how even the stream was, and how fast the server."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.strategy import TICK_NS, Step

_LATE_NS = TICK_NS * 3 // 2


@dataclass
class StreamDigest:
    """Counts while the stream runs.

    Attributes:
        steps: actions put out.
        held: of which the chunk had run out.
        late: of which came more than 30 ms after the one before.
    """

    steps: int = 0
    held: int = 0
    late: int = 0
    _last_ns: int = 0
    _inference_ms: list[float] = field(default_factory=list)

    def chunk(self, chunk: Chunk) -> None:
        self._inference_ms.append(chunk.inference_ms)

    def step(self, step: Step, now_ns: int) -> None:
        self.steps += 1
        self.held += step.holding
        self.late += bool(self._last_ns) and now_ns - self._last_ns > _LATE_NS
        self._last_ns = now_ns

    def line(self, why: str) -> str:
        """For a person; `why` the stream ended, if not by order."""
        counts = f"{self.steps} actions, {self.held} held, {self.late} late"
        if self._inference_ms:
            worst, middle = max(self._inference_ms), statistics.median(self._inference_ms)
            counts += f"; {len(self._inference_ms)} inferences, median {middle:.0f} ms, worst {worst:.0f} ms"
        return f"{why} ({counts})" if why else counts
