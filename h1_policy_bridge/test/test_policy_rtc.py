# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: a server that continues the chunk being played gets what is left of it."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import ramp
from policy_stage import STATE_ONLY, Stage

from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.metadata import ServerFacts, read_metadata
from h1_policy_bridge.observation import Observation, ObservationRules, Remainder
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.strategies import Blend, RealTimeChunking, StrategyConfig

RTC = ServerFacts(takes_remainder=True)


def streaming(strategy: type[Blend], latency_ticks: int = 6) -> Stage:
    """A stream whose first chunk, `ramp()`, took `latency_ticks` to come."""
    stage = Stage(make_strategy=lambda: strategy(StrategyConfig()))
    stage.session("EXECUTING")
    stage.tick()
    stage.ticks(latency_ticks)
    stage.client.answer(ramp())
    stage.tick()
    stage.until_in_policy()
    while len(stage.client.requests) < 2:
        stage.tick()
    return stage


def test_a_request_carries_what_is_planned_from_its_observation_on_and_the_delay():
    stage = streaming(RealTimeChunking)
    message = stage.client.requests[1].build(RTC)
    played = stage.tick().step.index
    remainder = message["prev_action_chunk"]
    assert remainder.dtype == np.float32
    np.testing.assert_allclose(remainder, ramp()[played - 1 :], atol=1e-6)
    assert message["inference_delay"] == 7


def test_the_first_request_has_no_remainder():
    stage = streaming(RealTimeChunking)
    assert set(stage.client.requests[0].build(RTC)) == {"state", "prompt"}


def test_blend_sends_none():
    assert set(streaming(Blend).client.requests[1].build(RTC)) == {"state", "prompt"}


def test_a_server_that_continues_the_remainder_is_followed_without_a_seam():
    stage = streaming(RealTimeChunking)
    remainder = stage.client.requests[1].build(RTC)["prev_action_chunk"]
    stage.ticks(5)
    continued = np.concatenate([remainder, remainder[-1:] + ramp(0.01, steps=50 - len(remainder))])
    stage.client.answer(continued.astype(float))
    positions = np.array([action.step.positions for action in stage.ticks(20)])
    np.testing.assert_allclose(np.diff(positions, axis=0), 0.01, atol=1e-5)


def test_a_server_that_ignores_it_makes_no_larger_step_than_blend_allows():
    stage = streaming(RealTimeChunking)
    stage.client.answer(ramp(0.6))
    positions = np.array([action.step.positions for action in stage.ticks(30)])
    assert np.abs(np.diff(positions, axis=0)).max() <= 1.5 * 0.01 + 1e-9


def test_hands_go_in_the_servers_unit():
    rules = ObservationRules(STATE_ONLY, with_hands=True, hand_unit="register")
    remainder = Remainder(np.full((3, 26), 0.5), delay_ticks=9)
    message = Observation(1, 1, np.full(26, 0.5), {}, "", rules, remainder).message(RTC)
    assert message["prev_action_chunk"][0, 13:15].tolist() == [0.5, 500.0]
    assert message["inference_delay"] == 3


@pytest.mark.parametrize(
    ("configured", "facts", "made"),
    [
        ("auto", RTC, RealTimeChunking),
        ("auto", ServerFacts(), Blend),
        ("blend", RTC, Blend),
        ("rtc", ServerFacts(), RealTimeChunking),
    ],
)
def test_it_is_chosen_by_itself_only_where_the_metadata_say_so(configured, facts, made):
    assert type(BridgeParameters(strategy=configured).make_strategy(facts)) is made


@pytest.mark.parametrize(("metadata", "takes"), [({"rtc": True}, True), ({"rtc": "yes"}, False), ({}, False)])
def test_the_metadata_say_so_by_a_flag(metadata, takes):
    assert read_metadata(metadata, Expectation()).takes_remainder is takes
