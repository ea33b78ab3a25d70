# SPDX-License-Identifier: Apache-2.0
"""A driver that stood still or died while the robot was lost: a person can end the session, and no arm is torn.

The robot has been lost for so long that driver and guard are silent on purpose: its own controller may have the arms.
"""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MODES, S, outward, pause, taken_in
from arm_builders import arm_sdk_timeout as arm_sdk_timeout
from arm_duo import Duo

from h1_training_bringup.arm_driver.pauses import Pauses, ProcessState
from h1_training_node.message_numbers import ArmMode

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("arm_sdk_timeout")]
"""Whatever the robot does when nothing is sent to it."""


def lost_and_hung(*, back: bool = True, faded: bool = True) -> Duo:
    """The robot was lost, the driver stood still meanwhile and runs again; nobody has commanded since."""
    duo = Duo()
    duo.take()
    duo.robot.inject("stop_state")
    duo.run(2.0 if faded else 0.5)
    assert (duo.command is None) == faded
    duo.pause(2.0)
    if back:
        duo.robot.inject("clear")
    sent = len(duo.sent)
    duo.run(1.0)
    assert duo.controller.reason == "driver_hung" and duo.notices.count("driver_hung") == 1
    assert len(duo.sent) == sent and duo.guard_sent == [] and duo.command is None, "nothing is commanded"
    return duo


def is_released_in_good_order(duo: Duo, begin_ns: int) -> None:
    """By the guard alone: gravity carried from its first command on, 3 s of warning, a ramp of 3 s, then silence."""
    (first_ns, first), (last_ns, last) = duo.guard_sent[0], duo.guard_sent[-1]
    assert duo.guard_notices[:2] == ["guard_took_over", "release_warning"]
    assert first.weight == 1.0 and not first.kp.any() and (first.kd > 3 * duo.joints.kd_damping).all()
    np.testing.assert_allclose(first.tau, duo.gravity_at_first, atol=0.05)
    assert np.abs(first.tau).max() > 0.5
    assert first.waist_q == pytest.approx(float(duo.robot.body.q[0]), abs=0.02), "the waist as it is now"
    full = [at for at, command in duo.guard_sent if command.weight == 1.0]
    assert full[-1] - first_ns >= 2.99 * S and last_ns - full[-1] >= 2.98 * S and last.weight == 0.0
    weights = np.array([command.weight for _, command in duo.guard_sent])
    assert (np.diff(weights) <= 0).all() and np.abs(np.diff(weights)).max() <= 1 / 750 + 1e-9
    assert not [at for at, _ in duo.sent if at > begin_ns], "one commands"


@pytest.mark.parametrize("faded", [True, False])
def test_a_person_has_the_guard_release_the_arms_that_a_hung_driver_cannot(faded: bool) -> None:
    duo = lost_and_hung(faded=faded)
    begin_ns, before = duo.now_ns, duo.q
    refusal = duo.controller.release(duo.now_ns)
    assert not refusal.accepted and "arm_guard/release" in refusal.reason
    assert "arm_guard/release" in duo.controller.acknowledge().reason
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(2.9)
    np.testing.assert_allclose(duo.q, before, atol=0.1, err_msg="not torn: they stay where they were until the ramp")
    duo.run(4.0)
    is_released_in_good_order(duo, begin_ns)
    assert duo.controller.reason == "guard_took_over" and not duo.guard.release(duo.now_ns).accepted


def test_ctrl_c_ends_such_a_session_and_the_guard_releases_the_arms() -> None:
    duo = lost_and_hung()
    begin_ns = duo.now_ns
    duo.end()
    duo.tick()
    assert duo.controller.has_ended, "the driver has nothing to give"
    duo.run_until(lambda: duo.guard.has_ended, "the guard has ended", 10.0)
    is_released_in_good_order(duo, begin_ns)


