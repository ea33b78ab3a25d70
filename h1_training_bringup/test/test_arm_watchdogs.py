"""Watchdogs and faults: each forces its mode with its reason, is told once, and is left only acknowledged."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MS, Rig, S

from h1_training_bringup.arms.joints import COUNT
from h1_training_bringup.arms.settings import ArmParameters
from h1_training_node.message_numbers import ArmMode

MODES = [ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING]


def rig_in(mode: ArmMode) -> Rig:
    rig = Rig()
    rig.take()
    assert rig.ask(mode) == ""
    rig.run(0.05)
    return rig


def test_without_a_fresh_action_for_100_ms_policy_becomes_hold() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.follow(lambda n: rig.q, 0.5)
    last_ns = rig.now_ns - 20 * MS
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "hold")
    assert 100 * MS < rig.now_ns - last_ns <= 112 * MS
    assert rig.controller.reason == "stale_action" and rig.notices.count("stale_action") == 1
    assert not rig.controller.faults, "nothing to acknowledge: the session may go on by itself"


def test_stale_is_counted_from_the_first_action_of_this_entry() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.run(0.5)
    assert rig.mode is ArmMode.POLICY
    rig.follow(lambda n: rig.q, 0.1)
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD


def test_policy_without_any_action_does_not_wait_for_ever() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.run(1.2)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "stale_action"


def test_policy_that_comes_back_is_entered_again_with_the_ramp() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.follow(lambda n: np.full(COUNT, 0.2), 0.3)
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD
    rig.run(0.2)
    begin = len(rig.sent)
    assert rig.ask(ArmMode.POLICY) == ""
    rig.follow(lambda n: np.full(COUNT, -0.3), 0.5)
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    assert (np.abs(np.diff(rows, axis=0)) / 0.004 <= rig.joints.speed * 1.001).all()


def test_arms_that_hold_after_a_stale_action_stop_without_a_jerk() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.follow(lambda n: np.full(COUNT, 0.8), 0.2)
    begin = len(rig.sent)
    rig.run(0.6)
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    acceleration = np.diff(rows, n=2, axis=0) / 0.004**2
    assert (np.abs(acceleration) <= rig.joints.acceleration * 1.01).all()
    assert not rig.sent[-1][1].dq.any()


@pytest.mark.parametrize("mode", MODES)
def test_without_the_sessions_heartbeat_for_half_a_second_the_arms_are_damped(mode: ArmMode) -> None:
    rig = rig_in(mode)
    rig.heartbeat = False
    lost_ns = rig.now_ns
    rig.run_until(lambda: rig.controller.faults, "session_lost")
    assert 400 * MS <= rig.now_ns - lost_ns <= 510 * MS
    rig.tick()
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "session_lost"
    assert not rig.sent[-1][1].kp.any()


def test_a_forced_mode_is_left_only_acknowledged_and_when_its_condition_is_gone() -> None:
    rig = rig_in(ArmMode.HOLD)
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


@pytest.mark.parametrize("mode", MODES)
def test_a_robot_without_state_is_damped_its_torque_faded_then_left_in_silence(mode: ArmMode) -> None:
    rig = rig_in(mode)
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


@pytest.mark.parametrize("mode", [ArmMode.HOME, ArmMode.POLICY])
def test_arms_that_move_while_the_state_gets_slow_stop_and_hold(mode: ArmMode) -> None:
    rig = Rig(ArmParameters(home_pose=(0.35,) * COUNT, home_speed=0.05))
    rig.take()
    assert rig.ask(mode) == ""
    rig.robot.inject("slow_state 5")
    begin = len(rig.sent)
    for _ in range(125):
        if mode is ArmMode.POLICY:
            rig.act(np.full(COUNT, 0.3))
        rig.run(0.02)
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "state_slow"
    assert rig.notices.count("state_slow") == 1 and not rig.controller.faults
    rows = np.array([command.q for _, command in rig.sent[begin:]])
    assert (np.abs(np.diff(rows, n=2, axis=0)) / 0.004**2 <= rig.joints.acceleration * 1.01).all()


@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.DAMPING])
def test_arms_that_stand_or_are_guided_while_the_state_gets_slow_stay_as_they_are_and_it_is_told(mode: ArmMode) -> None:
    rig = rig_in(mode)
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


def pause(rig: Rig, seconds: float) -> None:
    """The driver's process stands still; the robot and the session live on."""
    for _ in range(round(seconds * 500)):
        rig.now_ns += 2 * MS
        rig.robot.advance(rig.now_ns)
        sample = rig.robot.state_sample()
        assert sample is not None
        rig.intake.receive(sample, rig.now_ns)


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_of_the_driver_itself_is_not_taken_for_a_lost_robot(mode: ArmMode) -> None:
    rig = rig_in(mode)
    pause(rig, 0.35)
    rig.run(0.2)
    assert rig.mode in (mode, ArmMode.HOLD) and not rig.controller.faults
    assert rig.sent[-1][0] == rig.now_ns


