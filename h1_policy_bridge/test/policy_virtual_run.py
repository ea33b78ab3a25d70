# SPDX-License-Identifier: Apache-2.0
"""The bridge against a policy in virtual time: what a strategy does at a given inference time, without waiting for it.

Tests and `bench/` stand on this. It is the real `PolicyBridge` with its real observations; only the client is another
one, whose answers come after as many nanoseconds as asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.bridge import PolicyBridge
from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_policy_bridge.layout import ObservationLayout
from h1_policy_bridge.observation import HANDS, ObservationRules, Stamped
from h1_policy_bridge.strategies import TICK_NS, Positions, Strategy
from h1_policy_bridge.values import (
    ArmReading,
    ClientState,
    InferenceRequest,
    InferenceResult,
    OutgoingAction,
    SessionReading,
)
from h1_training_node.message_numbers import ArmMode, Connection, Level

Policy = Callable[[Positions, int], npt.NDArray[np.float64] | None]
"""From the state (A,) and the time, ns, to actions (H, A); None for an inference that fails."""

_START_NS = 1_000_000_000_000
_ARMS_AGE_NS = 5_000_000


@dataclass
class VirtualRun:
    """What went out.

    Attributes:
        actions: one for each tick since the first action; None where the stream paused.
        chunks: all that came, in order.
        holds: how often the arms had to be held and the policy entered again.
    """

    actions: list[OutgoingAction | None] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    holds: int = 0

    @property
    def missing_ticks(self) -> int:
        """Ticks without an action."""
        return sum(action is None for action in self.actions)

    @property
    def held_ticks(self) -> int:
        """Ticks for which the chunk had run out."""
        return sum(action is not None and action.step.holding for action in self.actions)

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """(T, A), NaN where the stream paused."""
        width = self.chunks[0].actions.shape[1]
        gap = np.full(width, np.nan)
        return np.array([gap if action is None else action.step.positions for action in self.actions])

    @property
    def largest_step(self) -> float:
        """Between any two neighbouring actions, seams included."""
        return float(np.nanmax(np.abs(np.diff(self.positions, axis=0))))

    @property
    def largest_step_inside(self) -> float:
        """Inside any of the chunks."""
        return max(float(np.abs(np.diff(chunk.actions, axis=0)).max(initial=0.0)) for chunk in self.chunks)

    @property
    def seam_ratio(self) -> float:
        """Largest step that went out, in largest steps inside the chunks."""
        return self.largest_step / self.largest_step_inside


@dataclass
class _VirtualClient:
    """Answers each request after the next latency."""

    policy: Policy
    latency_ns: Callable[[], int]
    record: VirtualRun
    state: ClientState = field(default_factory=lambda: ClientState(Connection.CONNECTED, since_ns=1, reason=""))
    now_ns: int = _START_NS
    _due_ns: int = 0
    _outcome: InferenceResult | None = None

    @property
    def is_idle(self) -> bool:
        return self._outcome is None

    def reconnect(self, epoch: int) -> None:
        """There is nothing to make again."""

    def submit(self, request: InferenceRequest) -> bool:
        actions = self.policy(request.state, request.observation_ns)
        latency_ns = self.latency_ns()
        self._due_ns = self.now_ns + latency_ns
        self._outcome = InferenceResult(request.tag, reason="no answer")
        if actions is not None:
            ms = latency_ns * 1e-6
            chunk = Chunk(actions, request.observation_ns, ms, ms, done=False, state=request.state)
            self.record.chunks.append(chunk)
            self._outcome = InferenceResult(request.tag, chunk)
        return True

    def take_results(self) -> list[InferenceResult]:
        if self._outcome is None or self.now_ns < self._due_ns:
            return []
        taken, self._outcome = self._outcome, None
        return [taken]


def run_virtually(
    make_strategy: Callable[[], Strategy],
    policy: Policy,
    latency_ns: Callable[[], int],
    *,
    ticks: int,
    state: Positions,
    stale_ticks: int = 5,
) -> VirtualRun:
    """Play `ticks` ticks, with arms that follow exactly.

    Args:
        make_strategy: a new strategy for each entry.
        policy: infers.
        latency_ns: time of the next inference.
        ticks: counted from the first action.
        state: (14,) or (26,) from which it starts.
        stale_ticks: pause after which the arms hold, as the arm driver does after 100 ms.
    """
    record = VirtualRun()
    client = _VirtualClient(policy, latency_ns, record)
    with_hands = len(state) > ARM_JOINTS
    bridge = PolicyBridge(client, _state_only(with_hands), lambda _facts: make_strategy(), _ignored)
    bridge.on_session(SessionReading("EXECUTING", 0, "virtual run"))
    mode, since_ns, silent = ArmMode.HOLD, client.now_ns, 0
    while len(record.actions) < ticks:
        client.now_ns += TICK_NS
        now_ns = client.now_ns
        if mode is ArmMode.HOLD and bridge.status.chunk_ready:
            mode, since_ns, silent = ArmMode.POLICY, now_ns, 0
        elif mode is ArmMode.POLICY and silent >= stale_ticks:
            mode, since_ns, silent = ArmMode.HOLD, now_ns - 2 * _ARMS_AGE_NS, 0
            record.holds += 1
        _report_state(bridge, state, now_ns - _ARMS_AGE_NS, mode, since_ns)
        action = bridge.tick(now_ns)
        if action is not None:
            state, silent = action.step.positions, 0
        elif mode is ArmMode.POLICY:
            silent += 1
        if action is not None or record.actions:
            record.actions.append(action)
    return record


def _report_state(bridge: PolicyBridge, state: Positions, stamp_ns: int, mode: ArmMode, since_ns: int) -> None:
    bridge.on_arms(ArmReading(stamp_ns, mode, since_ns, transition=False, q=state[:ARM_JOINTS]))
    for side, hand in zip(HANDS, (state[14:20], state[20:26]), strict=True):
        bridge.latest.hands[side] = Stamped(stamp_ns, hand)


def _state_only(with_hands: bool) -> ObservationRules:
    """An observation without images."""
    return ObservationRules(ObservationLayout(state=((("state",), 0, None),), images=()), with_hands=with_hands)


def _ignored(level: Level, reason: str, detail: str) -> None:
    """Nobody listens to the events of a virtual run."""