@pytest.mark.parametrize("back", [False, True])
def test_a_driver_that_stands_still_for_ever_does_not_keep_the_guard_from_releasing(back: bool) -> None:
    duo = Duo()
    duo.take()
    duo.robot.inject("stop_state")
    duo.run(2.0)
    duo.driver_runs = False
    duo.robot.inject("clear")
    duo.run(1.0)
    assert duo.guard_sent == []
    begin_ns = duo.now_ns
    if back:
        assert duo.guard.release(duo.now_ns).accepted
        duo.run(7.0)
    duo.end()
    duo.run_until(lambda: duo.guard.has_ended, "the guard has ended", 10.0)
    is_released_in_good_order(duo, begin_ns)


def test_while_the_robot_is_still_lost_nothing_is_released_and_ctrl_c_is_named_and_ends() -> None:
    duo = lost_and_hung(back=False)
    refusal = duo.guard.release(duo.now_ns)
    assert not refusal.accepted and "Ctrl+C ends the session" in refusal.reason
    duo.end()
    duo.run_until(lambda: duo.controller.has_ended and duo.guard.has_ended, "both have ended", 4.0)
    assert duo.guard_sent == []
    duo.robot.inject("clear")
    duo.run(1.0)
    assert duo.guard_sent == []


def test_a_release_that_the_guard_granted_is_void_when_the_driver_commands_first() -> None:
    duo = Duo()
    duo.take()
    duo.robot.inject("stop_state")
    duo.run(2.0)
    duo.robot.inject("clear")
    duo.run(1.0)
    assert duo.guard.release(duo.now_ns).accepted
    assert duo.controller.acknowledge().accepted
    duo.run(1.0)
    assert duo.guard_sent == [] and duo.sent[-1][0] == duo.now_ns, "one commander: the driver's"
    assert duo.guard.release(duo.now_ns).reason.startswith("not_taken_over")


def test_a_robot_that_is_lost_again_before_the_guard_takes_over_needs_a_person_again() -> None:
    duo = lost_and_hung()
    assert duo.guard.release(duo.now_ns).accepted
    duo.robot.inject("stop_state")
    duo._ticks -= duo._ticks % 5  # the guard looks again in 20 ms
    duo.now_ns += S  # in which its process had no time
    duo.run(0.5)
    duo.robot.inject("clear")
    duo.run(2.0)
    assert duo.guard_sent == []


@pytest.mark.parametrize("mode", MODES)
def test_with_the_robot_there_the_guard_has_the_arms_of_a_hung_driver_and_releases_them(mode: ArmMode) -> None:
    duo = Duo()
    duo.take()
    assert duo.ask(mode) == ""
    duo.run(0.05)
    at_ns = duo.now_ns
    duo.pause(1.5)
    assert duo.guard_sent[0][0] - at_ns <= 0.16 * S
    duo.run(1.0)
    assert duo.controller.reason == "guard_took_over" and not duo.guard_notices.count("release_warning")
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(7.0)
    assert duo.guard_sent[-1][1].weight == 0.0
    assert not [at for at, _ in duo.sent if at > at_ns]


def test_a_driver_that_waits_for_a_guards_word_that_never_comes_can_be_ended() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.guard_answers = False
    pause(rig, 0.2)
    rig.robot.inject("stop_state")
    sent = len(rig.sent)
    rig.run(5.0)
    assert not rig.controller.has_ended
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.run(0.02)
    assert rig.controller.has_ended and len(rig.sent) == sent


def test_how_long_an_answer_was_waited_for_is_counted_for_each_question_again() -> None:
    pauses, now_ns = Pauses(S), 0
    for _ in range(3):
        now_ns += 60_000_000
        pauses.step(now_ns, has_arms=True, hears_robot=False)
        for _ in range(600):
            now_ns += 4_000_000
            assert pauses.step(now_ns, has_arms=True, hears_robot=False) in (ProcessState.ASKS, ProcessState.RUNS)
        assert not pauses.is_deaf
        pauses.answered(pauses.question)
        now_ns += 4_000_000
        assert pauses.step(now_ns, has_arms=True, hears_robot=False) is ProcessState.RUNS


