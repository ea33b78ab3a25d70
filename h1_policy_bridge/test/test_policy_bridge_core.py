# SPDX-License-Identifier: Apache-2.0
"""Who may move, when: the bridge's core with a client whose answers the test gives."""

from __future__ import annotations

import pytest
from policy_builders import ramp
from policy_stage import Stage

from h1_policy_bridge.strategies import TICK_NS, StrategyConfig
from h1_training_node.message_numbers import ArmMode


def test_nothing_is_asked_but_in_ready_before_the_session_executes():
    stage = Stage()
    for state in ("STARTING", "WAITING", "LABELING", "DAMPING", "SAVING", "DECIDING", "SYNCING", "STOPPED"):
        stage.session(state)
        stage.ticks(3)
    assert stage.client.requests == []


@pytest.mark.parametrize("mode", [ArmMode.RELEASED, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING])
def test_nothing_is_asked_while_the_arms_do_not_hold(mode):
    stage = Stage()
    stage.session("EXECUTING")
    stage.enter(mode)
    assert stage.ticks(3) == [None] * 3
    assert stage.client.requests == []


def test_nothing_is_asked_while_the_arms_are_being_taken():
    stage = Stage()
    stage.session("EXECUTING")
    stage.transition = True
    stage.ticks(3)
    assert stage.client.requests == []


def test_the_observation_is_younger_than_the_hold():
    stage = Stage()
    stage.session("EXECUTING")
    stage.now_ns += TICK_NS
    stage.since_ns = stage.now_ns + TICK_NS - 4_000_000  # the arms' next report is 1 ms older than this
    stage.tick()
    assert stage.client.requests == []
    stage.tick()
    assert stage.client.requests[0].observation_ns > stage.since_ns


def test_a_first_chunk_is_announced_and_not_played_before_policy():
    stage = Stage()
    stage.until_ready()
    assert stage.ticks(20) == [None] * 20
    assert stage.bridge.status.chunk_ready


def test_the_stream_runs_from_step_zero_with_numbers_that_rise_by_one():
    stage = Stage()
    stage.until_streaming()
    actions = stage.ticks(10)
    assert [action.seq for action in actions] == list(range(2, 12))
    assert [action.step.index for action in actions] == list(range(1, 11))
    assert {action.step.chunk.chunk_id for action in actions} == {1}
    assert not stage.bridge.status.chunk_ready


def test_the_next_chunk_takes_over_at_the_step_that_is_due():
    stage = Stage()
    stage.until_streaming()
    while len(stage.client.requests) < 2:
        stage.tick()
    asked_ns, last = stage.now_ns, stage.tick().step.index
    stage.client.answer(ramp(1.0))
    action = stage.tick()
    assert action.step.chunk.chunk_id == 2
    assert action.step.chunk.observation_ns == asked_ns - 5_000_000
    assert action.step.index == 2
    assert last > 2


def test_each_action_repeats_the_token_of_the_execution_that_it_was_made_for():
    stage = Stage()
    stage.until_streaming()
    first = stage.execution
    assert {action.execution for action in stage.ticks(5)} == {first}
    stage.until_streaming()
    assert stage.execution == first + 1
    assert {action.execution for action in stage.ticks(5)} == {first + 1}


def test_a_token_that_changes_within_policy_ends_the_stream():
    stage = Stage()
    stage.until_streaming()
    stage.execution += 1
    assert stage.ticks(3) == [None] * 3


def test_policy_without_a_chunk_moves_nothing():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.enter(ArmMode.POLICY)
    stage.tick()
    stage.client.answer(ramp())
    assert stage.ticks(5) == [None] * 5


@pytest.mark.parametrize("state", ["LABELING", "DAMPING", "STOPPED"])
def test_leaving_executing_ends_the_stream_within_one_tick(state):
    stage = Stage()
    stage.until_streaming()
    stage.session(state)
    assert stage.tick() is None
    assert "stream_ended" in stage.reasons()


@pytest.mark.parametrize("mode", [ArmMode.RELEASED, ArmMode.HOLD, ArmMode.HOME, ArmMode.DAMPING])
def test_leaving_policy_ends_the_stream_within_one_tick(mode):
    stage = Stage()
    stage.until_streaming()
    stage.enter(mode)
    assert stage.tick() is None


