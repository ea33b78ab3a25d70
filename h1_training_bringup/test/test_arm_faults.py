# SPDX-License-Identifier: Apache-2.0
"""Faults of motors and robot, heat, foreign commanders, the guard, the remote: what each forces and forbids."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import Rig, S, both_arms, taken_in
from arm_scenarios import FORWARD_REACH, place

from h1_training_node.message_numbers import ArmMode


@pytest.mark.parametrize("fault", ["motor_disabled 15", "motor_disabled 12", "mode_machine 9", "tilt 0.6"])
@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.POLICY])
def test_a_disabled_motor_a_changed_machine_and_a_falling_robot_are_motor_faults(fault: str, mode: ArmMode) -> None:
    rig = taken_in(mode)
    rig.robot.inject(fault)
    rig.run(0.05)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "motor_fault"
    assert not rig.controller.acknowledge().accepted
    rig.robot.inject("clear")
    rig.run(0.05)
    assert rig.controller.acknowledge().accepted
    assert rig.notices.count("motor_fault") == 1


@pytest.mark.parametrize("fault", ["motor_disabled 20", "tilt -0.7"])
def test_arms_are_not_acquired_with_a_motor_fault(fault: str) -> None:
    rig = Rig()
    rig.robot.inject(fault)
    rig.run(0.6)
    assert rig.ask(ArmMode.HOLD).startswith("motor_fault")


def test_a_robot_that_was_restarted_with_another_number_can_be_acquired_once_the_arms_were_released() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("mode_machine 9")
    rig.run(0.1)
    assert rig.controller.faults.first == "motor_fault" and not rig.controller.acknowledge().accepted
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.take()
    assert rig.sent[-1][1].mode_machine == 9


@pytest.mark.parametrize(("motor", "offset_rad"), [(13, 4.5), (16, 3.0), (16, -4.0)])
def test_a_joint_measured_where_it_cannot_be_sinks_slowly_and_the_other_13_keep_their_gravity_torque(
    motor: int, offset_rad: float
) -> None:
    rig = taken_in(ArmMode.HOLD)
    place(rig, both_arms(FORWARD_REACH), {})
    joint, before, speeds = motor - 13, rig.q, []
    rig.robot.inject(f"encoder_offset {motor} {offset_rad}")
    rig.run(4.0, lambda: speeds.append(np.abs(rig.dq).max()))
    assert rig.mode is ArmMode.DAMPING and "joint_out_of_range" in rig.controller.faults
    last = rig.sent[-1][1]
    assert rig.command is not None and max(speeds) < 1.0 and last.kd == pytest.approx(rig.joints.kd_brake)
    assert abs(last.tau[joint]) <= rig.joints.friction_nm[joint] + 1e-9
    assert np.abs(rig.q - before)[7:].max() < 0.1, "the other arm stays, carried"
    assert np.abs(last.tau[7:]).max() > 3.0
    sensed = rig.intake.latest()
    assert sensed is not None
    expected = rig.controller._gravity(sensed)
    friction = rig.joints.friction_nm + rig.joints.friction_share * np.abs(expected)
    assert (np.abs(last.tau - expected) <= friction + 0.05).all()


def test_a_lean_of_less_than_the_limit_is_no_fault() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("tilt 0.3")
    rig.run(0.3)
    assert rig.mode is ArmMode.HOLD


def test_heat_is_reported_then_forbids_policy_then_damps_then_lets_down() -> None:
    rig = taken_in(ArmMode.HOLD)
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
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("temperature 20 95")
    rig.run(0.1)
    rig.robot.inject("temperature 20 88")
    rig.run(0.1)
    assert not rig.controller.acknowledge().accepted, "88 is within the hysteresis of 90"
    rig.robot.inject("temperature 20 60")
    rig.run(0.1)
    assert rig.controller.acknowledge().accepted


def test_a_foreign_commander_damps_and_is_named() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.controller.conditions.foreign = "teleop also publishes on /arm_sdk; end it"
    rig.run(0.05)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "foreign_commander"
    assert "teleop" in rig.controller.acknowledge().reason
    rig.controller.conditions.foreign = ""
    rig.run(0.05)
    assert rig.controller.acknowledge().accepted


def test_a_foreign_commander_forbids_acquiring_the_arms() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.controller.conditions.foreign = "teleop also publishes on /arm_sdk; end it"
    assert rig.ask(ArmMode.HOLD).startswith("foreign_commander: teleop")


@pytest.mark.parametrize("mode", [ArmMode.HOME, ArmMode.POLICY])
def test_without_the_guard_nothing_sets_the_arms_in_motion(mode: ArmMode) -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.guard_lives = False
    rig.run(0.6)
    assert rig.ask(mode).startswith("no_guard: ") and rig.mode is ArmMode.HOLD
    assert rig.ask(ArmMode.DAMPING) == "" and rig.ask(ArmMode.HOLD).startswith("no_guard: ")
    rig.guard_lives = True
    rig.run(0.3)
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(0.1)
    assert rig.ask(mode) == ""


@pytest.mark.parametrize("mode", [ArmMode.HOME, ArmMode.POLICY])
def test_a_guard_that_hangs_ends_the_motion_in_hold_within_half_a_second(mode: ArmMode) -> None:
    rig = taken_in(mode)
    rig.guard_lives = False
    at_ns = rig.now_ns
    while rig.mode is mode:
        if rig._ticks % 5 == 0:
            rig.act(rig.q)
        rig.tick()
    assert rig.mode is ArmMode.HOLD and rig.controller.reason == "no_guard"
    assert rig.now_ns - at_ns <= 0.5 * S and rig.notices.count("no_guard") == 1


def test_once_the_guard_has_taken_over_the_driver_is_silent_for_good() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.controller.yield_to_guard(rig.now_ns)
    sent = len(rig.sent)
    rig.run(1.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "guard_took_over"
    assert rig.notices.count("guard_took_over") == 1
    assert not rig.controller.acknowledge().accepted
    assert "arm_guard/release" in rig.controller.release(rig.now_ns).reason
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.tick()
    assert rig.controller.has_ended


def test_the_remotes_button_is_an_emergency_stop() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("remote_button B")
    rig.run(0.02)
    assert rig.mode is ArmMode.DAMPING and rig.controller.faults.first == "emergency_stop"
    rig.robot.inject("remote_button")
    rig.run(1.0)
    assert rig.mode is ArmMode.DAMPING and not rig.controller.acknowledge().accepted


def test_another_button_of_the_remote_does_nothing() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.robot.inject("remote_button A X up")
    rig.run(0.1)
    assert rig.mode is ArmMode.HOLD


def test_a_fault_in_the_middle_of_releasing_damps_and_the_ramp_goes_on() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.controller.release(rig.now_ns)
    rig.run(4.0)
    rig.robot.inject("tilt 0.8")
    rig.run(0.1)
    assert rig.mode is ArmMode.DAMPING
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
