# SPDX-License-Identifier: Apache-2.0
"""The arm guard's core: it takes over when the driver has fallen silent, only then, and for good."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MS, S
from arm_guard_scene import Scene


def test_it_says_nothing_while_the_driver_lives() -> None:
    scene = Scene()
    scene.drive(2.0)
    assert not scene.guard.has_taken_over and scene.guard_sent == []


def test_it_says_nothing_before_the_driver_ever_commanded() -> None:
    scene = Scene()
    scene.step(2.0)
    assert not scene.guard.has_taken_over


def test_it_says_nothing_after_a_driver_that_had_released_the_arms() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.drive(0.1, weight=0.0)
    scene.step(2.0)
    assert not scene.guard.has_taken_over


def test_after_100_ms_of_silence_it_damps_with_the_weight_and_the_waist_as_they_were() -> None:
    scene = Scene()
    scene.drive(0.5, weight=0.7)
    silent_since_ns = scene.now_ns - 20 * MS
    while not scene.guard.has_taken_over:
        scene.step(0.02)
    assert 100 * MS <= scene.now_ns - silent_since_ns <= 140 * MS
    scene.step(0.1)
    command = scene.guard_sent[-1]
    assert command is not None
    assert command.weight == pytest.approx(0.7) and command.waist_q == pytest.approx(0.3)
    assert not command.kp.any() and (command.kd > 0).all() and command.mode_machine == 6
    np.testing.assert_allclose(command.tau[[0, 3]], [-3.1, -3.0], atol=0.1)
    assert scene.notices == ["guard_took_over"]


def test_once_it_has_taken_over_it_stays_though_the_driver_comes_back() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.2)
    scene.drive(1.0)
    assert scene.guard.has_taken_over and scene.guard_sent[-1] is not None
    assert scene.guard_sent[-1].weight == 1.0


def test_a_pause_of_the_guard_itself_is_not_taken_for_silence() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.now_ns += 500 * MS  # not scheduled; meanwhile commands queued up
    scene.guard.check(scene.now_ns)
    assert not scene.guard.has_taken_over
    scene.drive(0.5)
    assert not scene.guard.has_taken_over


def test_a_driver_that_asks_after_a_pause_has_shown_that_it_lives() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.08)
    assert scene.guard.is_asked()
    scene.step(0.08)
    assert not scene.guard.has_taken_over
    scene.step(0.06)
    assert scene.guard.has_taken_over and not scene.guard.is_asked()


def test_periods_in_which_the_robot_was_not_heard_count_for_nothing() -> None:
    scene = Scene()
    scene.drive(0.5)
    for _ in range(4):
        scene.step(0.02)
        scene.lose_robot(0.04)
    assert not scene.guard.has_taken_over
    scene.step(0.04)
    assert scene.guard.has_taken_over


def test_a_command_that_no_driver_sends_is_no_sign_of_life() -> None:
    scene = Scene()
    scene.drive(0.5)
    for _ in range(8):
        scene.guard.observe(scene.command(float("nan")))
        scene.step(0.02)
    assert scene.guard.has_taken_over and scene.guard_sent[-1] is not None and scene.guard_sent[-1].weight == 1.0


def test_a_guard_that_gets_little_time_is_not_much_slower() -> None:
    scene = Scene()
    scene.drive(0.5)
    begin_ns = scene.now_ns
    while not scene.guard.has_taken_over:
        scene.now_ns += 100 * MS
        scene.step(0.02)
    assert scene.now_ns - begin_ns <= 400 * MS


def test_a_person_releases_the_arms_with_warning_and_ramp() -> None:
    scene = Scene()
    assert scene.guard.release(scene.now_ns).reason.startswith("not_taken_over")
    scene.drive(0.5)
    scene.step(0.5)
    begin = len(scene.guard_sent)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    assert not scene.guard.release(scene.now_ns).accepted
    weights = [command.weight for command in scene.guard_sent[begin:] if command is not None]
    assert weights[740] == 1.0 and weights[-1] == 0.0 and scene.guard_sent[-1] is None
    assert np.abs(np.diff(weights)).max() <= 1 / 750 + 1e-9
    assert scene.notices == ["guard_took_over", "release_warning"]
    assert not scene.guard.has_ended, "it stays until the graph ends"


def test_at_the_end_of_the_graph_it_outlives_the_drivers_own_ending() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.guard.end(scene.now_ns)
    scene.drive(4.0, weight=0.5)
    assert not scene.guard.has_ended
    scene.drive(0.04, weight=0.0)
    assert scene.guard.has_ended and not scene.guard.has_taken_over


def test_at_the_end_of_the_graph_it_ends_at_once_if_nobody_had_the_arms() -> None:
    scene = Scene()
    scene.step(0.5)
    scene.guard.end(scene.now_ns)
    scene.step(0.02)
    assert scene.guard.has_ended


@pytest.mark.parametrize("has_taken_over_before", [True, False])
def test_at_the_end_of_the_graph_it_releases_what_a_dead_driver_left(has_taken_over_before: bool) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5 if has_taken_over_before else 0.02)
    scene.guard.end(scene.now_ns)
    scene.step(0.2)
    begin_ns = scene.now_ns
    while not scene.guard.has_ended:
        scene.step(0.02)
        assert scene.now_ns - begin_ns < 8 * S
    assert [command.weight for command in scene.guard_sent if command is not None][-1] == 0.0


def test_a_share_of_the_arms_is_released_as_slowly_as_all_of_them() -> None:
    scene = Scene()
    scene.drive(0.5, weight=0.2)
    scene.step(0.5)
    begin = len(scene.guard_sent)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    weights = [command.weight for command in scene.guard_sent[begin:] if command is not None]
    falling = [weight for weight in weights if 0.0 < weight < weights[0]]
    assert 745 <= len(falling) <= 751 and weights[-1] == 0.0
