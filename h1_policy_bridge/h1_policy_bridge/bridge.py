# SPDX-License-Identifier: Apache-2.0
"""Who may move, when: the bridge between a session in EXECUTING, arms in HOLD or POLICY, and a policy server.

Each entry of POLICY, resuming included, goes the same way. The arms HOLD; an observation younger than that HOLD is
sent; its chunk is ready; somebody else (session_manager) enters POLICY; the stream runs from step 0. Leaving
EXECUTING, or any other mode, drops the chunk, the stream and the result in flight. So no action can be older than the
pose from which it starts, and a server that lies, hangs or dies ends in arms that hold.

No ROS and no waiting here: `tick` is called 50 times a second, everything else hands over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from h1_policy_bridge.action_stream import ActionStream
from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_policy_bridge.inference import Client, Inference
from h1_policy_bridge.metadata import ServerFacts, changes
from h1_policy_bridge.observation import LatestInputs, ObservationRules, Stamped, observe
from h1_policy_bridge.strategies import TICKS_PER_S, Positions, Step, Strategy
from h1_policy_bridge.values import (
    ArmReading,
    BridgeStatus,
    ClientState,
    ObservationError,
    OutgoingAction,
    SessionReading,
)
from h1_policy_bridge.warm_up import WarmUp
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Connection, Level
from h1_training_node.report_once import ReportOnce

_READY_FOR_NS = 2 * NS_PER_S
"""A first chunk that has waited this long for POLICY is replaced: the scene may have changed meanwhile."""

_ARMS_LOST_TICKS = TICKS_PER_S // 2
"""Without an arm_status for this many ticks the stream ends: nobody is known to follow it. Ticks and not time: after a
stall of this process the arms' messages are still waiting to be read."""

_SLOW_ANSWER_S = 2
"""From then on a first answer that takes long is shown as what it is: a server may compile for 40 s."""

_MISSED_SHOWN_NS = 5 * NS_PER_S
"""How long missed ticks are shown, and at least between two events about them."""


