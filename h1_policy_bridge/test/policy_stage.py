# SPDX-License-Identifier: Apache-2.0
"""The bridge's core on a stage: time, arms, session and a client without a wire, all in the test's hands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from policy_builders import FakeClient, ramp

from h1_policy_bridge.bridge import PolicyBridge
from h1_policy_bridge.layout import ObservationLayout
from h1_policy_bridge.observation import ObservationRules
from h1_policy_bridge.strategies import TICK_NS, Blend, Strategy, StrategyConfig
from h1_policy_bridge.values import ArmReading, OutgoingAction, SessionReading
from h1_policy_bridge.warm_up import WarmUp
from h1_training_node.message_numbers import ArmMode, Level

STATE_ONLY = ObservationLayout(state=((("state",), 0, None),), images=())


class Stage:
    """A bridge, and time, arms and session to play with."""

    def __init__(
        self,
        rules: ObservationRules | None = None,
        config: StrategyConfig | None = None,
        warm_up: WarmUp | None = None,
        make_strategy: Callable[[], Strategy] | None = None,
    ) -> None:
        self.client = FakeClient()
        self.events: list[tuple[Level, str, str]] = []
        self.now_ns = 1_000_000_000_000
        self.mode, self.since_ns = ArmMode.HOLD, self.now_ns
        self.transition = False
        self.execution = 1
        self.bridge = PolicyBridge(
            self.client,
            rules or ObservationRules(STATE_ONLY),
            lambda _facts: make_strategy() if make_strategy else Blend(config or StrategyConfig(window_ticks=0)),
            lambda level, reason, detail: self.events.append((level, reason, detail)),
            warm_up,
        )

    def session(self, state: str, epoch: int = 0) -> None:
        self.bridge.on_session(SessionReading(state, epoch, "stack the cubes"))

    def enter(self, mode: ArmMode) -> None:
        self.mode, self.since_ns = mode, self.now_ns
        self.execution += mode is ArmMode.HOLD  # a new token at each handover

    def tick(self, *, arms: bool = True) -> OutgoingAction | None:
        """20 ms later; the arms have reported 5 ms ago."""
        self.now_ns += TICK_NS
        if arms:
            stamp_ns = self.now_ns - 5_000_000
            arms = ArmReading(stamp_ns, self.mode, self.since_ns, self.transition, np.zeros(14), self.execution)
            self.bridge.on_arms(arms)
        return self.bridge.tick(self.now_ns)

    def ticks(self, count: int) -> list[OutgoingAction | None]:
        return [self.tick() for _ in range(count)]

    def until_ready(self) -> None:
        """EXECUTING, HOLD, a first chunk."""
        self.session("EXECUTING")
        self.enter(ArmMode.HOLD)
        self.tick()
        self.client.answer(ramp())
        self.tick()
        assert self.bridge.status.chunk_ready

    def until_streaming(self) -> None:
        self.until_ready()
        self.until_in_policy()

    def until_in_policy(self) -> None:
        self.enter(ArmMode.POLICY)
        assert self.tick() is not None

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]
