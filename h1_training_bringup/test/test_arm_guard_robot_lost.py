# SPDX-License-Identifier: Apache-2.0
"""The arm guard and a robot that is lost: its own controller may have the arms, and nobody tears them from it."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import S, joint_settings
from arm_guard_scene import Scene


def test_it_says_nothing_while_the_robot_is_silent_too() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.step(2.0)
    assert not scene.guard.has_taken_over
    scene.robot_talks = True
    scene.drive(0.5)
    assert not scene.guard.has_taken_over, "the driver resumed first"


@pytest.mark.parametrize("away_s", [1.06, 4.0])
def test_a_driver_that_fell_silent_because_the_robot_was_lost_is_not_taken_for_dead(away_s: float) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.drive(1.06)
    scene.step(away_s - 1.06)
    scene.robot_talks = True
    scene.step(1.0)
    assert not scene.guard.has_taken_over, "its own controller may have the arms"
    scene.drive(0.1)
    scene.step(0.2)
    assert scene.guard.has_taken_over, "the driver had commanded again"


def test_a_driver_that_outlived_a_lost_robot_without_falling_silent_is_watched_as_ever() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.drive(1.5)
    scene.robot_talks = True
    scene.drive(0.1)
    scene.step(0.2)
    assert scene.guard.has_taken_over


@pytest.mark.parametrize("pause_s", [1.2, 10.0])
def test_a_pause_of_the_guard_itself_is_not_taken_for_a_lost_robot(pause_s: float) -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.now_ns += round(pause_s * S)
    scene.step(0.2)
    assert scene.guard.has_taken_over, "the driver stood still as well, and is silent for good"


def test_it_fades_and_stays_silent_when_the_robot_was_lost_until_a_person_releases_the_arms() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5)
    scene.robot_talks = False
    scene.step(0.2)
    assert scene.guard.release(scene.now_ns).reason.startswith("robot_lost")
    scene.step(2.0)
    assert scene.guard_sent[-1] is None and scene.notices == ["guard_took_over", "robot_lost"]
    scene.robot_talks = True
    begin = len(scene.guard_sent)
    scene.step(3.0)
    assert scene.guard_sent[begin:] == [None] * (len(scene.guard_sent) - begin)
    begin = len(scene.guard_sent)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    first = scene.guard_sent[begin]
    assert first is not None and first.weight == 1.0 and (first.kd > 3 * joint_settings().kd_damping).all()
    assert np.abs(first.tau).max() > 1.0
    assert first.waist_q == 0.0, "where the waist is now, not where it was once commanded"
    weights = [command.weight for command in scene.guard_sent[begin:] if command is not None]
    assert weights[740] == 1.0 and weights[-1] == 0.0 and scene.notices[-1] == "release_warning"


def test_a_robot_that_is_lost_while_the_guard_releases_it_needs_a_person_again() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.step(0.5)
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(4.0)
    scene.lose_robot(2.0)
    scene.step(2.0)
    assert scene.guard_sent[-1] is None and "release_stopped" in scene.notices
    assert scene.guard.release(scene.now_ns).accepted
    scene.step(7.0)
    assert [command.weight for command in scene.guard_sent if command is not None][-1] == 0.0


def test_at_the_end_of_the_graph_it_sees_through_a_driver_that_was_silent_for_a_lost_robot() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.lose_robot(2.0)
    scene.step(1.0)
    scene.guard.end(scene.now_ns)
    scene.step(0.3)
    assert not scene.guard.has_ended
    scene.drive(4.0, weight=0.5)
    assert not scene.guard.has_ended
    scene.step(0.2)
    assert scene.guard.has_taken_over, "the driver died on its way"


def test_a_robot_that_is_gone_does_not_keep_it_from_ending() -> None:
    scene = Scene()
    scene.drive(0.5)
    scene.robot_talks = False
    scene.guard.end(scene.now_ns)
    scene.step(4.0)
    assert scene.guard.has_ended