def test_what_is_said_of_a_hung_driver_names_the_service_that_helps_though_the_robot_was_lost_first() -> None:
    duo = lost_and_hung(back=False)
    assert duo.controller.faults.first == "robot_lost"
    for refusal in (duo.controller.release(duo.now_ns), duo.controller.acknowledge()):
        assert refusal.reason.startswith("driver_hung: ") and "arm_guard/release" in refusal.reason


def test_what_is_said_of_a_driver_that_hung_after_an_emergency_stop_names_the_service_that_helps() -> None:
    duo = Duo()
    duo.take()
    duo.controller.emergency_stop(duo.now_ns, "a test", "")
    duo.pause(2.0)
    duo.run(1.0)
    for refusal in (duo.controller.release(duo.now_ns), duo.controller.acknowledge()):
        assert not refusal.accepted and "arm_guard/release" in refusal.reason
        assert "arm_driver/release" not in refusal.reason, "that is what was just refused"
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(7.0)
    assert duo.guard_sent[-1][1].weight == 0.0


def sleeps(duo: Duo, seconds: float) -> None:
    """The computer is suspended: the robot lives on, and by the session's clock no time passes."""
    advance, take, slept_ns, awake_ns = duo.robot.advance, duo.robot.inbox.take, round(seconds * S), duo.now_ns
    for passed_ns in range(0, slept_ns, 2_000_000):
        advance(awake_ns + passed_ns)
    duo.robot.advance = lambda now_ns, person_n=None: advance(now_ns + slept_ns, person_n)  # type: ignore[method-assign]
    duo.robot.inbox.take = lambda sample, now_ns: take(sample, now_ns + slept_ns)  # type: ignore[method-assign]
    duo.controller.slept(duo.now_ns, slept_ns)
    duo.guard.slept(duo.now_ns)


@pytest.mark.parametrize("mode", MODES)
def test_after_the_computer_slept_nothing_is_commanded_until_a_person_has_the_guard_release_the_arms(
    mode: ArmMode,
) -> None:
    duo = Duo()
    duo.take()
    duo.enter_policy()
    duo.follow(lambda n: outward(0.6), 1.5)
    assert duo.ask(ArmMode.HOLD) == "" and duo.ask(mode) == ""
    duo.run(0.2)
    sleeps(duo, 20.0)
    begin_ns, sent, speeds = duo.now_ns, len(duo.sent), [0.0]
    duo.run(3.0, lambda: speeds.append(float(np.abs(duo.dq).max())))
    assert len(duo.sent) == sent and duo.guard_sent == [] and max(speeds) < 0.1, "nothing is torn from anybody"
    assert duo.controller.faults.first == "driver_hung" and duo.notices.count("driver_hung") == 1
    assert "arm_guard/release" in duo.controller.release(duo.now_ns).reason
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(7.0)
    is_released_in_good_order(duo, begin_ns)


def test_a_guard_that_releases_the_arms_when_the_computer_sleeps_waits_for_a_person_again() -> None:
    duo = Duo()
    duo.take()
    duo.pause(2.0)
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(4.0)
    sleeps(duo, 20.0)
    sent = len(duo.guard_sent)
    duo.run(3.0)
    assert len(duo.guard_sent) == sent and duo.guard_notices[-1] == "release_stopped"
    assert duo.guard.release(duo.now_ns).accepted
    duo.run(7.0)
    assert duo.guard_sent[-1][1].weight == 0.0


def test_a_computer_that_slept_without_the_arms_goes_on() -> None:
    duo = Duo()
    duo.run(0.6)
    sleeps(duo, 5.0)
    duo.run(1.0)
    duo.take()
    assert duo.mode is ArmMode.HOLD and duo.guard_sent == []
