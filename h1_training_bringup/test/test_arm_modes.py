"""Modes, ramps and requests: the controller on the simulated robot, in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_builders import Rig, S, joint_settings, taken

from h1_training_bringup.arms.joints import COUNT
from h1_training_node.message_numbers import ArmMode

HOME_POSE = (0.0, 0.2, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, 0.4, 0.0, 0.0, 0.0)


def test_nothing_is_sent_before_the_arms_are_asked_for() -> None:
    rig = Rig()
    rig.run(1.0)
    assert rig.sent == [] and rig.mode is ArmMode.RELEASED and rig.controller.reason == "not_taken"


def test_arms_cannot_be_taken_before_the_session_was_ever_seen() -> None:
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


def test_arms_are_taken_after_half_a_second_of_good_state_with_a_ramp_of_two_seconds() -> None:
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


def test_taking_is_aborted_when_a_joint_moves_and_the_weight_goes_back() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    rig.person = np.array([[80.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rig.run_until(lambda: "moved_while_taking" in rig.notices, "aborted")
    assert rig.mode is ArmMode.DAMPING and rig.controller.transition
    assert rig.notices[-1] == "release_warning", "giving back is motion: people are told first"
    weight, begin = rig.controller.handover.weight, len(rig.sent)
    assert 0.0 < weight < 1.0
    rig.run(2.9)
    assert {command.weight for _, command in rig.sent[begin:]} == {weight}
    assert not any(command.kp.any() for _, command in rig.sent[begin:]), "compliant while somebody is at the arms"
    rig.person = None
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "given back")
    assert rig.controller.reason == "moved_while_taking"
    falling = np.array([command.weight for _, command in rig.sent[begin:]])
    assert np.abs(np.diff(falling)).max() <= 1 / 750 + 1e-9 and falling[-1] == 0.0


def test_taking_is_given_up_when_the_state_does_not_become_good() -> None:
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


def test_arms_are_not_taken_without_the_guard() -> None:
    rig = Rig()
    rig.controller.conditions.guard_is_there = False
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "given up")
    assert rig.controller.reason == "no_guard" and rig.sent == []
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    rig.controller.conditions.guard_is_there = True
    rig.run_until(lambda: rig.controller.handover.weight > 0.1, "it was there in time")


def test_arms_are_not_taken_at_the_low_rate_of_the_robots_other_state_topic() -> None:
    rig = Rig()
    rig.robot.inject("slow_state 10")
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "given up")
    assert rig.controller.reason == "state_slow" and rig.sent == []
    assert rig.notices == ["state_slow"]


def test_nothing_but_damping_is_granted_while_the_arms_are_being_taken() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.ask(ArmMode.HOLD)
    rig.run(1.0)
    assert rig.ask(ArmMode.HOME).startswith("taking")
    assert rig.ask(ArmMode.DAMPING) == ""
    weight = rig.controller.handover.weight
    rig.run(0.5)
    assert rig.mode is ArmMode.DAMPING and rig.controller.handover.weight == weight < 1


def test_holding_again_after_a_damped_taking_goes_on_with_the_ramp() -> None:
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


def test_home_is_a_minimum_jerk_move_at_home_speed_and_ends_in_hold() -> None:
    rig = taken(home_pose=HOME_POSE)
    begin = len(rig.sent)
    assert rig.ask(ArmMode.HOME) == "" and rig.mode is ArmMode.HOME
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "home")
    assert rig.controller.reason == "home_reached"
    np.testing.assert_allclose(rig.q, HOME_POSE, atol=0.05)
    speeds = np.array([np.abs(command.dq).max() for _, command in rig.sent[begin:]])
    assert 0.4 < speeds.max() <= 0.5 * 1.02
    assert np.abs(np.diff(speeds)).max() < 0.02


def test_speed_scale_slows_home_and_policy() -> None:
    rig = taken(speed_scale=0.25)
    begin = len(rig.sent)
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "home")
    assert max(np.abs(command.dq).max() for _, command in rig.sent[begin:]) <= 0.125 * 1.02
    rig.enter_policy()
    begin = len(rig.sent)
    rig.follow(lambda n: np.full(COUNT, 0.3), 1.0)
    assert max((np.abs(command.dq) / rig.joints.speed).max() for _, command in rig.sent[begin:]) <= 0.25 * 1.0001


def test_home_that_is_not_reached_says_so() -> None:
    rig = taken(home_pose=HOME_POSE)
    rig.robot.inject("stuck 14")
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.mode is not ArmMode.HOME, "home is over")
    assert rig.controller.reason in ("home_missed", "blocked")
    assert {"home_missed", "blocked"} & set(rig.notices)


def test_policy_follows_the_actions_and_tells_which() -> None:
    rig = taken()
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.controller.reason == "home_reached", "home")
    rig.enter_policy()
    assert rig.controller.gate.seq == 0
    rig.follow(lambda n: np.full(COUNT, 0.3 * math.sin(n / 25)), 2.0)
    assert rig.mode is ArmMode.POLICY and rig.controller.gate.seq == 100
    np.testing.assert_allclose(rig.q, 0.3 * math.sin(99 / 25), atol=0.05)


def test_an_action_with_hands_moves_the_arms_by_its_first_14_values() -> None:
    rig = taken()
    rig.enter_policy()
    goal = rig.q
    rig.follow(lambda n: [*goal, *[1.0] * 12], 0.5)
    assert rig.mode is ArmMode.POLICY and rig.controller.gate.refused == 0
    np.testing.assert_allclose(rig.q, goal, atol=0.02)


def test_a_far_first_target_is_approached_within_the_limits_from_the_very_pose() -> None:
    rig = taken()
    rig.ask(ArmMode.DAMPING)
    rig.person = np.array([[0.0, 15.0, 10.0], [0.0, -15.0, 10.0]])
    rig.run(1.0)
    rig.person = None
    rig.run(0.5)
    left_at = rig.q
    begin = len(rig.sent)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(0.2)
    np.testing.assert_allclose(rig.sent[begin][1].q, left_at, atol=0.005)
    rig.enter_policy()
    rig.follow(lambda n: np.full(COUNT, 2.5), 1.0)
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    speed = np.diff(rows, axis=0) / 0.004
    assert (np.abs(speed) <= rig.joints.speed * 1.001).all()
    assert (np.abs(np.diff(speed, axis=0)) / 0.004 <= rig.joints.acceleration * 1.01).all()


def test_damping_has_no_stiffness_some_damping_and_carries_gravity() -> None:
    rig = taken()
    assert rig.ask(ArmMode.DAMPING) == ""
    rig.tick()
    command = rig.sent[-1][1]
    assert not command.kp.any() and (command.kd > 0).all() and not command.dq.any()
    assert command.weight == 1.0 and np.abs(command.tau).max() > 1.0
    assert (np.abs(command.tau) <= joint_settings().feedforward_nm + joint_settings().friction_nm).all()


def test_damping_is_granted_whatever_mode_was_expected() -> None:
    rig = taken()
    assert rig.ask(ArmMode.DAMPING, expected=ArmMode.POLICY) == ""
    assert rig.mode is ArmMode.DAMPING


def test_any_other_mode_is_refused_when_the_arms_have_left_the_expected_one() -> None:
    rig = taken()
    assert rig.ask(ArmMode.HOME, expected=ArmMode.DAMPING).startswith("mode_changed: the arms are in HOLD")
    assert rig.mode is ArmMode.HOLD


@pytest.mark.parametrize(
    ("start", "wanted"),
    [
        (ArmMode.DAMPING, ArmMode.HOME),
        (ArmMode.DAMPING, ArmMode.POLICY),
        (ArmMode.HOME, ArmMode.POLICY),
        (ArmMode.POLICY, ArmMode.HOME),
    ],
)
def test_home_and_policy_are_entered_from_hold_only(start: ArmMode, wanted: ArmMode) -> None:
    rig = taken()
    assert rig.ask(start) == ""
    rig.run(0.05)
    assert rig.ask(wanted).startswith("not_from_here")
    assert rig.mode is start


@pytest.mark.parametrize("mode", [-1, 5, 200])
def test_an_unknown_mode_is_refused(mode: int) -> None:
    rig = taken()
    answer = rig.controller.set_mode(rig.now_ns, "", mode, ArmMode.HOLD)
    assert not answer.accepted and answer.reason.startswith("unknown_mode")


def test_released_is_not_a_mode_to_ask_for() -> None:
    rig = taken()
    assert rig.ask(ArmMode.RELEASED).startswith("use_release")


def test_home_and_policy_are_refused_while_the_state_comes_too_slowly() -> None:
    rig = taken()
    rig.robot.inject("slow_state 5")
    rig.run(2.5)
    assert rig.ask(ArmMode.POLICY).startswith("state_slow: robot state at 10")
    assert rig.ask(ArmMode.HOME).startswith("state_slow")
    rig.robot.inject("clear")
    rig.run(1.2)
    assert rig.ask(ArmMode.POLICY) == ""


def test_only_part_of_the_weight_is_taken_when_told_so() -> None:
    rig = taken(weight_limit=0.2)
    assert rig.sent[-1][1].weight == pytest.approx(0.2)


def test_a_joint_that_is_held_back_makes_hold_at_the_measured_pose() -> None:
    rig = taken()
    rig.enter_policy()
    rig.robot.inject("stuck 16")
    start = rig.q
    rig.follow(lambda n: start + np.eye(COUNT)[3] * 0.6, 1.0)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "blocked"
    np.testing.assert_allclose(rig.controller.stiff.q[3], start[3], atol=0.01)
    assert rig.notices.count("blocked") == 1
    lead = np.array([abs(command.q[3] - start[3]) for _, command in rig.sent])
    assert lead.max() <= rig.joints.spring_nm[3] / rig.joints.kp[3] + 0.01
    assert rig.ask(ArmMode.POLICY).startswith("acknowledge_needed")
    assert rig.controller.acknowledge().accepted
    assert rig.ask(ArmMode.POLICY) == ""


def test_a_load_that_the_model_does_not_know_is_told_when_the_arms_become_compliant() -> None:
    rig = taken()
    rig.ask(ArmMode.DAMPING)
    assert "torque_mismatch" not in rig.notices + [notice.reason for notice in rig.controller.notices]
    rig.ask(ArmMode.HOLD)
    rig.robot.inject("payload left 1.5")
    rig.run(1.0)
    rig.ask(ArmMode.DAMPING)
    rig.tick()
    assert "torque_mismatch" in rig.notices