def test_after_a_pause_of_its_own_the_driver_asks_the_guard_before_it_speaks() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.guard_answers = False
    pause(rig, 0.06)
    sent = len(rig.sent)
    rig.run(0.1)
    question = rig.controller.question
    assert len(rig.sent) == sent and question != 0
    rig.controller.hear_guard(rig.now_ns, question, is_watching=False)
    rig.run(1.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "guard_took_over"


def test_an_answer_from_before_another_pause_counts_for_nothing() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.guard_answers = False
    pause(rig, 0.06)
    rig.run(0.004)
    old = rig.controller.question
    pause(rig, 0.2)
    rig.run(0.004)
    sent = len(rig.sent)
    rig.controller.hear_guard(rig.now_ns, old, is_watching=True)
    rig.run(0.1)
    assert len(rig.sent) == sent and rig.controller.question not in (0, old)
    rig.controller.hear_guard(rig.now_ns, rig.controller.question, is_watching=True)
    rig.run(0.1)
    assert rig.sent[-1][0] == rig.now_ns and rig.mode is ArmMode.HOLD


def test_a_driver_that_hears_neither_guard_nor_robot_after_a_pause_stays_silent() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.guard_answers = False
    pause(rig, 0.2)
    rig.robot.inject("stop_state")
    sent = len(rig.sent)
    rig.run(5.0)
    assert len(rig.sent) == sent


def test_a_guard_that_gives_no_answer_and_takes_no_arms_is_lost_and_the_driver_damps() -> None:
    rig = rig_in(ArmMode.POLICY)
    rig.guard_answers = False
    pause(rig, 0.06)
    rig.run(1.1)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "guard_lost"
    assert rig.notices.count("guard_lost") == 1 and rig.sent[-1][0] == rig.now_ns
    rig.guard_answers = True
    assert "arm_driver/release" in rig.controller.acknowledge().reason
    assert rig.ask(ArmMode.HOLD).startswith("acknowledge_needed"), "no key moves arms that no guard stands behind"
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    assert not rig.controller.faults


@pytest.mark.parametrize("mode", [ArmMode.HOME, ArmMode.POLICY])
def test_without_the_guard_nothing_sets_the_arms_in_motion(mode: ArmMode) -> None:
    rig = rig_in(ArmMode.DAMPING)
    rig.controller.conditions.guard_is_there = False
    assert rig.ask(ArmMode.HOLD) == "", "to be held is no worse than to be compliant"
    rig.run(0.1)
    assert rig.ask(mode).startswith("no_guard: ") and rig.mode is ArmMode.HOLD
    rig.controller.conditions.guard_is_there = True
    assert rig.ask(mode) == ""


def test_a_robot_that_was_restarted_with_another_number_can_be_taken_once_the_arms_were_given_back() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("mode_machine 9")
    rig.run(0.1)
    assert rig.controller.faults.first == "motor_fault" and not rig.controller.acknowledge().accepted
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.take()
    assert rig.sent[-1][1].mode_machine == 9


@pytest.mark.parametrize("mode", MODES)
def test_a_driver_that_stood_still_for_long_never_speaks_again(mode: ArmMode) -> None:
    rig = rig_in(mode)
    pause(rig, 1.1)
    sent = len(rig.sent)
    rig.run(2.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "driver_hung"
    assert rig.notices.count("driver_hung") == 1
    assert "arm_guard/release" in rig.controller.release(rig.now_ns).reason
    assert not rig.controller.acknowledge().accepted
    rig.controller.give_way(rig.now_ns)
    rig.run(0.1)
    assert rig.controller.reason == "guard_took_over" and len(rig.sent) == sent
    rig.controller.end(rig.now_ns, "ending_sigint")
    assert rig.controller.has_ended and "release_warning" not in rig.notices


def test_a_driver_that_stood_still_without_the_arms_goes_on() -> None:
    rig = Rig()
    rig.run(0.6)
    pause(rig, 3.0)
    rig.take()
    assert rig.mode is ArmMode.HOLD


def faded_and_back(mode: ArmMode = ArmMode.HOLD) -> Rig:
    """The robot was lost until its torque had faded; now its state has been there again for a while."""
    rig = rig_in(mode)
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


def test_arms_acknowledged_and_held_in_one_go_are_damped_anew_by_the_next_key() -> None:
    rig = faded_and_back()
    assert rig.controller.acknowledge().accepted and rig.ask(ArmMode.HOLD) == ""
    rig.tick()
    assert rig.sent[-1][0] == rig.now_ns and rig.sent[-1][1].kp.any()
    begin = len(rig.sent)
    assert rig.ask(ArmMode.DAMPING) == ""
    rig.tick()
    carries_at_once(rig, begin)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_robot_that_came_back_is_given_back_with_all_of_the_torque_warning_and_ramp(stopped: bool) -> None:
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


def test_a_robot_that_is_lost_again_while_it_is_given_back_needs_a_person_again() -> None:
    rig = faded_and_back()
    assert rig.controller.release(rig.now_ns).accepted
    rig.run(4.0)
    rig.robot.inject("stop_state")
    rig.run(2.0)
    rig.robot.inject("clear")
    sent = len(rig.sent)
    rig.run(5.0)
    assert len(rig.sent) == sent and rig.mode is ArmMode.DAMPING and not rig.controller.transition
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")


def test_a_process_that_must_end_gives_a_robot_back_that_came_back() -> None:
    rig = faded_and_back()
    begin = len(rig.sent)
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.tick()
    carries_at_once(rig, begin)
    rig.run_until(lambda: rig.controller.has_ended, "ended", 9.0)
    assert rig.sent[-1][1].weight == 0.0


def test_a_robot_that_comes_back_before_the_torque_was_gone_gets_it_back_slowly() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.6)
    rig.robot.inject("clear")
    begin = len(rig.sent)
    rig.run(2.0)
    torque = np.array([np.abs(command.tau).max() for _, command in rig.sent[begin - 20 :]])
    assert np.abs(np.diff(torque)).max() < 0.5 and torque[-1] > 1.0
    assert rig.mode is ArmMode.DAMPING and rig.ask(ArmMode.HOLD).startswith("acknowledge_needed")


def test_the_arms_are_not_given_back_while_nobody_sees_where_they_go() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.2)
    answer = rig.controller.release(rig.now_ns)
    assert not answer.accepted and answer.reason.startswith("robot_lost")
    assert "Ctrl+C ends the session" in answer.reason


