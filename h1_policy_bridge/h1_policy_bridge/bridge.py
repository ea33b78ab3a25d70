"""Who may move, when: the bridge between a session in EXECUTING, arms in HOLD or POLICY, and a policy server.

Each entry of POLICY, resuming included, goes the same way. The arms HOLD; an observation younger than that HOLD is
sent; its chunk is ready; somebody else (session_manager) enters POLICY; the stream runs from step 0. Leaving
EXECUTING, or any other mode, drops the chunk, the stream and the result in flight. So no action can be older than the
pose from which it starts, and a server that lies, hangs or dies ends in arms that hold.

No ROS and no waiting here: `tick` is called 50 times a second, everything else hands over.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_policy_bridge.exchange import ClientState, Connection, ObservationError, Outcome, Request
from h1_policy_bridge.observation import ObservationRules, Senses, Stamped, take
from h1_policy_bridge.readings import Action, ArmMode, Arms, Level, Session, Status
from h1_policy_bridge.strategy import TICK_NS, TICKS_PER_S, Positions, Step, Strategy
from h1_policy_bridge.stream_digest import StreamDigest

_READY_FOR_NS = 2_000_000_000
"""A first chunk that has waited this long for POLICY is renewed: the scene may have changed meanwhile."""

_RETRY_LOW_NS, _RETRY_HIGH_NS = 100_000_000, 1_000_000_000
"""Pause before asking again after a refused reply: doubling, so that a broken server is not hammered."""

NS_PER_S = 1_000_000_000

_ARMS_LOST_TICKS = TICKS_PER_S // 2
"""Without an arm_status for this many ticks the stream ends: nobody is known to follow it. Ticks and not time: after a
stall of this process the arms' messages are still waiting to be read."""

_SAID_AFTER_S = 2
"""From then on a first answer that takes long is shown as what it is: a server may compile for 40 s."""


@dataclass(frozen=True)
class _Asked:
    """The request under way: what it is for, and when it was made."""

    tag: int
    generation: int
    observed_tick: int
    asked_ns: int


class Client(Protocol):
    """What the bridge needs of `policy_client.PolicyClient`."""

    @property
    def state(self) -> ClientState: ...
    @property
    def is_idle(self) -> bool: ...
    def reconnect(self, epoch: int) -> None: ...
    def submit(self, request: Request) -> bool: ...
    def take_outcomes(self) -> list[Outcome]: ...


