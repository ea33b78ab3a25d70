# SPDX-License-Identifier: Apache-2.0
"""The arms are taken from the robot's own controller: when they may be, by which ramp, and what aborts it."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import Rig, S, taken

from h1_training_node.message_numbers import ArmMode


def test_nothing_is_sent_before_the_arms_are_asked_for() -> None:
    rig = Rig()
    rig.run(1.0)
    assert rig.sent == [] and rig.mode is ArmMode.RELEASED and rig.controller.reason == "not_acquired"


def test_arms_cannot_be_acquired_before_the_session_was_ever_seen() -> None:
    rig = Rig()
    rig.heartbeat = False
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD).startswith("session_lost: no session/state seen yet")
    assert rig.mode is ArmMode.RELEASED


def test_a_repeated_session_message_shows_no_life() -> None:
    rig = Rig()
    rig.heartbeat = False
    for _ in range(100):
        rig.controller.conditions.heartbeat.receive(rig.now_ns, 7)
        rig.tick()
    assert rig.ask(ArmMode.HOLD).startswith("session_lost")


def test_arms_cannot_be_asked_for_before_the_robot_was_heard() -> None:
    rig = Rig()
    rig.robot.inject("stop_state")
    rig.run(0.5)
    assert rig.ask(ArmMode.HOLD).startswith("no_robot_state")


def test_arms_are_acquired_after_half_a_second_of_good_state_with_a_ramp_of_two_seconds() -> None:
    rig = Rig()
    rig.run(0.2)
    assert rig.ask(ArmMode.HOLD) == ""
    asked_ns = rig.now_ns
    assert rig.mode is ArmMode.HOLD and rig.controller.transition
    rig.run_until(lambda: not rig.controller.transition, "taken")
    first_ns, last_ns = rig.sent[0][0], rig.sent[-1][0]
    assert 0.29 * S <= first_ns - asked_ns <= 0.32 * S
    assert last_ns - first_ns == pytest.approx(2.0 * S, abs=0.01 * S)
    weights = np.array([command.weight for _, command in rig.sent])
    assert weights[0] == pytest.approx(0.002) and weights[-1] == 1.0
    np.testing.assert_allclose(np.diff(weights), 0.002, atol=1e-9)


def test_while_the_weight_rises_the_arms_are_held_where_they_were_with_gravity_carried() -> None:
    rig = Rig()
    rig.run(0.6)
    before = rig.q
    rig.ask(ArmMode.HOLD)
    rig.run_until(lambda: not rig.controller.transition, "taken")
    for _, command in rig.sent:
        np.testing.assert_allclose(command.q, before, atol=2e-3)
        assert not command.dq.any()
    assert np.abs(rig.q - before).max() < 0.02
    assert np.abs(rig.sent[-1][1].tau).max() > 1.0


def test_acquiring_is_aborted_when_a_joint_moves_and_the_weight_goes_back() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    rig.person = np.array([[80.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rig.run_until(lambda: "moved_while_acquiring" in rig.notices, "aborted")
    assert rig.mode is ArmMode.DAMPING and rig.controller.transition
    assert rig.notices[-1] == "release_warning", "releasing is motion: people are warned first"
    weight, begin = rig.controller.handover.weight, len(rig.sent)
    assert 0.0 < weight < 1.0
    rig.run(2.9)
    assert {command.weight for _, command in rig.sent[begin:]} == {weight}
    assert not any(command.kp.any() for _, command in rig.sent[begin:]), "compliant while somebody is at the arms"
    rig.person = None
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    assert rig.controller.reason == "moved_while_acquiring"
    falling = np.array([command.weight for _, command in rig.sent[begin:]])
    assert np.abs(np.diff(falling)).max() <= 1 / 750 + 1e-9 and falling[-1] == 0.0


def test_acquiring_is_given_up_when_the_state_does_not_become_good() -> None:
    rig = Rig()
    rig.run(1.0)
    for n in range(12):
        rig.robot.inject("stop_state")
        rig.run(0.06)
        rig.robot.inject("clear")
        rig.run(0.3)
        assert n > 0 or rig.ask(ArmMode.HOLD) == ""
    assert rig.mode is ArmMode.RELEASED
    assert rig.controller.reason == "no_good_state" and rig.sent == []


def test_arms_are_not_acquired_without_the_guard() -> None:
    rig = Rig()
    rig.guard_lives = False
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "given up")
    assert rig.controller.reason == "no_guard" and rig.sent == []
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    rig.guard_lives = True
    rig.run_until(lambda: rig.controller.handover.weight > 0.1, "it was there in time")


def test_arms_are_not_acquired_at_the_low_rate_of_the_robots_other_state_topic() -> None:
    rig = Rig()
    rig.robot.inject("slow_state 10")
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "given up")
    assert rig.controller.reason == "state_slow" and rig.sent == []
    assert rig.notices == ["state_slow"]


def test_nothing_but_damping_is_granted_while_the_arms_are_being_acquired() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    assert rig.ask(ArmMode.HOME).startswith("acquiring")
    assert rig.ask(ArmMode.DAMPING) == ""
    weight = rig.controller.handover.weight
    rig.run(0.5)
    assert rig.mode is ArmMode.DAMPING and rig.controller.handover.weight == weight < 1


def test_holding_again_after_a_damped_acquisition_goes_on_with_the_ramp() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    rig.ask(ArmMode.DAMPING)
    rig.run(0.5)
    assert rig.ask(ArmMode.HOLD) == "" and rig.controller.transition
    rig.run_until(lambda: not rig.controller.transition, "taken")
    assert rig.controller.handover.weight == 1.0 and rig.mode is ArmMode.HOLD


def test_the_waist_is_held_at_its_measured_angle_while_the_weight_is_above_zero() -> None:
    rig = Rig()
    rig.take()
    waist = rig.robot.body.q[0]
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.controller.reason == "home_reached", "home")
    rig.ask(ArmMode.DAMPING)
    rig.run(0.5)
    rig.controller.release(rig.now_ns)
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    assert {command.waist_q for _, command in rig.sent if command.weight > 0} == {rig.sent[0][1].waist_q}
    assert rig.sent[0][1].waist_q == pytest.approx(waist, abs=0.01)


def test_only_part_of_the_weight_is_acquired_when_so_configured() -> None:
    rig = taken(weight_limit=0.2)
    assert rig.sent[-1][1].weight == pytest.approx(0.2)
