# SPDX-License-Identifier: Apache-2.0
"""Whatever session, arms, server and computer do, in whatever order: the arms are sent nothing that is not for now."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import ramp
from policy_stage import Stage

from h1_policy_bridge.strategies import TICK_NS, StrategyConfig
from h1_training_node.message_numbers import ArmMode

STATES = ("EXECUTING", "EXECUTING", "EXECUTING", "READY", "DAMPING", "LABELING", "STOPPED")
MODES = (ArmMode.HOLD, ArmMode.HOLD, ArmMode.POLICY, ArmMode.POLICY, ArmMode.HOME, ArmMode.DAMPING, ArmMode.RELEASED)
STEPS = (
    st.tuples(st.just("session"), st.sampled_from(STATES))
    | st.tuples(st.just("mode"), st.sampled_from(MODES))
    | st.tuples(st.just("ticks"), st.integers(1, 60))
    | st.tuples(st.just("answer"), st.floats(-3.0, 3.0))
    | st.tuples(st.just("done"), st.booleans())
    | st.tuples(st.just("fail"), st.booleans())
    | st.tuples(st.just("stall"), st.integers(1, 100))
    | st.tuples(st.just("transition"), st.booleans())
)


class Run:
    """A stage, and what must be true at every tick of it."""

    def __init__(self, window_ticks: int) -> None:
        self.stage = Stage(config=StrategyConfig(window_ticks=window_ticks))
        self.state = ""
        self.seq = 0
        self.hold_ns = -1

    def tick(self) -> None:
        stage = self.stage
        action = stage.tick()
        if stage.mode is ArmMode.HOLD:
            self.hold_ns = stage.since_ns
        elif stage.mode is not ArmMode.POLICY:
            self.hold_ns = -1
        status = stage.bridge.status
        may_move = self.state == "EXECUTING" and stage.mode is ArmMode.POLICY and self.hold_ns >= 0
        if status.chunk_ready:
            assert self.state == "EXECUTING"
            assert stage.mode is ArmMode.HOLD
            assert not stage.transition
        if status.done:
            assert self.state == "EXECUTING"
        if action is None:
            return
        assert may_move
        assert action.step.chunk.observation_ns > self.hold_ns
        assert 0 <= action.step.index < action.step.chunk.horizon
        assert np.isfinite(action.step.positions).all()
        assert action.seq == self.seq + 1
        self.seq = action.seq

    def do(self, what: str, value) -> None:
        stage = self.stage
        under_way = not stage.client.is_idle
        if what == "session":
            self.state = value
            stage.session(value)
        elif what == "mode":
            stage.enter(value)
        elif what == "transition":
            stage.transition = value
        elif what == "stall":
            stage.now_ns += value * TICK_NS
        elif what == "answer" and under_way:
            stage.client.answer(ramp(value))
        elif what == "done" and under_way:
            stage.client.answer(ramp(), done=value)
        elif what == "fail" and under_way:
            stage.client.fail("x", was_sent=value)
        for _ in range(value if what == "ticks" else 1):
            self.tick()


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from([0, 10]))
def test_no_action_leaves_but_in_policy_in_executing_and_of_what_was_seen_since_the_arms_held(steps, window_ticks):
    course = Run(window_ticks)
    for what, value in steps:
        course.do(what, value)


@pytest.mark.parametrize("interruption", [("session", "DAMPING"), ("mode", ArmMode.DAMPING), ("mode", ArmMode.HOME)])
def test_after_any_interruption_the_way_back_is_hold_observe_and_policy(interruption):
    course = Run(10)
    entry = (("ticks", 2), ("answer", 0.0), ("answer", 0.0), ("mode", ArmMode.POLICY))
    for what, value in (("session", "EXECUTING"), ("mode", ArmMode.HOLD), *entry):
        course.do(what, value)
    course.do("ticks", 5)
    assert course.seq >= 5
    course.do(*interruption)
    before = course.seq
    for what, value in (("session", "EXECUTING"), ("mode", ArmMode.POLICY), ("ticks", 20)):
        course.do(what, value)
    assert course.seq == before
    for what, value in (("mode", ArmMode.HOLD), *entry):
        course.do(what, value)
    assert course.seq > before