class PolicyBridge:
    """See the module.

    Args:
        client: the way to the server.
        rules: how observations are made.
        make_strategy: a new strategy for each entry of POLICY.
        on_event: takes (level, reason, detail).
    """

    def __init__(
        self,
        client: Client,
        rules: ObservationRules,
        make_strategy: Callable[[], Strategy],
        on_event: Callable[[Level, str, str], None],
    ) -> None:
        self.senses = Senses()
        self._client = client
        self._rules = rules
        self._make_strategy = make_strategy
        self._on_event = on_event
        self._arms: Arms | None = None
        self._ticks_without_arms = 0
        self._session = Session("", -1, "")
        self._wanted_epoch = -1
        self._client_state = client.state
        # Of one HOLD and the POLICY that follows it; a new generation makes everything asked before worthless.
        self._generation = 0
        self._hold_ns = 0
        self._ready: Chunk | None = None
        self._was_slow = False
        self._strategy: Strategy | None = None
        self._policy_ns = 0
        self._tick = 0
        self._digest = StreamDigest()
        self._asked: _Asked | None = None
        self._tags = 0
        self._seq = 0
        self._latencies_ns: deque[int] = deque(maxlen=8)
        self._retry_ns = 0
        self._failures_in_row = 0
        self._reason = ""
        self._done = False
        self._inferences = 0
        self._failures = 0
        self._newest: Chunk | None = None
        self._dummies: tuple[str, ...] = ()

    # -- what comes in -------------------------------------------------------------------------------------------

    def on_arms(self, arms: Arms) -> None:
        """A new arm_status."""
        self._arms, self._ticks_without_arms = arms, 0
        self.senses.arms = Stamped(arms.stamp_ns, arms.q)

    def on_session(self, session: Session) -> None:
        """A new session/state; READY with a new epoch makes the connection anew."""
        was_executing = self._is_executing
        self._session = session
        if session.state == "READY" and session.epoch != self._wanted_epoch:
            self._wanted_epoch = session.epoch
            self._client.reconnect(session.epoch)
        if self._is_executing and not was_executing:
            self._reason, self._done = "", False
            self._retry_ns = self._failures_in_row = 0

    # -- 50 times a second ---------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> Action | None:
        """Collect what the server said, follow session and arms, ask if it is time; the action that is due, if any."""
        self._watch_connection()
        self._follow()
        self._collect(now_ns)
        step = self._streamed(now_ns)
        self._ask(now_ns)
        if step is None:
            return None
        self._seq += 1
        return Action(self._seq, step)

    @property
    def status(self) -> Status:
        """The bridge as of now."""
        client, newest = self._client.state, self._newest
        return Status(
            client=client,
            action_dim=client.facts.action_dim or (newest.actions.shape[1] if newest else 0),
            horizon=client.facts.horizon or (newest.horizon if newest else 0),
            chunk_ready=self._ready is not None and self._is_holding,
            done=self._is_executing and (self._done or client.facts.done),
            inferences=self._inferences,
            failures=self._failures,
            latency_ms=newest.inference_ms if newest else 0.0,
            server_ms=newest.server_ms if newest else math.nan,
            reason=self._shown_reason,
        )

    @property
    def _shown_reason(self) -> str:
        """What stands in the way, the connection's reason first."""
        client, arms, asked = self._client.state, self._arms, self._asked
        if client.connection is not Connection.CONNECTED:
            return client.reason
        if not self._reason and asked is not None and arms is not None and self._is_holding and self._ready is None:
            waited_s = (arms.stamp_ns - asked.asked_ns) // NS_PER_S
            if waited_s >= _SAID_AFTER_S:
                return f"the policy server has been inferring for {waited_s} s"
        return self._reason

    # -- parts of a tick -----------------------------------------------------------------------------------------

    @property
    def _is_executing(self) -> bool:
        return self._session.state == "EXECUTING"

    @property
    def _is_holding(self) -> bool:
        arms = self._arms
        return self._is_executing and arms is not None and arms.mode is ArmMode.HOLD and not arms.transition

    @property
    def _is_in_policy(self) -> bool:
        return self._is_executing and self._arms is not None and self._arms.mode is ArmMode.POLICY

    def _watch_connection(self) -> None:
        before, now = self._client_state, self._client.state
        self._client_state = now
        # By count and not by change of state: a server at hand is connected to anew between two ticks.
        if now.connections != before.connections:
            if now.connection is Connection.REFUSED:
                self._on_event(Level.ERROR, "policy_refused", now.reason)
            else:
                self._on_event(Level.INFO, "policy_connected", f"connection {now.connections}, epoch {now.epoch}")
        if now.connection is Connection.DISCONNECTED and now.reason != before.reason:
            self._on_event(Level.WARN, "policy_disconnected", now.reason)

    def _follow(self) -> None:
        """Take note of a new HOLD, of POLICY's beginning, and of the end of either."""
        arms = self._arms
        if arms is None or not (self._is_holding or self._is_in_policy):
            if self._hold_ns:
                self._drop()
            return
        if self._is_holding:
            if arms.mode_since_ns != self._hold_ns:
                self._drop()
                self._hold_ns = arms.mode_since_ns
            return
        if self._strategy is not None and arms.mode_since_ns != self._policy_ns:
            self._drop()  # left and entered again, with the HOLD between not seen
        elif self._ready is not None:
            self._strategy, self._policy_ns = self._make_strategy(), arms.mode_since_ns
            self._strategy.start(self._ready)
            self._tick, self._digest = 0, StreamDigest()
            self._digest.chunk(self._ready)
            self._ready = None

    def _drop(self) -> None:
        """Forget chunk, stream and the result in flight."""
        self._generation += 1
        self._end_stream("")
        self._hold_ns, self._ready, self._was_slow = 0, None, False

    def _end_stream(self, why: str) -> None:
        if self._strategy is not None:
            self._strategy = None
            self._on_event(Level.WARN if why else Level.INFO, "stream_ended", self._digest.line(why))

    def _collect(self, now_ns: int) -> None:
        for outcome in self._client.take_outcomes():
            asked, self._asked = self._asked, None
            if outcome.chunk is None:
                self._failed(outcome, now_ns)
                continue
            self._inferences += 1
            self._failures_in_row, self._reason = 0, ""
            chunk = self._newest = replace(outcome.chunk, chunk_id=self._inferences)
            if asked is None or asked.tag != outcome.tag or asked.generation != self._generation:
                continue  # the session moved on
            self._latencies_ns.append(now_ns - asked.asked_ns)
            self._done = self._done or chunk.done
            if self._strategy is not None:
                self._strategy.take(chunk, asked.observed_tick, self._tick)
                self._digest.chunk(chunk)
            elif now_ns - chunk.observation_ns > _READY_FOR_NS and not self._was_slow:
                self._was_slow = True  # compiling, perhaps: the next answer will have seen the present
            elif self._is_holding:
                self._ready = chunk

    def _failed(self, outcome: Outcome, now_ns: int) -> None:
        self._failures += outcome.was_sent
        pause_ns = min(_RETRY_LOW_NS << min(self._failures_in_row, 16), _RETRY_HIGH_NS)
        self._failures_in_row += 1
        self._retry_ns = now_ns + pause_ns
        self._complain(outcome.reason, "reply_refused" if outcome.was_sent else "observation_refused")

    def _complain(self, reason: str, name: str) -> None:
        """Show the reason; tell it as an event once for each row of failures."""
        if not self._reason:
            self._on_event(Level.WARN, name, reason)
        self._reason = reason

    def _streamed(self, now_ns: int) -> Step | None:
        if self._strategy is None or self._arms is None:
            return None
        self._ticks_without_arms += 1
        if self._ticks_without_arms > _ARMS_LOST_TICKS:
            self._reason = "no arm_status any more; is the arm driver running?"
            self._end_stream(self._reason)
            return None
        step = self._strategy.step(self._tick)
        if step is None:
            waiting = self._reason or self._client.state.reason or "no answer yet"
            self._reason = f"the policy is silent: {waiting}"
            self._end_stream(self._reason)
            return None
        self._digest.step(step, now_ns)
        self._tick += 1
        return replace(step, positions=_with_hands_in_range(step.positions))

    def _ask(self, now_ns: int) -> None:
        if self._asked is not None or now_ns < self._retry_ns or not self._client.is_idle or not self._wants(now_ns):
            return
        try:
            observation = take(self.senses, self._rules, now_ns=now_ns, task=self._session.task)
        except ObservationError as error:
            self._complain(str(error), "observation_refused")
            return
        if observation.oldest_ns <= self._hold_ns:
            return  # partly of before this HOLD, from another pose: the next one will do
        self._tell_dummies(observation.dummies)
        self._tags += 1
        # The tick just put out was due now; step 0 belongs to the moment of the observation.
        observed_tick = self._tick - 1 - round((now_ns - observation.stamp_ns) / TICK_NS)
        asked = _Asked(self._tags, self._generation, observed_tick, now_ns)
        if self._client.submit(Request(self._tags, observation.message, observation.state, observation.stamp_ns)):
            self._asked = asked

    def _tell_dummies(self, dummies: tuple[str, ...]) -> None:
        if dummies != self._dummies and dummies:
            self._on_event(Level.WARN, "dummy_images", f"the policy is shown grey instead of {', '.join(dummies)}")
        self._dummies = dummies

    def _wants(self, now_ns: int) -> bool:
        if self._strategy is not None:
            latency_ns = max(self._latencies_ns, default=0)
            return self._strategy.wants_chunk(self._tick, -(-latency_ns // TICK_NS) + 1)
        if not self._is_holding:
            return False
        return self._ready is None or now_ns - self._ready.observation_ns > _READY_FOR_NS


def _with_hands_in_range(positions: Positions) -> Positions:
    """Fading and coasting may leave 0..1 by a little."""
    if len(positions) == ARM_JOINTS:
        return positions
    return np.concatenate([positions[:ARM_JOINTS], np.clip(positions[ARM_JOINTS:], 0.0, 1.0)])
