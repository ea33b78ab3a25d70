# SPDX-License-Identifier: Apache-2.0
"""The robot's own body: whatever the policy sends, no commanded pose comes nearer to it than the distance."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from arm_builders import Rig, both_arms, joint_settings, outward, taken, taken_in
from hypothesis import given, settings
from hypothesis import strategies as st

from h1_training_bringup.arm_driver.clearance import Clearance, nearest
from h1_training_bringup.arm_driver.collision_model import SEEN_M, CollisionModel, Hand, Table
from h1_training_bringup.arm_driver.joints import COUNT, LOWER, UPPER
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.arm_driver.stiff import StiffArms
from h1_training_bringup.arm_driver.trajectory import Tracker
from h1_training_node.message_numbers import ArmMode
from h1_training_node.parameter import ParameterError, from_values

MODEL = CollisionModel()
MIN_M, SLOW_M = 0.03, 0.08
SPEED, ACCELERATION = (
    np.array([1.5, 1.5, 1.5, 1.5, 2.5, 2.5, 2.5] * 2),
    np.array([15.0] * 4 + [25.0] * 3 + [15.0] * 4 + [25.0] * 3),
)
CHEST = both_arms((0.0, 0.0, -1.2, 0.6, 0.0, 0.0, -1.0))
"""Forearms turned in: the hands would be in the chest, and in each other."""


def test_distances_are_those_of_mujocos_own_geometry_query() -> None:
    rng = np.random.default_rng(0)
    model, data = MODEL._model, MODEL._data
    scratch = np.zeros(6)
    for _ in range(40):
        found = MODEL.distances(rng.uniform(LOWER, UPPER), 0.0)
        expected = np.full(len(MODEL.pairs), SEEN_M)
        for first, second in zip(model.pair_geom1, model.pair_geom2, strict=True):
            pair = MODEL._pair_of[first, second]
            distance = mujoco.mj_geomDistance(model, data, int(first), int(second), SEEN_M, scratch)
            expected[pair] = min(expected[pair], distance)
        outside = expected > 0  # of what overlaps both say so, with a depth of their own
        np.testing.assert_allclose(found[outside], expected[outside], atol=1e-4)
        assert (found[~outside] <= 0).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_distance_changes_faster_than_its_levers_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = _BOXED if seed % 2 else MODEL
    q, change = rng.uniform(LOWER, UPPER), rng.normal(0, 0.05, COUNT) * (rng.random(COUNT) < 0.5)
    before, after = model.distances(q, 0.0), model.distances(q + change, 0.0)
    assert (np.abs(after - before) <= model.levers @ np.abs(change) + 1e-6).all()


_BOXED = CollisionModel(Hand(), Table(-0.35), {"left": (-0.3, -0.6, -0.5, 0.9, 0.9, 1.0)})


@pytest.mark.parametrize(
    ("pose", "parts"),
    [
        (CHEST, {"left hand, right hand", "left hand, chest"}),
        (
            both_arms((-2.4, 0.1, 0.0, -0.9, 0.0, 0.0, 0.0)),
            {"left forearm, head", "left upper arm, head", "right forearm, head", "left hand, head"},
        ),
    ],
)
def test_what_a_person_would_call_a_collision_is_one_and_named(pose: np.ndarray, parts: set[str]) -> None:
    distance, found = nearest(MODEL, pose, 0.0)
    assert distance < MIN_M and found in parts


@pytest.mark.parametrize("pose", [np.zeros(COUNT), outward(0.5), both_arms((-1.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0))])
def test_poses_in_which_people_work_are_clear(pose: np.ndarray) -> None:
    assert nearest(MODEL, pose, 0.0)[0] > MIN_M


def lowest_while(tracker: Tracker, clearance: Clearance, model: CollisionModel, references: list[np.ndarray]) -> float:
    """The least distance of all poses that go out, relative to what the floor allows."""
    lowest = np.inf
    for number, reference in enumerate(references):
        if number % 5 == 0:
            clearance.slow_down(tracker.position, tracker.stopping_point, reference, 0.0)
        tracker.follow(reference, clearance.scale, clearance.may_go)
        lowest = min(lowest, float(model.distances(tracker.q, 0.0).min()))
    return lowest


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans())
def test_for_any_stream_of_targets_no_commanded_pose_comes_nearer_than_the_distance(
    seed: int, hold_periods: int, jumps: bool
) -> None:
    rng = np.random.default_rng(seed)
    model = _BOXED if seed % 3 == 0 else MODEL
    start = outward(0.3)
    assert model.distances(start, 0.0).min() > MIN_M
    tracker, clearance = Tracker(SPEED, ACCELERATION), Clearance(model, MIN_M, SLOW_M)
    tracker.restart(start)
    clearance.start(start, 0.0)
    target, references = start, []
    for _ in range(40):
        target = rng.uniform(LOWER, UPPER) if jumps else np.clip(target + rng.normal(0, 0.3, COUNT), LOWER, UPPER)
        references += [target] * hold_periods
    assert lowest_while(tracker, clearance, model, references[:1200]) >= MIN_M


def test_a_policy_that_insists_on_its_own_body_is_slowed_and_held_with_a_reason() -> None:
    rig = taken()
    rig.enter_policy()
    begin = len(rig.sent)
    for n in range(400):
        if rig.mode is not ArmMode.POLICY:
            break
        rig.act(CHEST)
        rig.run(0.02)
        del n
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "collision_ahead"
    assert rig.notices.count("collision_ahead") == 1
    distances = [MODEL.distances(command.q, 0.0).min() for _, command in rig.sent[begin::5]]
    assert min(distances) >= MIN_M
    rig.run(0.1)
    assert rig.ask(ArmMode.POLICY) == "", "it is no fault: the policy may try again"


def test_a_policy_that_goes_away_from_the_body_is_not_slowed() -> None:
    rig = taken()
    rig.enter_policy()
    begin = len(rig.sent)
    rig.follow(lambda n: outward(0.6), 1.0)
    speeds = np.array([np.abs(command.dq) / rig.joints.speed for _, command in rig.sent[begin:]])
    assert speeds.max() > 0.95


def test_arms_that_are_jostled_at_the_distance_gain_nothing_by_it() -> None:
    tracker, clearance = Tracker(SPEED, ACCELERATION), Clearance(MODEL, MIN_M, SLOW_M)
    start = outward(0.3)
    tracker.restart(start)
    clearance.start(start, 0.0)
    for number in range(1500):
        if number % 5 == 0:
            waist_q = 0.015 * (number // 5 % 2)  # a waist that sways, or a person who pushes the command about
            clearance.slow_down(tracker.position, tracker.stopping_point, CHEST, waist_q)
        if number % 50 == 0:
            clearance.resume(tracker.position, waist_q)
        tracker.follow(CHEST, clearance.scale, clearance.may_go)
    assert MODEL.distances(tracker.q, 0.0).min() == pytest.approx(MIN_M, abs=0.012), "it was driven there"
    assert MODEL.distances(tracker.q, 0.0).min() >= MIN_M


def test_arms_that_a_person_left_too_near_may_part_but_not_approach() -> None:
    start = both_arms((0.0, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0))
    near = MODEL.distances(start, 0.0)
    assert near.min() < MIN_M
    for target, parts in (
        (both_arms((0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0)), True),
        (both_arms((0.0, -0.33, 0.0, 0.0, 0.0, 0.0, 0.0)), False),
    ):
        tracker, clearance = Tracker(SPEED, ACCELERATION), Clearance(MODEL, MIN_M, SLOW_M)
        tracker.restart(start)
        clearance.start(start, 0.0)
        lowest = lowest_while(tracker, clearance, MODEL, [target] * 500)
        assert lowest >= near.min() - 0.005
        assert bool(np.abs(tracker.q - target).max() < 0.01) is parts


def test_a_person_in_damping_may_do_what_he_wants() -> None:
    rig = taken_in(ArmMode.DAMPING)
    rig.person = np.array([[0.0, -30.0, 0.0], [0.0, 30.0, 0.0]])
    rig.run(3.0)
    assert rig.mode is ArmMode.DAMPING and rig.notices == []
    rig.person = None
    rig.run(0.5)
    assert rig.ask(ArmMode.HOLD) == ""


def test_a_hand_keeps_to_its_workspace() -> None:
    box = (0.1, 0.0, -0.2, 0.45, 0.6, 0.6)
    within = both_arms((-0.2, 0.7, 0.0, -0.8, 0.0, 0.0, 0.0))
    with pytest.raises(ParameterError, match="'home_pose_rad': left hand, workspace ahead would be"):
        Rig(ArmParameters(workspace_left_m=box))
    rig = Rig(ArmParameters(workspace_left_m=box, home_pose_rad=tuple(within)))
    rig.take()
    rig.enter_policy()
    begin = len(rig.sent)
    for _ in range(150):
        if rig.mode is ArmMode.POLICY:
            rig.act(both_arms((-1.2, 0.1, 0.0, 0.2, 0.0, 0.0, 0.0)))
        rig.run(0.02)
    faces = rig.controller.stiff.collisions
    start = faces.distances(rig.sent[begin][1].q, 0.0)
    lowest = np.min([faces.distances(command.q, 0.0) for _, command in rig.sent[begin::10]], axis=0)
    assert (lowest >= np.minimum(MIN_M, start - 0.005)).all()
    assert rig.controller.reason == "collision_ahead"


def test_a_table_is_no_place_for_a_hand() -> None:
    table = CollisionModel(Hand(), Table(0.0, 0.2))
    reached = both_arms((-0.3, 0.1, 0.0, 0.6, 0.0, 0.0, 0.0))
    assert nearest(table, reached, 0.0)[1].endswith("table") and nearest(table, reached, 0.0)[0] < MIN_M
    assert nearest(MODEL, reached, 0.0)[0] > MIN_M


def test_what_the_levers_vouch_for_is_never_slower_nor_faster_than_what_the_distances_say() -> None:
    model, exact = CollisionModel(), CollisionModel()
    exact.levers = np.full_like(exact.levers, 1e6)  # vouch for nothing
    random = np.random.default_rng(5)
    scales = []
    for _ in range(60):
        pose = np.clip(random.normal(0.0, 0.35, COUNT), LOWER, UPPER)
        pair = [Clearance(each, MIN_M, SLOW_M) for each in (model, exact)]
        for clearance in pair:
            clearance.start(pose, 0.0)
        for _ in range(20):
            pose = pose + random.normal(0.0, 0.01, COUNT)
            stop, goal = pose + random.normal(0.0, 0.01, COUNT), pose + random.normal(0.0, 0.05, COUNT)
            mine, sure = (clearance.slow_down(pose, stop, goal, 0.0) for clearance in pair)
            assert mine == pytest.approx(sure, abs=1e-9)
            scales.append(mine)
    assert min(scales) < 0.5 and scales.count(1.0) > 100, "slowed down here, and not there"


@pytest.mark.parametrize("name", ["hand_length_m", "hand_radius_m", "min_distance_m", "slow_distance_m"])
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_size_that_a_parameter_allows_is_a_model_or_is_refused_by_name(name: str, end: str) -> None:
    metadata = ArmParameters.__dataclass_fields__[name].metadata
    try:
        parameters = from_values(ArmParameters, {name: metadata[end]})
        StiffArms(joint_settings(), parameters)
    except ParameterError as error:
        assert "_m" in str(error)
