# SPDX-License-Identifier: Apache-2.0
"""One request at a time: observations go to the client, chunks and refusals come back, and are counted.

A generation is one HOLD with the POLICY that follows it. What was asked in an earlier one is counted when it comes,
and dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.observation import Observation
from h1_policy_bridge.values import ClientState, InferenceRequest, InferenceResult, ObservationError
from h1_training_node.message_numbers import Level

_RETRY_LOW_NS, _RETRY_HIGH_NS = 100_000_000, 1_000_000_000
"""Pause before asking again after a refused reply: doubling, so that a broken server is not hammered."""


_PLANNED_BY_NS = 2_000_000_000
"""An answer that took longer compiled, or hung: nothing can be planned by it."""


class Client(Protocol):
    """What the bridge needs of `policy_client.PolicyClient`."""

    @property
    def state(self) -> ClientState: ...
    @property
    def is_idle(self) -> bool: ...
    def reconnect(self, epoch: int) -> None: ...
    def submit(self, request: InferenceRequest) -> bool: ...
    def take_results(self) -> list[InferenceResult]: ...


@dataclass(frozen=True)
class Asked:
    """A request under way: what it is for, and when it was made."""

    tag: int
    generation: int
    observed_tick: int
    asked_ns: int


class Inference:
    """See the module.

    Args:
        client: the way to the server.
        on_event: takes (level, reason, detail).

    Attributes:
        asked: the request under way, if there is one.
        newest: chunk of the last good reply, whoever it was for.
        reason: why the last attempt gave none; empty if it did.
        inferences: good replies since the start.
        failures: refused or failed ones.
    """

    def __init__(self, client: Client, on_event: Callable[[Level, str, str], None]) -> None:
        self._client = client
        self._on_event = on_event
        self.asked: Asked | None = None
        self.newest: Chunk | None = None
        self.reason = ""
        self.inferences = 0
        self.failures = 0
        self._tags = 0
        self._latencies_ns: deque[int] = deque(maxlen=8)
        self._retry_ns = 0
        self._failures_in_row = 0
        self._dummies: tuple[str, ...] = ()

    @property
    def latency_ns(self) -> int:
        """How long an answer takes, at worst of late."""
        return max(self._latencies_ns, default=0)

    def may_ask(self, now_ns: int) -> bool:
        """Whether nothing is under way, and a pause after a failure is over."""
        return self.asked is None and now_ns >= self._retry_ns and self._client.is_idle

    def restart(self) -> None:
        """Another episode: earlier failures do not count."""
        self.reason = ""
        self._retry_ns = self._failures_in_row = 0

    def ask(self, observation: Observation, *, now_ns: int, generation: int, observed_tick: int) -> None:
        """Send an observation, if the client takes it."""
        if observation.dummies != self._dummies and observation.dummies:
            grey = ", ".join(observation.dummies)
            self._on_event(Level.WARN, "dummy_images", f"the policy sees grey instead of {grey}")
        self._dummies = observation.dummies
        self._tags += 1
        request = InferenceRequest(self._tags, observation.message, observation.state, observation.stamp_ns)
        if self._client.submit(request):
            self.asked = Asked(self._tags, generation, observed_tick, now_ns)

    def refuse(self, error: ObservationError) -> None:
        """There is no observation that the policy may see."""
        self._report(str(error), "observation_refused")

    def collect(self, now_ns: int, generation: int) -> list[tuple[Chunk, Asked]]:
        """Chunks that came for this generation, with what was asked."""
        wanted = []
        for result in self._client.take_results():
            asked, self.asked = self.asked, None
            if result.chunk is None:
                self._failed(result, now_ns)
                continue
            self.inferences += 1
            self._failures_in_row, self.reason = 0, ""
            self.newest = replace(result.chunk, chunk_id=self.inferences)
            if asked is not None and (asked.tag, asked.generation) == (result.tag, generation):
                if now_ns - asked.asked_ns <= _PLANNED_BY_NS:
                    self._latencies_ns.append(now_ns - asked.asked_ns)
                wanted.append((self.newest, asked))
        return wanted

    def _failed(self, result: InferenceResult, now_ns: int) -> None:
        self.failures += result.was_sent
        pause_ns = min(_RETRY_LOW_NS << min(self._failures_in_row, 16), _RETRY_HIGH_NS)
        self._failures_in_row += 1
        self._retry_ns = now_ns + pause_ns
        self._report(result.reason, "reply_refused" if result.was_sent else "observation_refused")

    def _report(self, reason: str, name: str) -> None:
        """Show the reason; report it as an event once for each row of failures."""
        if not self.reason:
            self._on_event(Level.WARN, name, reason)
        self.reason = reason
