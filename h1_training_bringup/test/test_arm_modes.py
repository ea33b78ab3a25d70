# SPDX-License-Identifier: Apache-2.0
"""Modes and requests: the controller on the simulated robot, in virtual time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_builders import joint_settings, outward, taken

from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_node.message_numbers import ArmMode

HOME_POSE = (0.0, 0.2, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, 0.4, 0.0, 0.0, 0.0)


def test_home_is_a_minimum_jerk_move_at_home_speed_and_ends_in_hold() -> None:
    rig = taken(home_pose_rad=HOME_POSE)
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
    rig.follow(lambda n: outward(0.3), 1.0)
    assert max((np.abs(command.dq) / rig.joints.speed).max() for _, command in rig.sent[begin:]) <= 0.25 * 1.0001


def test_home_that_is_not_reached_says_so() -> None:
    rig = taken(home_pose_rad=HOME_POSE)
    rig.robot.inject("stuck 14")
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.mode is not ArmMode.HOME, "home is over")
    assert rig.controller.reason in ("home_missed", "blocked")
    assert {"home_missed", "blocked"} & set(rig.notices)


def test_policy_follows_the_actions_and_names_which() -> None:
    rig = taken()
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.controller.reason == "home_reached", "home")
    rig.enter_policy()
    assert rig.controller.gate.seq == 0
    rig.follow(lambda n: outward(0.3 * math.sin(n / 25)), 2.0)
    assert rig.mode is ArmMode.POLICY and rig.controller.gate.seq == 100
    np.testing.assert_allclose(rig.q, outward(0.3 * math.sin(99 / 25)), atol=0.05)


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
    rig.follow(lambda n: np.clip(outward(2.5), rig.joints.lower, rig.joints.upper), 1.0)
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


def test_a_load_that_the_model_does_not_know_is_reported_when_the_arms_become_compliant() -> None:
    rig = taken()
    rig.ask(ArmMode.DAMPING)
    assert "torque_mismatch" not in rig.notices + [notice.reason for notice in rig.controller.notices]
    rig.ask(ArmMode.HOLD)
    rig.robot.inject("payload left 1.5")
    rig.run(1.0)
    rig.ask(ArmMode.DAMPING)
    rig.tick()
    assert "torque_mismatch" in rig.notices


def test_every_hold_begins_with_a_new_execution_token_which_the_policy_that_follows_keeps() -> None:
    rig = taken()
    first = rig.controller.execution
    assert first > 0
    rig.enter_policy()
    assert rig.controller.execution == first
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "no action came")
    second = rig.controller.execution
    assert second > 0 and second != first
    assert rig.ask(ArmMode.HOME) == "" and rig.controller.execution == 0
    assert rig.ask(ArmMode.DAMPING) == "" and rig.controller.execution == 0
    assert rig.ask(ArmMode.HOLD) == "" and rig.controller.execution not in (0, first, second)
