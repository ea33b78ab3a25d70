# SPDX-License-Identifier: Apache-2.0
"""Watchdogs of actions, session and state: each forces its mode with its reason, and is reported once."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MODES, MS, Rig, outward, taken_in

from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_node.message_numbers import ArmMode


def test_without_a_fresh_action_for_100_ms_policy_becomes_hold() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.follow(lambda n: rig.q, 0.5)
    last_ns = rig.now_ns - 20 * MS
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "hold")
    assert 100 * MS < rig.now_ns - last_ns <= 112 * MS
    assert rig.controller.reason == "stale_action" and rig.notices.count("stale_action") == 1
    assert not rig.controller.faults, "nothing to acknowledge: the session may go on by itself"


def test_stale_is_counted_from_the_first_action_of_this_entry() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.run(0.5)
    assert rig.mode is ArmMode.POLICY
    rig.follow(lambda n: rig.q, 0.1)
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD


def test_policy_without_any_action_does_not_wait_for_ever() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.run(1.2)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "stale_action"


def test_policy_that_comes_back_is_entered_again_with_the_ramp() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.follow(lambda n: outward(0.2), 0.3)
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD
    rig.run(0.2)
    begin = len(rig.sent)
    assert rig.ask(ArmMode.POLICY) == ""
    rig.follow(lambda n: outward(-0.3), 0.5)
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    assert (np.abs(np.diff(rows, axis=0)) / 0.004 <= rig.joints.speed * 1.001).all()


def test_arms_that_hold_after_a_stale_action_stop_without_a_jerk() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.follow(lambda n: outward(0.8), 0.2)
    begin = len(rig.sent)
    rig.run(0.6)
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    acceleration = np.diff(rows, n=2, axis=0) / 0.004**2
    assert (np.abs(acceleration) <= rig.joints.acceleration * 1.01).all()
    assert not rig.sent[-1][1].dq.any()


@pytest.mark.parametrize("mode", MODES)
def test_without_the_sessions_heartbeat_for_half_a_second_the_arms_are_damped(mode: ArmMode) -> None:
    rig = taken_in(mode)
    rig.heartbeat = False
    lost_ns = rig.now_ns
    rig.run_until(lambda: rig.controller.faults, "session_lost")
    assert 400 * MS <= rig.now_ns - lost_ns <= 510 * MS
    rig.tick()
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "session_lost"
    assert not rig.sent[-1][1].kp.any()


def test_a_forced_mode_is_left_only_acknowledged_and_when_its_condition_is_gone() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.heartbeat = False
    rig.run(1.0)
    assert rig.ask(ArmMode.HOLD).startswith("acknowledge_needed")
    answer = rig.controller.acknowledge()
    assert not answer.accepted and answer.reason.startswith("session_lost: it lasts")
    rig.heartbeat = True
    rig.run(0.3)
    assert rig.ask(ArmMode.HOLD).startswith("acknowledge_needed")
    assert rig.controller.acknowledge().accepted
    assert rig.ask(ArmMode.HOLD) == ""
    assert rig.notices.count("session_lost") == 1


@pytest.mark.parametrize("mode", [ArmMode.HOME, ArmMode.POLICY])
def test_arms_that_move_while_the_state_gets_slow_stop_and_hold(mode: ArmMode) -> None:
    rig = Rig(ArmParameters(home_pose_rad=tuple(outward(0.35)), home_speed_rad_s=0.05))
    rig.take()
    assert rig.ask(mode) == ""
    rig.robot.inject("slow_state 5")
    begin = len(rig.sent)
    for _ in range(125):
        if mode is ArmMode.POLICY:
            rig.act(outward(0.3))
        rig.run(0.02)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "state_slow"
    assert rig.notices.count("state_slow") == 1 and not rig.controller.faults
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    assert (np.abs(np.diff(rows, n=2, axis=0)) / 0.004**2 <= rig.joints.acceleration * 1.01).all()


@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.DAMPING])
def test_arms_that_stand_or_are_guided_while_the_state_gets_slow_stay_as_they_are(
    mode: ArmMode,
) -> None:
    rig = taken_in(mode)
    at = rig.q
    rig.robot.inject("slow_state 5")
    rig.run(4.0)
    assert rig.mode is mode and rig.notices.count("state_slow") == 1
    np.testing.assert_allclose(rig.q, at, atol=0.05)
    rig.robot.inject("clear")
    rig.run(2.0)
    rig.robot.inject("slow_state 5")
    rig.run(4.0)
    assert rig.notices.count("state_slow") == 2, "once each time"


def test_a_state_with_a_wrong_checksum_is_dropped_and_counted() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("bad_crc")
    rig.run(0.1)
    assert rig.intake.crc_errors == 50
    assert rig.controller.faults.first == "robot_lost"
    assert [notice.reason for notice in rig.intake.notices] == ["state_crc"]