def test_a_process_that_must_end_without_a_robot_ends_after_the_fade() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("stop_state")
    rig.run(0.2)
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.run_until(lambda: rig.controller.has_ended, "ended", 3.0)


@pytest.mark.parametrize("fault", ["motor_disabled 15", "motor_disabled 12", "mode_machine 9", "tilt 0.6"])
@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.POLICY])
def test_a_disabled_motor_a_changed_machine_and_a_falling_robot_are_motor_faults(fault: str, mode: ArmMode) -> None:
    rig = rig_in(mode)
    rig.robot.inject(fault)
    rig.run(0.05)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "motor_fault"
    assert not rig.controller.acknowledge().accepted
    rig.robot.inject("clear")
    rig.run(0.05)
    assert rig.controller.acknowledge().accepted
    assert rig.notices.count("motor_fault") == 1


@pytest.mark.parametrize("fault", ["motor_disabled 20", "tilt -0.7"])
def test_arms_are_not_taken_with_a_motor_fault(fault: str) -> None:
    rig = Rig()
    rig.robot.inject(fault)
    rig.run(0.6)
    assert rig.ask(ArmMode.HOLD).startswith("motor_fault")


def test_a_lean_of_less_than_the_limit_is_no_fault() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("tilt 0.3")
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD


def test_heat_is_reported_then_forbids_policy_then_damps_then_lets_down() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("temperature 16 72")
    rig.run(0.1)
    assert rig.notices[-1] == "motor_warm" and rig.ask(ArmMode.HOME) == ""
    rig.run_until(lambda: rig.mode is ArmMode.HOLD, "home")
    rig.robot.inject("temperature 16 82")
    rig.run(0.1)
    assert rig.notices[-1] == "motor_hot" and rig.ask(ArmMode.POLICY).startswith("motor_hot: left_elbow_joint at 82")
    rig.robot.inject("temperature 16 91")
    rig.run(0.1)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "overheated"
    carried_at = rig.q
    rig.run(3.0)
    np.testing.assert_allclose(rig.q, carried_at, atol=0.05)
    rig.robot.inject("temperature 16 101")
    rig.run(2.9)
    assert "overheated_critical" in rig.notices
    np.testing.assert_allclose(rig.q, carried_at, atol=0.05, err_msg="people are warned first")
    fastest = []
    rig.run(15.0, lambda: fastest.append(np.abs(rig.dq).max()))
    assert max(fastest) < 0.5
    assert rig.sent[-1][1].weight == 1.0 and np.abs(rig.q - carried_at).max() > 0.3


