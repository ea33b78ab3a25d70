# SPDX-License-Identifier: Apache-2.0
"""The strategies, by themselves and under the bridge in virtual time."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import chunk, ramp
from policy_virtual_run import run_virtually

from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.parameters import BridgeParameters
from h1_policy_bridge.strategies import STRATEGIES, Blend, OpenLoop, Step, StrategyConfig

MS = 1_000_000


def played(strategy, ticks: range) -> list:
    return [strategy.step(tick) for tick in ticks]


def values(steps) -> np.ndarray:
    return np.array([step.positions[0] for step in steps])


def jittery(mean_ms: float, seed: int, jitter: float = 0.3):
    """Inference times of 70 to 130 % of the mean."""
    chance = random.Random(seed)
    return lambda: round(mean_ms * chance.uniform(1 - jitter, 1 + jitter) * MS)


def swaying(state: np.ndarray, now_ns: int) -> np.ndarray:
    """A consistent policy: towards a moving goal at 2 /s, from wherever it is."""
    actions, q, t = np.empty((50, len(state))), state, now_ns * 1e-9
    for step in range(50):
        goal = 0.4 * np.sin(t + 0.02 * step + np.arange(len(state)))
        actions[step] = q = q + 0.02 * 2.0 * (goal - q)
    return actions


def unlike(seed: int):
    """Smooth chunks that have nothing to do with each other, as a policy that cannot make up its mind."""
    chance = np.random.default_rng(seed)

    def infer(state: np.ndarray, now_ns: int) -> np.ndarray:
        t = np.arange(50)[:, None] * 0.02
        shape = chance.uniform(0.05, 0.4, (3, len(state)))
        wave = shape[0] * np.sin(chance.uniform(1.0, 6.0, len(state)) * t + chance.uniform(0.0, 6.0, len(state)))
        return state + chance.uniform(-0.3, 0.3, len(state)) + wave

    return infer


def test_open_loop_plays_each_step_once_in_order():
    strategy = OpenLoop(StrategyConfig())
    strategy.start(chunk())
    steps = played(strategy, range(50))
    np.testing.assert_allclose(values(steps), ramp()[:, 0])
    assert [step.index for step in steps] == list(range(50))
    assert not any(step.holding for step in steps)


def test_open_loop_asks_at_the_end_of_the_chunk_and_not_before():
    strategy = OpenLoop(StrategyConfig())
    strategy.start(chunk())
    assert [strategy.wants_chunk(tick, latency_ticks=20) for tick in (0, 49, 50, 60)] == [False, False, True, True]


def test_open_loop_repeats_the_last_position_for_one_second_and_then_ends():
    strategy = OpenLoop(StrategyConfig())
    strategy.start(chunk())
    steps = played(strategy, range(50, 101))
    assert all(step.holding and step.index == 49 for step in steps[:50])
    assert set(values(steps[:50])) == {0.49}
    assert steps[50] is None


def test_open_loop_plays_a_new_chunk_whole():
    strategy = OpenLoop(StrategyConfig())
    strategy.start(chunk())
    strategy.take(chunk(ramp(0.5)), observed_tick=50, tick=57)
    assert [step.index for step in played(strategy, range(57, 60))] == [0, 1, 2]


def test_open_loop_may_play_part_of_each_chunk_as_openpis_broker_does():
    strategy = OpenLoop(StrategyConfig(play_ticks=25))
    strategy.start(chunk())
    assert [strategy.wants_chunk(tick, latency_ticks=20) for tick in (24, 25)] == [False, True]
    steps = played(strategy, range(30))
    assert [step.index for step in steps] == [*range(25), *[24] * 5]
    assert [step.holding for step in steps] == [False] * 25 + [True] * 5


class Hasty:
    """A third strategy: plays each chunk from its first step, whenever it comes."""

    def __init__(self, config: StrategyConfig) -> None:
        self._chunk, self._from_tick = chunk(), 0

    def start(self, first) -> None:
        self._chunk = first

    def wants_chunk(self, tick: int, latency_ticks: int) -> bool:
        return tick - self._from_tick >= self._chunk.horizon // 2

    def take(self, new, observed_tick: int, tick: int) -> None:
        self._chunk, self._from_tick = new, tick

    def step(self, tick: int) -> Step | None:
        index = tick - self._from_tick
        return Step(self._chunk.actions[index], self._chunk, index) if index < self._chunk.horizon else None


def test_a_third_strategy_is_one_class_and_one_line(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "hasty", Hasty)
    parameters = BridgeParameters(strategy="hasty")
    record = run_virtually(
        lambda: parameters.make_strategy(ServerFacts()), swaying, lambda: 200 * MS, ticks=300, state=np.zeros(14)
    )
    assert record.missing_ticks == 0
    assert len(record.chunks) >= 6


def test_blend_without_a_window_is_plain_receding_horizon():
    strategy = Blend(StrategyConfig(window_ticks=0))
    strategy.start(chunk())
    strategy.take(chunk(ramp(1.0)), observed_tick=10, tick=16)
    steps = played(strategy, range(16, 60))
    np.testing.assert_allclose(values(steps), ramp(1.0)[6:, 0])
    assert steps[0].index == 6


def test_blend_skips_the_steps_that_passed_during_the_inference():
    strategy = Blend(StrategyConfig())
    strategy.start(chunk(state=np.full(14, -0.01)))
    played(strategy, range(16))
    strategy.take(chunk(ramp(0.1)), observed_tick=10, tick=16)
    steps = played(strategy, range(16, 30))
    assert [step.index for step in steps] == list(range(6, 20))
    np.testing.assert_allclose(values(steps), 0.01 * np.arange(16, 30))


def test_blend_arrives_at_the_new_chunk_when_the_window_is_over():
    strategy = Blend(StrategyConfig(window_ticks=10))
    strategy.start(chunk(state=np.full(14, -0.01)))
    played(strategy, range(16))
    strategy.take(chunk(ramp(0.12)), observed_tick=10, tick=16)
    steps = values(played(strategy, range(16, 60)))
    assert steps[0] == pytest.approx(0.16, abs=1e-3)
    np.testing.assert_allclose(steps[10:], ramp(0.12)[16:, 0], atol=1e-12)


def test_blend_changes_velocity_at_a_seam_no_faster_than_its_curve_does():
    strategy = Blend(StrategyConfig(window_ticks=10))
    strategy.start(chunk(state=np.full(14, -0.01)))
    before = values(played(strategy, range(16)))
    strategy.take(chunk(ramp(0.12)), observed_tick=10, tick=16)
    after = values(played(strategy, range(16, 60)))
    bends = np.diff(np.concatenate([before[10:], after]), n=2)
    # x^2 (3 - 2x) bends by 6 / window^2 at most; receding horizon would bend by the whole 0.02.
    assert np.abs(bends).max() <= 6.0 * 0.02 / 10**2


def test_blend_begins_at_the_pose_that_was_observed_and_from_rest():
    strategy = Blend(StrategyConfig())
    strategy.start(chunk(ramp(0.05, 0.01), state=np.zeros(14)))
    steps = np.diff(values(played(strategy, range(40))), prepend=0.0)
    assert 0.0 <= steps[0] < 0.006
    assert steps.max() <= 1.5 * 0.01 + 1e-12


def test_blend_asks_in_time_for_the_answer_to_be_there_at_the_planned_seam():
    strategy = Blend(StrategyConfig(execute_ticks=25))
    strategy.start(chunk())
    assert [strategy.wants_chunk(tick, latency_ticks=6) for tick in (0, 18, 19)] == [False, False, True]


def test_blend_asks_at_once_if_the_answer_takes_long():
    strategy = Blend(StrategyConfig())
    strategy.start(chunk())
    assert strategy.wants_chunk(0, latency_ticks=26)


def test_blend_slows_down_when_the_answer_is_late_and_then_ends():
    strategy = Blend(StrategyConfig(coast_ticks=10))
    strategy.start(chunk(state=np.full(14, -0.01)))
    steps = played(strategy, range(61))
    late = steps[50:60]
    assert all(step.holding and step.index == 49 for step in late)
    assert (np.diff(values(late)) < np.diff(values(steps[49:59]))).all()
    assert values(late)[-1] < 0.49 + 2.4 * 0.01
    assert steps[60] is None


def test_blend_takes_a_late_answer_up_while_it_coasts():
    strategy = Blend(StrategyConfig())
    strategy.start(chunk(state=np.full(14, -0.01)))
    before = values(played(strategy, range(54)))
    strategy.take(chunk(ramp(0.2)), observed_tick=30, tick=54)
    after = values(played(strategy, range(54, 80)))
    steps = np.diff(np.concatenate([before, after]))
    assert np.abs(steps).max() <= 0.015 + 1e-12
    np.testing.assert_allclose(after[-1], ramp(0.2)[49, 0], atol=1e-6)


def test_blend_ignores_a_chunk_that_has_passed_altogether():
    strategy = Blend(StrategyConfig())
    strategy.start(chunk(state=np.full(14, -0.01)))
    strategy.take(chunk(ramp(5.0)), observed_tick=-30, tick=20)
    assert strategy.step(20).positions[0] == pytest.approx(0.20)


def test_blend_limits_arms_and_hands_each_by_their_own_steps():
    still = np.zeros((50, 26))
    moving = still.copy()
    moving[:, 14:] = np.linspace(0.0, 1.0, 50)[:, None]
    moved = moving + 0.3
    strategy = Blend(StrategyConfig())
    strategy.start(chunk(moving, state=np.zeros(26)))
    played(strategy, range(20))
    strategy.take(chunk(moved), observed_tick=20, tick=20)
    positions = np.array([step.positions for step in played(strategy, range(20, 60))])
    steps = np.abs(np.diff(positions, axis=0))
    assert steps[:, :14].max() <= 1.5 * 0.002 + 1e-12
    assert steps[:, 14:].max() > 0.01


@pytest.mark.parametrize("mean_ms", [50, 100, 200, 400])
@pytest.mark.parametrize("seed", range(3))
def test_blend_misses_no_tick_at_any_inference_time_of_a_real_server(mean_ms, seed):
    record = run_virtually(
        lambda: Blend(StrategyConfig()), swaying, jittery(mean_ms, seed), ticks=1500, state=np.zeros(14)
    )
    assert record.missing_ticks == 0
    assert record.holds == 0
    assert record.seam_ratio <= 1.5


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    mean_ms=st.floats(20, 400),
    window=st.integers(1, 25),
    execute=st.integers(5, 40),
    dim=st.sampled_from([14, 26]),
)
def test_whatever_smooth_chunks_come_the_stream_is_whole_and_its_steps_are_bounded(seed, mean_ms, window, execute, dim):
    config = StrategyConfig(window_ticks=window, execute_ticks=execute)
    record = run_virtually(lambda: Blend(config), unlike(seed), jittery(mean_ms, seed), ticks=300, state=np.zeros(dim))
    assert record.missing_ticks == 0
    assert record.seam_ratio <= 1.5 + 1e-9


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    horizon=st.integers(1, 60),
    takes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 70), st.integers(1, 60)), max_size=6),
    window=st.integers(0, 30),
    seed=st.integers(0, 1000),
)
def test_no_sequence_of_chunks_makes_a_strategy_stumble(name, horizon, takes, window, seed):
    """Any horizon, any age, any pause: every step is finite and of the newest chunk, or the stream has ended."""
    chance = np.random.default_rng(seed)
    strategy = STRATEGIES[name](StrategyConfig(window_ticks=window))
    strategy.start(chunk(chance.normal(size=(horizon, 14)), state=np.zeros(14)))
    tick = 0
    for pause, age, steps in takes:
        for step in played(strategy, range(tick, tick + pause)):
            assert step is None or np.isfinite(step.positions).all()
            assert step is None or 0 <= step.index < step.chunk.horizon
        tick += pause
        strategy.take(chunk(chance.normal(size=(steps, 14))), tick - age, tick)
        assert isinstance(strategy.wants_chunk(tick, 5), bool)


def test_open_loop_under_the_bridge_pauses_for_no_tick_but_holds_while_it_waits():
    record = run_virtually(lambda: OpenLoop(StrategyConfig()), swaying, lambda: 200 * MS, ticks=300, state=np.zeros(14))
    assert record.missing_ticks == 0
    assert record.held_ticks > 30


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_policy_that_falls_silent_ends_the_stream_and_the_arms_hold(name):
    answers = iter([swaying(np.zeros(14), 0)])
    record = run_virtually(
        lambda: STRATEGIES[name](StrategyConfig()),
        lambda state, now_ns: next(answers, None),
        lambda: 100 * MS,
        ticks=150,
        state=np.zeros(14),
    )
    assert record.actions[49] is not None
    assert record.actions[-1] is None
    assert record.holds == 1
