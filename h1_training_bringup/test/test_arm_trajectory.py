# SPDX-License-Identifier: Apache-2.0
"""The commanded trajectory: within speed and acceleration, smooth, and never beyond what was asked for."""

from __future__ import annotations

import numpy as np
from arm_builders import joint_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.arm_driver.joints import COUNT, VELOCITY
from h1_training_bringup.arm_driver.trajectory import (
    PERIOD_S,
    WINDOW,
    Interpolator,
    MinimumJerk,
    Tracker,
    stopping_speed,
)

JOINTS = joint_settings()
SPEED, ACCELERATION = JOINTS.speed, JOINTS.acceleration
TARGETS = st.lists(st.tuples(st.floats(-3, 3), st.integers(1, 40)), min_size=1, max_size=12)


def pursue(targets: list[tuple[float, int]], start: float = 0.0) -> np.ndarray:
    """Positions of all periods, (n, 14), for targets that stand for so many periods each, plus the way to rest."""
    tracker = Tracker(SPEED, ACCELERATION)
    tracker.restart(np.full(COUNT, start))
    interpolator = Interpolator(tracker.q)
    rows = [tracker.q]
    for target, periods in [*targets, (targets[-1][0], 1500)]:
        interpolator.aim(np.full(COUNT, target))
        for _ in range(periods):
            tracker.follow(interpolator.step())
            rows.append(tracker.q)
    return np.array(rows)


@settings(max_examples=25, deadline=None)
@given(TARGETS)
def test_no_joint_is_ever_commanded_beyond_its_targets(targets: list[tuple[float, int]]) -> None:
    rows = pursue(targets)
    values = [0.0, *(target for target, _ in targets)]
    assert rows.min() >= min(values) - 1e-9
    assert rows.max() <= max(values) + 1e-9


@settings(max_examples=25, deadline=None)
@given(TARGETS)
def test_speed_acceleration_and_jerk_are_bounded_for_any_targets(targets: list[tuple[float, int]]) -> None:
    rows = np.vstack([np.zeros((3, COUNT)), pursue(targets)])
    speed = np.diff(rows, axis=0) / PERIOD_S
    acceleration = np.diff(speed, axis=0) / PERIOD_S
    jerk = np.diff(acceleration, axis=0) / PERIOD_S
    assert (np.abs(speed) <= SPEED * (1 + 1e-6)).all()
    assert (np.abs(acceleration) <= ACCELERATION * (1 + 1e-6)).all()
    assert (np.abs(jerk) <= 2 * ACCELERATION / (WINDOW * PERIOD_S) * (1 + 1e-6)).all()


@settings(max_examples=25, deadline=None)
@given(TARGETS)
def test_the_last_target_is_reached_and_kept(targets: list[tuple[float, int]]) -> None:
    np.testing.assert_allclose(pursue(targets)[-1], targets[-1][0], atol=1e-6)


def test_a_smooth_stream_of_actions_is_followed_within_60_ms() -> None:
    def wave(seconds: np.ndarray) -> np.ndarray:
        return 0.4 * np.sin(2 * np.pi * 0.4 * seconds)

    rows = pursue([(float(wave(np.array(n / 50))), 5) for n in range(200)])[:1000, 0]
    seconds = np.arange(1000) * PERIOD_S
    best = min(np.abs(rows[100:] - wave(seconds[100:] - delay)).max() for delay in np.arange(0.02, 0.06, 0.002))
    assert best < 0.02


def test_braking_counted_in_periods_ends_exactly_at_the_distance() -> None:
    distance = np.linspace(0.0, 0.5, COUNT)
    speed = stopping_speed(distance, ACCELERATION)
    travelled = np.zeros(COUNT)
    while speed.any():
        travelled += speed * PERIOD_S
        speed = np.maximum(speed - ACCELERATION * PERIOD_S, 0.0)
    np.testing.assert_allclose(travelled, distance, atol=1e-12)


def test_it_begins_with_the_speed_that_the_arm_has() -> None:
    tracker = Tracker(SPEED, ACCELERATION)
    tracker.restart(np.full(COUNT, 0.2), np.full(COUNT, 0.8))
    start = tracker.q.copy()
    tracker.brake()
    np.testing.assert_allclose(start, 0.2)
    np.testing.assert_allclose(tracker.dq, 0.8, atol=ACCELERATION.max() * PERIOD_S)


def test_the_stopping_point_is_where_braking_ends() -> None:
    tracker = Tracker(SPEED, ACCELERATION)
    tracker.restart(np.zeros(COUNT), np.linspace(-1.5, 1.5, COUNT))
    point = tracker.stopping_point
    while not tracker.at_rest:
        tracker.brake()
    np.testing.assert_allclose(tracker.q, point, atol=1e-9)


def test_a_bound_stops_a_joint_there_and_leaves_the_others_alone() -> None:
    tracker = Tracker(SPEED, ACCELERATION)
    tracker.restart(np.zeros(COUNT), np.full(COUNT, 1.0))
    high = np.full(COUNT, 9.0)
    high[3] = -0.01
    tracker.brake()
    assert tracker.bound(np.full(COUNT, -9.0), high)
    assert tracker.q[3] == -0.01 and tracker.dq[3] == 0.0
    assert (np.delete(tracker.dq, 3) > 0.8).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=COUNT, max_size=COUNT), st.floats(0.1, 1.0))
def test_a_minimum_jerk_move_keeps_its_speed_and_ends_at_rest_at_its_goal(goal: list[float], speed: float) -> None:
    move = MinimumJerk(np.zeros(COUNT), np.array(goal), speed, ACCELERATION)
    rows = [np.zeros(COUNT)]
    while not move.done:
        rows.append(move.step())
    steps = np.abs(np.diff(np.array(rows), axis=0)) / PERIOD_S
    assert steps.max() <= speed * 1.001
    np.testing.assert_allclose(rows[-1], goal, atol=1e-9)
    assert steps[-1].max() < 0.05


def test_a_bound_far_away_pulls_no_faster_than_the_motor_could_turn() -> None:
    tracker = Tracker(SPEED, ACCELERATION)
    tracker.restart(np.zeros(COUNT))
    assert tracker.bound(np.full(COUNT, 1.0), np.full(COUNT, 2.0))
    np.testing.assert_allclose(tracker.q, VELOCITY * PERIOD_S)
    while tracker.bound(np.full(COUNT, 1.0), np.full(COUNT, 2.0)):
        pass
    np.testing.assert_allclose(tracker.q, 1.0)