class PolicyBridge:
    """See the module.

    Args:
        client: the way to the server.
        rules: how observations are made.
        warm_up: what READY's inference must show.
        make_strategy: a new strategy for each entry of POLICY, for such a server.
        on_event: takes (level, reason, detail).
    """

    def __init__(
        self,
        client: Client,
        rules: ObservationRules,
        make_strategy: Callable[[ServerFacts], Strategy],
        on_event: Callable[[Level, str, str], None],
        warm_up: WarmUp | None = None,
    ) -> None:
        self.latest = LatestInputs()
        self._client = client
        self._rules = rules
        self._make_strategy = make_strategy
        self._on_event = on_event
        self._inference = Inference(client, on_event)
        self._warm_up = warm_up or WarmUp(math.inf)
        self._arms: ArmReading | None = None
        self._ticks_without_arms = 0
        self._session = SessionReading("", -1, "")
        self._wanted_epoch = -1
        self._connection = ConnectionWatch(client.state, on_event)
        # Of one HOLD and the POLICY that follows it; a new generation makes everything asked before worthless.
        self._generation = 0
        self._hold_ns = 0
        self._ready: Chunk | None = None
        self._was_slow = False
        self._stream: ActionStream | None = None
        self._ended_for = ""
        self._missed_report = ReportOnce(_MISSED_SHOWN_NS)
        self._missed_ns = 0
        self._missed_shown = ""
        self._seq = 0
        self._done = False

    # -- what comes in -------------------------------------------------------------------------------------------

    def on_arms(self, arms: ArmReading) -> None:
        """A new arm_status."""
        self._arms, self._ticks_without_arms = arms, 0
        self.latest.arms = Stamped(arms.stamp_ns, arms.q)

    def on_session(self, session: SessionReading) -> None:
        """A new session/state; READY with a new epoch makes the connection again."""
        was_executing, was_ready = self._is_executing, self._is_ready
        self._session = session
        if session.state == "READY" and session.epoch != self._wanted_epoch:
            self._wanted_epoch = session.epoch
            self._client.reconnect(session.epoch)
        if self._is_ready != was_ready:
            self._inference.restart()
            (self._warm_up.begin if self._is_ready else self._warm_up.end)()
        if self._is_executing and not was_executing:
            self._ended_for, self._done = "", False
            self._inference.restart()

    # -- 50 times a second ---------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> OutgoingAction | None:
        """Collect what the server said, follow session and arms, ask if it is time; the action that is due, if any."""
        if self._connection.is_another(self._client.state) and self._is_ready:
            self._warm_up.begin()
        self._follow()
        self._collect(now_ns)
        step = self._streamed(now_ns)
        self._ask(now_ns)
        if step is None or self._stream is None:
            return None
        self._seq += 1
        return OutgoingAction(self._seq, step, self._stream.execution)

    @property
    def status(self) -> BridgeStatus:
        """The bridge as of now."""
        facts, newest = self._client.state.facts, self._inference.newest
        first_inference_ms, first_action_distance_rad = self._warm_up.figures
        return BridgeStatus(
            client=self._client.state,
            action_dim=facts.action_dim or (newest.actions.shape[1] if newest else 0),
            horizon=facts.horizon or (newest.horizon if newest else 0),
            chunk_ready=self._ready is not None and self._is_holding,
            done=self._is_executing and (self._done or facts.done),
            inferences=self._inference.inferences,
            failures=self._inference.failures,
            latency_ms=newest.inference_ms if newest else 0.0,
            server_ms=newest.server_ms if newest else math.nan,
            reason=self._shown_reason,
            checkpoint=facts.checkpoint,
            metadata_digest=facts.digest if self._client.state.connection is Connection.CONNECTED else "",
            metadata_change=self._connection.metadata_change,
            warm=self._is_ready and self._warm_up.is_warm,
            first_inference_ms=first_inference_ms,
            first_action_distance_rad=first_action_distance_rad,
            warm_up_reason=self._shown_warm_up_reason,
        )

    @property
    def _shown_reason(self) -> str:
        """What stands in the way, the connection's reason first."""
        client, arms, asked = self._client.state, self._arms, self._inference.asked
        if client.connection is not Connection.CONNECTED:
            return client.reason
        if reason := self._inference.reason or self._ended_for:
            return reason
        if asked is not None and arms is not None and self._is_holding and self._ready is None:
            waited_s = (arms.stamp_ns - asked.asked_ns) // NS_PER_S
            if waited_s >= _SLOW_ANSWER_S:
                return f"the policy server has been inferring for {waited_s} s"
        return self._missed_shown if self._stream is not None else ""

    @property
    def _shown_warm_up_reason(self) -> str:
        client, arms, asked = self._client.state, self._arms, self._inference.asked
        if not self._is_ready or self._warm_up.is_warm:
            return ""
        if client.connection is not Connection.CONNECTED:
            return client.reason or "the connection is being made"
        if asked is not None and arms is not None:
            waited_s = max(0, arms.stamp_ns - asked.asked_ns) // NS_PER_S
            return f"the first inference has been under way for {waited_s} s"
        return self._inference.reason or self._warm_up.reason

    # -- parts of a tick -----------------------------------------------------------------------------------------

    @property
    def _is_executing(self) -> bool:
        return self._session.state == "EXECUTING"

    @property
    def _is_ready(self) -> bool:
        return self._session.state == "READY"

    @property
    def _is_holding(self) -> bool:
        arms = self._arms
        return self._is_executing and arms is not None and arms.mode is ArmMode.HOLD and not arms.transition

    @property
    def _is_in_policy(self) -> bool:
        return self._is_executing and self._arms is not None and self._arms.mode is ArmMode.POLICY

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
        if self._stream is not None and (
            (arms.mode_since_ns, arms.execution) != (self._stream.policy_ns, self._stream.execution)
        ):
            self._drop()  # left and entered again, with the HOLD between not seen
        elif self._ready is not None:
            self._stream = ActionStream(
                self._make_strategy(self._client.state.facts), self._ready, arms.mode_since_ns, arms.execution
            )
            self._ready = None

    def _drop(self) -> None:
        """Forget chunk, stream and the result in flight."""
        self._generation += 1
        self._end_stream("")
        self._hold_ns, self._ready, self._was_slow = 0, None, False

    def _end_stream(self, why: str) -> None:
        if self._stream is not None:
            self._on_event(Level.WARN if why else Level.INFO, "stream_ended", self._stream.digest.line(why))
            self._stream = None
            if why:  # the newest reason is shown, until an attempt after it gives another
                self._ended_for, self._inference.reason = why, ""
            self._missed_shown, self._missed_ns = "", 0
            self._missed_report.clear()

    def _collect(self, now_ns: int) -> None:
        good_before = self._inference.inferences
        for chunk, asked in self._inference.collect(now_ns, self._generation):
            if self._is_ready:
                self._warm_up.take(chunk, now_ns)
                if (first := self._warm_up.first) is not None:
                    self._on_event(Level.INFO, "policy_warm_up", first.line())
                continue
            self._done = self._done or chunk.done
            if self._stream is not None:
                self._stream.take(chunk, asked.observed_tick)
            elif now_ns - chunk.observation_ns > _READY_FOR_NS and not self._was_slow:
                self._was_slow = True  # compiling, perhaps: the next answer will have seen the present
            elif self._is_holding:
                self._ready = chunk
        if self._inference.inferences > good_before:
            self._ended_for = ""

    def _streamed(self, now_ns: int) -> Step | None:
        if self._stream is None:
            return None
        self._ticks_without_arms += 1
        if self._ticks_without_arms > _ARMS_LOST_TICKS:
            self._end_stream("no arm_status any more; is the arm driver running?")
            return None
        missed = self._stream.digest.missed
        step = self._stream.step(now_ns)
        if step is None:
            waiting = self._inference.reason or self._client.state.reason or "no answer yet"
            self._end_stream(f"the policy is silent: {waiting}")
            return None
        self._report_missed(self._stream.digest.missed, missed, now_ns)
        return replace(step, positions=_with_hands_in_range(step.positions))

    def _report_missed(self, missed: int, before: int, now_ns: int) -> None:
        """Show ticks that were missed for a while, and report them now and then."""
        if missed == before:
            if now_ns - self._missed_ns > _MISSED_SHOWN_NS:
                self._missed_shown = ""
            return
        self._missed_shown = f"{missed} of the stream's ticks missed so far: this computer is too busy"
        if self._missed_report.is_due(now_ns=now_ns):
            self._missed_ns = now_ns
            self._on_event(Level.WARN, "ticks_missed", self._missed_shown)

    def _ask(self, now_ns: int) -> None:
        if not self._inference.may_ask(now_ns) or not self._wants(now_ns):
            return
        try:
            observation = observe(self.latest, self._rules, now_ns=now_ns, task=self._session.task)
        except ObservationError as error:
            if self._is_ready:  # cameras may come up; preflight names those that do not
                self._warm_up.reason = str(error)
            else:
                self._inference.refuse(error)
            return
        if observation.oldest_ns <= self._hold_ns:
            return  # partly of before this HOLD, from another pose: the next one will do
        observed_tick = 0
        if self._stream is not None:
            observed_tick = self._stream.tick_of(observation.stamp_ns, now_ns)
            observation = replace(
                observation, remainder=self._stream.remainder(observed_tick, self._inference.latency_ns)
            )
        self._inference.ask(observation, now_ns=now_ns, generation=self._generation, observed_tick=observed_tick)

    def _wants(self, now_ns: int) -> bool:
        if self._stream is not None:
            return self._stream.wants_chunk(self._inference.latency_ns)
        if self._is_ready:
            return self._warm_up.wants(now_ns)
        if not self._is_holding:
            return False
        return self._ready is None or now_ns - self._ready.observation_ns > _READY_FOR_NS