def test_a_result_in_flight_is_dropped_when_the_session_leaves_executing():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.session("DAMPING")
    stage.tick()
    stage.session("EXECUTING")
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert stage.bridge.status.inferences == 1


def test_a_ready_chunk_is_dropped_when_the_session_leaves_executing():
    stage = Stage()
    stage.until_ready()
    stage.session("DAMPING")
    stage.tick()
    stage.session("EXECUTING")
    stage.enter(ArmMode.POLICY)
    assert stage.tick() is None


def test_a_chunk_of_an_earlier_hold_is_not_announced_in_a_later_one():
    stage = Stage()
    stage.until_ready()
    stage.enter(ArmMode.HOME)
    stage.tick()
    stage.enter(ArmMode.HOLD)
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert len(stage.client.requests) == 2


def test_an_answer_from_before_a_hold_begins_again_is_not_announced_even_if_nothing_else_was_seen():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.enter(ArmMode.HOLD)
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready


def test_policy_entered_again_without_a_hold_between_moves_nothing():
    stage = Stage()
    stage.until_streaming()
    stage.enter(ArmMode.POLICY)
    assert stage.ticks(3) == [None] * 3


def test_after_silence_the_stream_ends_and_a_new_hold_begins_it_again():
    stage = Stage(config=StrategyConfig(window_ticks=0, coast_ticks=5))
    stage.until_streaming()
    actions = stage.ticks(60)
    assert actions[-1] is None
    assert "the policy is silent" in stage.bridge.status.reason
    stage.client.fail("the policy server gave no answer within 5 s")
    stage.enter(ArmMode.HOLD)
    stage.ticks(10)
    stage.client.answer(ramp(0.3))
    stage.tick()
    assert stage.bridge.status.chunk_ready
    assert stage.bridge.status.reason == ""
    stage.enter(ArmMode.POLICY)
    action = stage.tick()
    assert action.step.index == 0
    assert action.step.positions[0] == pytest.approx(0.3)


def test_a_bad_reply_in_the_middle_of_a_stream_costs_nothing_if_the_next_is_good():
    stage = Stage()
    stage.until_streaming()
    while len(stage.client.requests) < 2:
        assert stage.tick() is not None
    stage.client.fail("reply refused: 'actions' is inf")
    while len(stage.client.requests) < 3:
        assert stage.tick() is not None
    stage.client.answer(ramp(0.2))
    assert stage.tick().step.chunk.chunk_id == 2


def test_without_word_from_the_arms_the_stream_ends():
    stage = Stage()
    stage.until_streaming()
    actions = [stage.tick(arms=False) for _ in range(30)]
    assert actions[10] is not None
    assert actions[-1] is None
    assert "no arm_status any more" in stage.bridge.status.reason


def after_a_slow_first_answer() -> Stage:
    """The server compiled for 3 s before its first answer."""
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.ticks(150)
    stage.client.answer(ramp())
    stage.tick()
    return stage


def test_a_first_answer_that_took_long_is_asked_for_again_but_only_once():
    stage = after_a_slow_first_answer()
    assert not stage.bridge.status.chunk_ready
    assert len(stage.client.requests) == 2
    stage.ticks(150)
    stage.client.answer(ramp())
    stage.tick()
    assert stage.bridge.status.chunk_ready


def test_the_time_that_a_server_took_to_compile_does_not_make_the_bridge_ask_without_pause():
    stage = after_a_slow_first_answer()
    stage.client.answer(ramp())
    stage.tick()
    stage.enter(ArmMode.POLICY)
    asked = len(stage.client.requests)
    stage.ticks(10)
    assert len(stage.client.requests) == asked


def test_a_ready_chunk_that_waits_is_renewed_and_stays_ready_meanwhile():
    stage = Stage()
    stage.until_ready()
    stage.ticks(120)
    assert len(stage.client.requests) == 2
    assert stage.bridge.status.chunk_ready
    stage.client.answer(ramp(0.5))
    stage.tick()
    stage.enter(ArmMode.POLICY)
    assert stage.tick().step.positions[0] == pytest.approx(0.5)
