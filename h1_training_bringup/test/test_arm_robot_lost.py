# SPDX-License-Identifier: Apache-2.0
"""A robot whose state stays away: damped, faded, left in silence, and how it comes back."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MODES, MS, Rig, S, outward, pause, taken, taken_in
from arm_builders import arm_sdk_timeout as arm_sdk_timeout

from h1_training_bringup.sim.robot import OWN_POSE
from h1_training_node.message_numbers import ArmMode

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("arm_sdk_timeout")]
"""Whatever the robot does when nothing is sent to it."""


@pytest.mark.parametrize("mode", MODES)
def test_a_robot_without_state_is_damped_its_torque_faded_then_left_in_silence(mode: ArmMode) -> None:
    rig = taken_in(mode)
    rig.robot.inject("stop_state")
    lost_ns = rig.now_ns
    rig.run(0.1)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "robot_lost"
    begin = [command for at, command in rig.sent if at > lost_ns + 60 * MS]
    assert not begin[0].kp.any() and (begin[0].kd > 0).all()
    rig.run(2.0)
    faded = [np.abs(command.tau).max() for at, command in rig.sent if at > lost_ns + 60 * MS]
    assert (np.diff(faded) <= 1e-9).all() and faded[-1] < 0.02 * faded[0]
    silent_since_ns = rig.sent[-1][0]
    assert silent_since_ns - lost_ns == pytest.approx(1.05 * S, abs=0.02 * S)
    assert rig.command is None


def faded_and_back(mode: ArmMode = ArmMode.HOLD) -> Rig:
    """The robot was lost until its torque had faded; now its state has been there again for a while."""
    rig = taken_in(mode)
    rig.robot.inject("stop_state")
    rig.run(2.0)
    rig.robot.inject("clear")
    sent = len(rig.sent)
    rig.run(0.1)
    assert not rig.controller.acknowledge().accepted, "it has only just come back"
    rig.run(0.6)
    assert len(rig.sent) == sent and rig.command is None, "its own controller may have the arms: nothing is commanded"
    assert rig.mode is ArmMode.DAMPING and rig.ask(ArmMode.HOLD).startswith("acknowledge_needed")
    return rig


def carries_at_once(rig: Rig, begin: int) -> None:
    """From its first command after number `begin` on: all of the gravity torque, kp 0, the first, stiffer damping."""
    first = rig.sent[begin][1]
    sensed = rig.intake.latest()
    assert sensed is not None
    np.testing.assert_allclose(first.tau, rig.controller._gravity(sensed), atol=0.05)
    assert np.abs(first.tau).max() > 0.5 and not first.kp.any() and (first.kd > 3 * rig.joints.kd_damping).all()
    assert first.weight == 1.0 and first.waist_q == pytest.approx(float(rig.robot.body.q[0]), abs=0.01)


@pytest.mark.parametrize("mode", [ArmMode.POLICY, ArmMode.DAMPING])
def test_a_robot_that_comes_back_is_left_in_silence_until_a_person_acknowledges(mode: ArmMode) -> None:
    rig = faded_and_back(mode)
    begin = len(rig.sent)
    assert rig.controller.acknowledge().accepted
    rig.tick()
    carries_at_once(rig, begin)
    assert rig.mode is ArmMode.DAMPING and rig.ask(ArmMode.HOLD) == ""
    rig.run(0.1)
    assert rig.mode is ArmMode.HOLD and rig.sent[-1][0] == rig.now_ns


def test_arms_acknowledged_and_held_in_one_go_are_damped_again_by_the_next_key() -> None:
    rig = faded_and_back()
    assert rig.controller.acknowledge().accepted and rig.ask(ArmMode.HOLD) == ""
    rig.tick()
    assert rig.sent[-1][0] == rig.now_ns and rig.sent[-1][1].kp.any()
    begin = len(rig.sent)
    assert rig.ask(ArmMode.DAMPING) == ""
    rig.tick()
    carries_at_once(rig, begin)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_robot_that_came_back_is_released_with_all_of_the_torque_warning_and_ramp(stopped: bool) -> None:
    rig = faded_and_back()
    if stopped:
        rig.controller.emergency_stop(rig.now_ns, "a test", "")
        sent = len(rig.sent)
        rig.run(0.5)
        assert len(rig.sent) == sent, "a stop commands nothing either"
    begin, begin_ns = len(rig.sent), rig.now_ns
    assert rig.controller.release(rig.now_ns).accepted
    rig.tick()
    carries_at_once(rig, begin)
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    assert rig.notices.count("release_warning") == 1 and rig.now_ns - begin_ns >= 5.9 * S


def test_a_robot_that_is_lost_again_while_it_is_released_needs_a_person_again() -> None:
    rig = faded_and_back()
    assert rig.controller.release(rig.now_ns).accepted
    rig.run(4.0)
    rig.robot.inject("stop_state")
    rig.run(2.0)
    rig.robot.inject("clear")
    sent = len(rig.sent)
    assert rig.notices.count("release_stopped") == 1, "who was to stand clear learns that nothing comes"
    rig.run(5.0)
    assert len(rig.sent) == sent and rig.mode is ArmMode.DAMPING and not rig.controller.transition
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")


def test_a_process_that_must_end_releases_a_robot_that_came_back() -> None:
    rig = faded_and_back()
    begin = len(rig.sent)
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.tick()
    carries_at_once(rig, begin)
    rig.run_until(lambda: rig.controller.has_ended, "ended", 9.0)
    assert rig.sent[-1][1].weight == 0.0


def test_a_robot_that_comes_back_before_the_torque_was_gone_gets_it_back_slowly() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.6)
    rig.robot.inject("clear")
    begin = len(rig.sent)
    rig.run(2.0)
    torque = np.array([np.abs(command.tau).max() for _, command in rig.sent[begin - 20 :]])
    assert np.abs(np.diff(torque)).max() < 0.5 and torque[-1] > 1.0
    assert rig.mode is ArmMode.DAMPING and rig.ask(ArmMode.HOLD).startswith("acknowledge_needed")


def test_the_arms_are_not_released_while_nobody_sees_where_they_go() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.2)
    answer = rig.controller.release(rig.now_ns)
    assert not answer.accepted and answer.reason.startswith("robot_lost")
    assert "Ctrl+C ends the session" in answer.reason


def test_a_process_that_must_end_without_a_robot_ends_after_the_fade() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.2)
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.run_until(lambda: rig.controller.has_ended, "ended", 3.0)


def moved_by_the_policy() -> Rig:
    """In POLICY, both arms out to the sides."""
    rig = taken()
    rig.enter_policy()
    rig.follow(lambda n: outward(0.4), 1.5)
    return rig


def test_a_computer_that_dies_in_policy_leaves_arms_that_stand_stiff_or_move_which_is_what_the_pages_warn_of(
    arm_sdk_timeout: str,
) -> None:
    rig = moved_by_the_policy()
    before = rig.q
    pause(rig, 5.0)  # neither driver nor guard ever comes back
    stiff = bool((rig.robot.inbox.motors.kp[1:] > 0).all())
    if arm_sdk_timeout == "none":
        assert stiff and rig.robot.inbox.weight == 1.0 and np.abs(rig.q - before).max() < 0.05
    else:
        assert rig.robot.inbox.weight == 0.0 and np.abs(rig.q - OWN_POSE[1:]).max() < 0.1


def test_a_session_after_one_that_died_with_the_arms_may_let_them_go_at_once_which_is_what_the_pages_warn_of(
    arm_sdk_timeout: str,
) -> None:
    died = moved_by_the_policy()
    pause(died, 10.0)
    rig = Rig(robot=died.robot, now_ns=died.now_ns)
    rig.run(0.6)
    before, speeds = rig.q, [0.0]
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(3.0, lambda: speeds.append(float(np.abs(rig.dq).max())))
    if arm_sdk_timeout == "none":  # at once the weight falls from 1 to the first step of its rise
        assert max(speeds) > 3.0 and "moved_while_acquiring" in rig.notices
    else:
        assert np.abs(rig.q - before).max() < 0.05 and rig.mode is ArmMode.HOLD


def test_after_a_cable_was_pulled_in_policy_nothing_is_commanded_until_a_person_says_so_then_the_arms_are_compliant(
    arm_sdk_timeout: str,
) -> None:
    rig = moved_by_the_policy()
    take, arrived = rig.robot.inbox.take, []
    rig.robot.inject("stop_state")
    rig.robot.inbox.take = lambda sample, now_ns: None  # type: ignore[method-assign]
    rig.run(3.0)
    rig.robot.inject("clear")
    rig.robot.inbox.take = lambda *command: arrived.append(command) or take(*command)  # type: ignore[method-assign]
    rig.run(2.0)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "robot_lost" and arrived == []
    before = rig.q
    assert rig.controller.acknowledge().accepted
    rig.run(1.0)
    assert arrived and not any(command.kp.any() for _, command in rig.sent[-len(arrived) :])
    assert np.abs(rig.q - before).max() < 0.1, "no arm is torn from where it was"
