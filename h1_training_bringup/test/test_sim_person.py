# SPDX-License-Identifier: Apache-2.0
"""The virtual person: pulls only when the arms may be guided, never harder than the bound, and comes to an end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_robot_builders import MS, Living, command

from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.sim.person import Person, SessionView, plan
from h1_training_bringup.sim.scene import scene_object
from h1_training_bringup.sim.task import OPERATOR_M, SUCCESS_M, ReachTask

FORCE_N = 30.0
HANDS = np.array([[0.37, 0.2, 0.08], [0.37, -0.2, 0.08]])


def task(episode: int = 1, seed: int = 0) -> ReachTask:
    return ReachTask(scene_object(1, episode, seed))


def session(state: str = "DAMPING", *, episode: int = 1, seen_ns: int = 0) -> SessionView:
    return SessionView(state, 1, episode, f"epoch1/episode_{episode}", seen_ns)


@pytest.mark.parametrize(
    "state", ["STARTING", "WAITING", "READY", "EXECUTING", "LABELING", "SAVING", "DECIDING", "SYNCING", "STOPPED"]
)
def test_does_nothing_in_any_state_but_damping(state: str) -> None:
    person = Person(0, FORCE_N)
    for tick in range(1000):
        now = tick * 2 * MS
        assert not person.forces(now, HANDS, task(), session(state, seen_ns=now), True).any()
    assert person.done_with is None


def test_does_nothing_while_the_arms_are_stiff_or_no_session_publishes() -> None:
    person = Person(0, FORCE_N)
    for tick in range(1000):
        now = tick * 2 * MS
        assert not person.forces(now, HANDS, task(), session(seen_ns=now), False).any()
        assert not person.forces(now, HANDS, task(), None, True).any()


def test_lets_go_at_once_when_damping_ends_or_the_session_falls_silent() -> None:
    person = Person(0, FORCE_N)
    for tick in range(1000):
        person.forces(tick * 2 * MS, HANDS, task(), session(seen_ns=tick * 2 * MS), True)
    assert person.forces(2001 * MS, HANDS, task(), session(seen_ns=2000 * MS), True).any()
    assert not person.forces(2002 * MS, HANDS, task(), session("EXECUTING", seen_ns=2002 * MS), True).any()
    person.forces(2003 * MS, HANDS, task(), session(seen_ns=2003 * MS), True)
    assert not person.forces(3500 * MS, HANDS, task(), session(seen_ns=2003 * MS), True).any()


@settings(max_examples=60, deadline=None)
@given(
    hands=st.lists(st.floats(-5, 5), min_size=6, max_size=6),
    episode=st.integers(0, 50),
    steps=st.lists(st.integers(1, 400), min_size=5, max_size=40),
)
def test_no_force_ever_exceeds_the_bound(hands: list[float], episode: int, steps: list[int]) -> None:
    person, now = Person(0, FORCE_N), 0
    for index, step in enumerate(steps):
        now += step * MS
        where = HANDS if index % 2 else np.reshape(hands, (2, 3))
        forces = person.forces(now, where, task(), session(episode=episode, seen_ns=now), True)
        assert (np.linalg.norm(forces, axis=1) <= FORCE_N + 1e-9).all()


def test_takes_hold_gently() -> None:
    person = Person(0, FORCE_N)
    far = HANDS.copy()
    person.forces(0, HANDS, task(), session(), True)
    for tick in range(1, 50):
        now = tick * 2 * MS
        far[0, 0] -= 0.1
        size = np.linalg.norm(person.forces(now, far, task(), session(seen_ns=now), True), axis=1).max()
        assert size <= FORCE_N * now / 0.4e9 + 1e-9


def demonstrated(epoch: int, episode: int, attempt: int = 0):
    thing = scene_object(epoch, episode, 0)
    return plan(HANDS, ReachTask(thing).goal, thing.side, np.random.default_rng([epoch + 1, episode, attempt]))


@settings(max_examples=60)
@given(epoch=st.integers(-1, 100), episode=st.integers(0, 100))
def test_a_demonstration_is_small_smooth_and_leads_to_the_object(epoch: int, episode: int) -> None:
    demonstration = demonstrated(epoch, episode)
    np.testing.assert_allclose(demonstration.at(0.0), HANDS)
    np.testing.assert_allclose(demonstration.at(100.0), demonstration.goal, atol=1e-12)
    way = np.array([demonstration.at(t) for t in np.arange(0, 4, 0.01)])
    assert np.linalg.norm(way - HANDS, axis=2).max() < 0.3
    assert np.linalg.norm(np.diff(way, axis=0), axis=2).max() / 0.01 < 0.35
    goal = ReachTask(scene_object(epoch, episode, 0))
    assert np.linalg.norm(demonstration.goal[goal.thing.side] - goal.goal) < 0.01


def guided(
    living: Living, person: Person, seconds: float, todo: ReachTask | None = None, state: str = "DAMPING"
) -> float:
    """Let the person guide gravity-compensated arms; returns the largest force."""
    nominal, largest, todo = GravityModel(), 0.0, todo or task()
    for _ in range(round(seconds * 500)):
        q = living.q
        living.take(command(kd=3.0, tau=np.concatenate([[0.0], nominal.gravity_torque(q[1:], q[0])])))
        view = session(state, seen_ns=living.now_ns)
        forces = person.forces(living.now_ns, living.robot.body.hands, todo, view, living.robot.inbox.is_compliant)
        largest = max(largest, float(np.linalg.norm(forces, axis=1).max()))
        living.live(0.002, person_n=forces)
    return largest


@pytest.mark.parametrize("seed", range(4))
def test_guides_a_real_arm_to_the_objects_place_within_the_force_and_says_when_it_is_done(seed: int) -> None:
    living, person, todo = Living(seed=seed), Person(seed, FORCE_N), task(seed=seed)
    largest = guided(living, person, 3.6, todo)
    measured = todo.measure(living.now_ns, living.robot.body.hands)
    assert person.done_with == "epoch1/episode_1"
    assert measured.distance_m < SUCCESS_M
    assert 1.0 < largest <= FORCE_N
    assert np.abs(living.dq).max() < 0.3


def test_where_the_hand_is_at_its_place_there_is_nothing_to_guide() -> None:
    person, todo = Person(0, FORCE_N), task()
    there = HANDS.copy()
    there[todo.thing.side] = todo.goal + np.array([0.0, 0.9 * OPERATOR_M, 0.0])
    for tick in range(100):
        now = tick * 2 * MS
        assert not person.forces(now, there, todo, session(seen_ns=now), True).any()
    assert person.done_with == "epoch1/episode_1"


def test_a_second_demonstration_of_the_episode_begins_again_and_is_another_one() -> None:
    ways = []
    person = Person(0, FORCE_N)
    for _ in range(2):
        living = Living()
        guided(living, person, 0.1, state="EXECUTING")
        assert person.done_with is None
        guided(living, person, 1.5)
        ways.append(living.q)
    assert person.done_with is None
    assert np.abs(ways[0] - ways[1]).max() > 1e-3