def test_heat_that_forced_damping_is_acknowledged_only_when_it_is_gone() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("temperature 20 95")
    rig.run(0.1)
    rig.robot.inject("temperature 20 88")
    rig.run(0.1)
    assert not rig.controller.acknowledge().accepted, "88 is within the hysteresis of 90"
    rig.robot.inject("temperature 20 60")
    rig.run(0.1)
    assert rig.controller.acknowledge().accepted


def test_a_foreign_commander_damps_and_is_named() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.controller.conditions.foreign = "teleop also publishes on /arm_sdk; end it"
    rig.run(0.05)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "foreign_commander"
    assert "teleop" in rig.controller.acknowledge().reason
    rig.controller.conditions.foreign = ""
    rig.run(0.05)
    assert rig.controller.acknowledge().accepted


def test_a_foreign_commander_forbids_taking_the_arms() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.controller.conditions.foreign = "teleop also publishes on /arm_sdk; end it"
    assert rig.ask(ArmMode.HOLD).startswith("foreign_commander: teleop")


def test_the_remotes_button_is_an_emergency_stop() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("remote_button B")
    rig.run(0.02)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "emergency_stop"
    rig.robot.inject("remote_button")
    rig.run(1.0)
    assert rig.mode is ArmMode.DAMPING and not rig.controller.acknowledge().accepted


def test_another_button_of_the_remote_does_nothing() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("remote_button A X up")
    rig.run(0.1)
    assert rig.mode is ArmMode.HOLD


def test_a_state_with_a_wrong_checksum_is_dropped_and_counted() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.robot.inject("bad_crc")
    rig.run(0.1)
    assert rig.intake.crc_errors == 50
    assert rig.controller.faults.first == "robot_lost"
    assert [notice.reason for notice in rig.intake.notices] == ["state_crc"]


def test_a_fault_in_the_middle_of_giving_back_damps_and_the_ramp_goes_on() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.controller.release(rig.now_ns)
    rig.run(4.0)
    rig.robot.inject("tilt 0.8")
    rig.run(0.1)
    assert rig.mode is ArmMode.DAMPING
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")


def test_once_the_guard_has_spoken_the_driver_is_silent_for_good() -> None:
    rig = rig_in(ArmMode.HOLD)
    rig.controller.give_way(rig.now_ns)
    sent = len(rig.sent)
    rig.run(1.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "guard_took_over"
    assert rig.notices.count("guard_took_over") == 1
    assert not rig.controller.acknowledge().accepted
    assert "arm_guard/release" in rig.controller.release(rig.now_ns).reason
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.tick()
    assert rig.controller.has_ended
