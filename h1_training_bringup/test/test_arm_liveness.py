# SPDX-License-Identifier: Apache-2.0
"""A state that arrives is not yet a robot that lives: frozen, replayed, restarted ones are seen for what they are."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import MODES, MS, START_NS, S, reading, taken_in
from arm_builders import arm_sdk_timeout as arm_sdk_timeout

from h1_training_bringup.arm_driver.intake import Liveness
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_node.message_numbers import ArmMode

pytestmark = pytest.mark.usefixtures("arm_sdk_timeout")
"""Whatever the robot does when nothing is sent to it."""

FROZEN = ["repeat_state", "freeze_arms"]


def noisy(number: int, tick: int | None = None) -> Sensed:
    """The n-th state of a robot at 500 Hz, whose tick counts milliseconds."""
    stamp_ns = START_NS + number * 2 * MS
    return reading(stamp_ns, tau_est=np.full(14, number * 1e-3), tick=2 * number if tick is None else tick)


def lives(ticks: list[int]) -> list[bool]:
    """For each state, after half a second of a healthy robot, whether it shows life."""
    subject = Liveness(50 * MS)
    assert all(subject.judge(noisy(n)) for n in range(250))
    return [subject.judge(noisy(250 + n, tick)) for n, tick in enumerate(ticks)]


def test_a_tick_that_stands_still_shows_no_life() -> None:
    assert not any(lives([498] * 100))


def test_a_tick_that_went_back_shows_no_life_until_it_has_gone_on_from_there_for_a_while() -> None:
    shown = lives([2 * n for n in range(100)])
    assert not any(shown[:25]) and all(shown[28:])


def test_a_tick_that_jumped_shows_no_life_until_it_has_gone_on_from_there_for_a_while() -> None:
    shown = lives([10**6 + 2 * n for n in range(100)])
    assert not any(shown[:25]) and all(shown[28:])


def test_a_single_late_state_and_lost_ones_are_no_matter() -> None:
    assert lives([500, 501, 540, 542, 700, 702]) == [True] * 6


@pytest.mark.parametrize("per_state", [1, 2, 2000, 2_000_000])
def test_the_ticks_unit_does_not_matter(per_state: int) -> None:
    subject = Liveness(50 * MS)
    assert all(subject.judge(noisy(n, n * per_state % 2**32)) for n in range(5000))


def test_a_recording_played_again_and_again_is_never_good_for_long() -> None:
    subject = Liveness(50 * MS)
    for number in range(3000):
        subject.judge(noisy(number, 2 * (number % 100)))
    shown = [subject.judge(noisy(3000 + number, 2 * (number % 100))) for number in range(1000)]
    assert not all(shown[begin : begin + 100] == [True] * 100 for begin in range(0, 900, 100))
    longest = max(len(run) for run in "".join("x" if life else " " for life in shown).split())
    assert longest * 2 * MS < 0.5 * S, "less than it takes to acquire the arms, or to acknowledge"


@pytest.mark.parametrize("fault", FROZEN)
@pytest.mark.parametrize("mode", MODES)
def test_a_frozen_robot_is_damped_within_100_ms_and_left_in_silence_like_a_lost_one(mode: ArmMode, fault: str) -> None:
    rig = taken_in(mode)
    rig.robot.inject(fault)
    frozen_ns = rig.now_ns
    rig.run(0.1)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "robot_frozen"
    first_ns = next(at for at, command in rig.sent if at > frozen_ns and not command.kp.any() and command.weight == 1.0)
    assert mode is ArmMode.DAMPING or first_ns - frozen_ns <= 100 * MS
    rig.run(2.0)
    assert rig.command is None and rig.sent[-1][0] - frozen_ns < 1.1 * S
    assert rig.notices.count("robot_frozen") == 1 and "robot_lost" not in rig.notices
    assert not rig.controller.acknowledge().accepted
    rig.robot.inject("clear")
    rig.run(0.7)
    assert rig.command is None and rig.controller.acknowledge().accepted


@pytest.mark.parametrize("force_n", [-25.0, 40.0])
@pytest.mark.parametrize("fault", FROZEN)
def test_arms_that_a_person_pushed_hardly_move_by_themselves_on_a_frozen_state(
    fault: str, force_n: float, arm_sdk_timeout: str
) -> None:
    rig = taken_in(ArmMode.DAMPING)
    rig.run(1.0)
    rig.robot.inject(fault)
    rig.person = np.array([[0.0, 0.0, force_n], [0.0, 0.0, 0.0]])
    rig.run(0.5)
    rig.person = None
    rig.run(0.04)
    ours, own = [0.0], [0.0]

    def note() -> None:
        (ours if rig.robot.inbox.weight == 1.0 else own).append(float(np.abs(rig.dq[:7]).max()))

    rig.run(2.5, note)
    assert rig.command is None
    assert max(ours) < 0.4, "what is left of the old pose's torque, and then gravity, against the braking kd"
    # From half a second of silence on, a robot that ramps the weight down pulls the arms to its own pose.
    assert (len(own) > 1) == (arm_sdk_timeout == "ramp") and max(own) < 1.0


@pytest.mark.parametrize("fault", ["freeze_arms", "stop_state"])
@pytest.mark.parametrize("mode", [ArmMode.POLICY, ArmMode.DAMPING])
def test_the_last_command_before_the_silence_is_one_that_may_stand(mode: ArmMode, fault: str) -> None:
    rig = taken_in(mode)
    rig.run(1.0)
    rig.robot.inject(fault)
    rig.run(2.0)
    last = rig.sent[-1][1]
    assert rig.command is None and not last.kp.any() and float(np.abs(last.tau).max()) < 0.2
    assert last.kd == pytest.approx(rig.joints.kd_brake), "what nothing carries sinks against all of the damping"