class ConnectionWatch:
    """Reports what becomes of the connection, and when a server comes back with other metadata: other weights.

    Args:
        state: of the client as of now.
        on_event: takes (level, reason, detail).

    Attributes:
        metadata_change: what differed when the metadata last changed between two connections; empty: nothing yet.
    """

    def __init__(self, state: ClientState, on_event: Callable[[Level, str, str], None]) -> None:
        self._state = state
        self._on_event = on_event
        self._served: Mapping[str, str] | None = None
        self.metadata_change = ""

    def is_another(self, now: ClientState) -> bool:
        """Whether the connection is another one than at the last call, with the events that this brings."""
        before, self._state = self._state, now
        # By count and not by change of state: a server nearby is connected to again between two ticks.
        is_another = now.connections != before.connections
        if is_another and now.connection is Connection.REFUSED:
            self._on_event(Level.ERROR, "policy_refused", now.reason)
        elif is_another:
            self._on_event(Level.INFO, "policy_connected", f"connection {now.connections}, epoch {now.epoch}")
            self._compare(now.facts)
        if now.connection is Connection.DISCONNECTED and now.reason != before.reason:
            self._on_event(Level.WARN, "policy_disconnected", now.reason)
        return is_another

    def _compare(self, facts: ServerFacts) -> None:
        if self._served is not None and (change := changes(self._served, facts.contents)):
            self.metadata_change = change
            detail = f"the policy server came back with other metadata: {change}"
            self._on_event(Level.WARN, "policy_metadata_changed", detail)
        self._served = facts.contents


def _with_hands_in_range(positions: Positions) -> Positions:
    """Fading and coasting may leave 0..1 by a little."""
    if len(positions) == ARM_JOINTS:
        return positions
    return np.concatenate([positions[:ARM_JOINTS], np.clip(positions[ARM_JOINTS:], 0.0, 1.0)])
