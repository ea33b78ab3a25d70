# SPDX-License-Identifier: Apache-2.0
"""The task is measured at the body: how near the hand is to its place, for how long, and what a watcher would say."""

from __future__ import annotations

import numpy as np
import pytest
from sim_robot_builders import Living, grasp_point

from h1_training_bringup.arm_driver.joints import LEFT_ARM, RIGHT_ARM
from h1_training_bringup.sim.scene import Placing, SceneObject, scene_object
from h1_training_bringup.sim.task import DONE, STRAYS, STUCK, Judgement, ReachTask

MS = 1_000_000


def hands(task: ReachTask, distance_m: float) -> np.ndarray:
    """The nearer hand so far from its place, the other one anywhere."""
    where = np.full((2, 3), 0.3)
    where[task.thing.side] = task.goal + np.array([0.0, 0.0, distance_m])
    return where


def largest_gap_m(things: list[SceneObject]) -> float:
    """How far the place of a side that is farthest from all objects is from the nearest, of both sides the larger."""
    places = np.stack(np.meshgrid(np.linspace(0.42, 0.57, 16), np.linspace(0.17, 0.37, 21)), -1).reshape(-1, 1, 2)
    found = []
    for side in (0, 1):
        there = np.array([(thing.position_m[0], abs(thing.position_m[1])) for thing in things if thing.side == side])
        found.append(np.linalg.norm(places - there, axis=2).min(axis=1).max())
    return float(max(found))


def test_a_person_who_teaches_leaves_no_region_of_the_table_out_for_as_long_as_chance_does() -> None:
    placed, by_chance = [], []
    for seed in range(20):
        placing = Placing(seed)
        placed.append(largest_gap_m([placing.put() for _ in range(16)]))
        by_chance.append(largest_gap_m([scene_object(0, number, seed) for number in range(16)]))
    assert max(placed) < 0.12 < max(by_chance)
    assert np.mean(placed) < 0.85 * np.mean(by_chance)


def test_the_person_puts_it_left_and_right_in_turn_and_elsewhere_for_another_seed_or_first_epoch() -> None:
    placings = [Placing(1), Placing(1), Placing(2), Placing(1, 3)]
    things = [[placing.put() for _ in range(4)] for placing in placings]
    assert things[0] == things[1]
    assert len({thing.position_m for one in things[1:] for thing in one}) == 12
    assert [thing.side for thing in things[0]] in ([0, 1, 0, 1], [1, 0, 1, 0])
    assert all(np.sign(thing.position_m[1]) == (1, -1)[thing.side] for one in things for thing in one)


@pytest.mark.parametrize(
    ("distances_m", "succeeds"),
    [
        ([0.029] * 51, True),
        ([0.029] * 50, False),
        ([0.031] * 200, False),
        ([0.029] * 40 + [0.031] + [0.029] * 40, False),
        ([0.01] * 60 + [0.2] * 60, True),
    ],
)
def test_success_is_three_centimetres_for_half_a_second_without_a_break(distances_m, succeeds) -> None:
    task = ReachTask(scene_object(1, 1, 0))
    seen = [task.measure(tick * 10 * MS, hands(task, distance)) for tick, distance in enumerate(distances_m)]
    assert seen[-1].succeeded == succeeds
    assert seen[0].distance_m == pytest.approx(distances_m[0])


def test_only_the_nearer_hand_counts() -> None:
    task = ReachTask(scene_object(1, 1, 0))
    where = hands(task, 0.2)
    where[1 - task.thing.side] = task.goal
    assert not any(task.measure(tick * 10 * MS, where).succeeded for tick in range(100))


def test_the_bodys_hands_are_where_the_joints_put_them() -> None:
    living = Living()
    living.live(0.01)
    for side, arm in enumerate((LEFT_ARM, RIGHT_ARM)):
        expected = grasp_point(arm, living.q[1 + 7 * side : 8 + 7 * side])
        np.testing.assert_allclose(living.robot.body.hands[side], expected, atol=2e-3)


def test_a_watcher_is_stricter_than_the_test_and_impatient() -> None:
    def verdicts(distances_m: list[float]) -> str:
        judgement = Judgement(0, distances_m[0])
        found = (judgement.look((n + 1) * 20 * MS, distance) for n, distance in enumerate(distances_m))
        return next((verdict for verdict in found if verdict), "")

    assert verdicts([0.1, 0.05, *[0.019] * 40]) == DONE
    assert verdicts([0.1, 0.05, *[0.021] * 40]) == ""
    assert verdicts([0.1, 0.05, *[0.021] * 80]) == STUCK
    assert verdicts([0.1, 0.141]) == STRAYS
