# SPDX-License-Identifier: Apache-2.0
"""HOME plans around the robot's own body, from wherever the arms are."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from arm_builders import Rig, both_arms, taken

from h1_training_bringup.arm_driver.collision_model import CollisionModel
from h1_training_bringup.arm_driver.home_path import HomePath, Way
from h1_training_bringup.arm_driver.joints import COUNT, LOWER, UPPER
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_node.message_numbers import ArmMode
from h1_training_node.parameter import ParameterError

MODEL = CollisionModel()
MIN_M = 0.03
LOW, HIGH = LOWER + 0.05, UPPER - 0.05
PAIRS = int(os.environ.get("HOME_PAIRS", "150"))
"""Of random poses; the environment may ask for more."""
BEHIND = both_arms((0.9, 0.25, -0.5, 2.3, 0.0, 0.0, 0.0))
"""Elbows bent behind the back."""
AROUND = both_arms((-2.6, 0.35, 0.4, -0.8, 0.0, 0.0, 0.0))
"""Arms raised beside the head."""


def searched(start: np.ndarray, goal: np.ndarray, seed: int = 0) -> Way:
    way = next(way for way in HomePath(MODEL, MIN_M, LOW, HIGH, seed).search(start, goal, 0.0) if way is not None)
    return [start, *way]


def lowest_on(way: Way) -> float:
    """The least distance on straight moves from pose to pose, looked at every 20 mrad."""
    lowest = np.inf
    for begin, end in pairwise(way):
        count = max(2, int(np.abs(end - begin).max() / 0.02))
        lowest = min(lowest, *(MODEL.distances(begin + s * (end - begin), 0.0).min() for s in np.linspace(0, 1, count)))
    return float(lowest)


def clear_pose(rng: np.random.Generator) -> np.ndarray:
    while True:
        pose = rng.uniform(LOW, HIGH)
        if MODEL.distances(pose, 0.0).min() > MIN_M + 0.002:
            return pose


def test_between_random_poses_there_is_a_way_that_keeps_the_distance() -> None:
    rng = np.random.default_rng(8)
    for number in range(PAIRS):
        start, goal = clear_pose(rng), clear_pose(rng)
        way = searched(start, goal)
        assert len(way) > 1 and np.array_equal(way[-1], goal), f"pair {number}: no way"
        assert lowest_on(way) >= MIN_M - 0.003, f"pair {number}"


def test_a_straight_way_is_taken_where_it_is_clear() -> None:
    assert len(searched(both_arms((-1.0, 0.3, 0.0, 0.5, 0.0, 0.0, 0.0)), np.zeros(COUNT))) == 2


def test_home_goes_around_what_is_in_the_way() -> None:
    assert lowest_on([BEHIND, np.zeros(COUNT)]) < 0, "straight, the forearms would pass through the body"
    way = searched(BEHIND, np.zeros(COUNT))
    assert len(way) > 2 and lowest_on(way) >= MIN_M - 0.003


def test_the_arms_go_home_around_the_body_and_arrive() -> None:
    rig = taken()
    rig.enter_policy()
    rig.follow(lambda n: AROUND, 3.0)
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "the policy is silent")
    begin = len(rig.sent)
    assert rig.ask(ArmMode.HOME) == ""
    rig.run_until(lambda: rig.mode is not ArmMode.HOME, "home", limit_s=60.0)
    assert rig.controller.reason == "home_reached", rig.notices
    assert min(MODEL.distances(command.q, 0.0).min() for _, command in rig.sent[begin::10]) >= MIN_M


def test_a_home_that_is_too_near_to_the_body_is_refused_at_the_start_with_the_parts() -> None:
    crossed = both_arms((0.0, 0.0, -1.2, 0.6, 0.0, 0.0, -1.0))
    with pytest.raises(ParameterError, match=r"'home_pose_rad': .*hand.* would be .* m apart there; min_distance_m is"):
        Rig(ArmParameters(home_pose_rad=tuple(crossed)))
    with pytest.raises(ParameterError, match=r"table would be .* m apart"):
        Rig(ArmParameters(table_m=(0.05, 0.2)))


def test_where_no_way_is_found_home_says_so_and_the_arms_go_compliant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h1_training_bringup.arm_driver.stiff._MOST_SEARCH_STEPS", 1)
    rig = Rig(ArmParameters(home_pose_rad=tuple(BEHIND)))
    rig.take()
    assert rig.ask(ArmMode.HOME) == ""
    rig.run_until(lambda: rig.mode is not ArmMode.HOME, "home", limit_s=60.0)
    assert rig.controller.reason == "home_no_way" and rig.mode is ArmMode.DAMPING
    assert rig.notices.count("home_no_way") == 1
