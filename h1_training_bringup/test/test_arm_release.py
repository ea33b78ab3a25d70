# SPDX-License-Identifier: Apache-2.0
"""Releasing the arms: on request, on an emergency stop, and when the process ends."""

from __future__ import annotations

import pytest
from arm_builders import Rig, S, taken

from h1_training_node.message_numbers import ArmMode

HOME_POSE = (0.0, 0.2, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, 0.4, 0.0, 0.0, 0.0)


def test_releasing_warns_waits_three_seconds_and_ramps_for_three() -> None:
    rig = taken()
    rig.ask(ArmMode.DAMPING)
    rig.run(0.2)
    begin_ns = rig.now_ns
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.run(0.5)
    assert "release_warning" in rig.notices and rig.controller.reason == "released"
    full = [at for at, command in rig.sent if at > begin_ns and command.weight == 1.0]
    falling = [at for at, command in rig.sent if at > begin_ns and 0.0 < command.weight < 1.0]
    assert full[-1] - begin_ns >= 2.99 * S
    assert falling[-1] - falling[0] >= 2.98 * S
    assert rig.sent[-1][1].weight == 0.0


def test_a_share_of_the_arms_is_acquired_and_released_as_slowly_as_all_of_them() -> None:
    rig = taken(weight_limit=0.2)
    rising = [at for at, command in rig.sent if command.weight < 0.2]
    assert rising[-1] - rising[0] >= 1.98 * S
    assert rig.ask(ArmMode.DAMPING) == "" and rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    begin = len(rising) + 1
    falling = [at for at, command in rig.sent[begin:] if 0.0 < command.weight < 0.2]
    assert falling[-1] - falling[0] >= 2.98 * S
    rig.run(0.2)
    assert rig.sent[-1][1].weight == 0.0


def test_after_releasing_it_says_weight_zero_for_a_while_and_is_silent() -> None:
    rig = taken(release_warning_s=0.5, release_ramp_s=0.5)
    rig.controller.release(rig.now_ns)
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.run(1.0)
    assert sum(command.weight == 0.0 for _, command in rig.sent) >= 20
    assert rig.command is None


def test_a_release_from_hold_stays_stiff_so_that_nothing_drops() -> None:
    rig = taken()
    assert rig.controller.release(rig.now_ns).accepted
    rig.run(1.0)
    assert rig.mode is ArmMode.HOLD and rig.controller.transition


def test_no_mode_but_damping_is_granted_while_the_arms_are_released() -> None:
    rig = taken()
    rig.controller.release(rig.now_ns)
    rig.run(0.5)
    assert rig.ask(ArmMode.POLICY).startswith("releasing")
    assert rig.ask(ArmMode.HOME).startswith("releasing")
    assert rig.ask(ArmMode.DAMPING) == ""
    assert not rig.controller.release(rig.now_ns).accepted


def test_the_arms_can_be_acquired_again_after_they_were_released() -> None:
    rig = taken(release_warning_s=0.5, release_ramp_s=0.5)
    rig.controller.release(rig.now_ns)
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.run(0.5)
    rig.take()
    assert rig.controller.handover.weight == 1.0


@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING])
def test_an_emergency_stop_is_damping_at_once_and_stays_until_the_arms_are_released(mode: ArmMode) -> None:
    rig = taken(release_warning_s=0.5, release_ramp_s=0.5)
    rig.ask(mode)
    rig.run(0.1)
    rig.controller.emergency_stop(rig.now_ns, "a test", "just so")
    rig.tick()
    command = rig.sent[-1][1]
    assert not command.kp.any() and command.weight == 1.0
    assert rig.notices.count("emergency_stop") == 1
    rig.run(2.0)
    assert rig.mode is ArmMode.DAMPING and rig.controller.handover.weight == 1.0
    assert not rig.controller.acknowledge().accepted
    assert rig.ask(ArmMode.HOLD) != ""
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    assert not rig.controller.faults


def test_who_stopped_and_why_is_reported_though_another_was_faster() -> None:
    rig = taken()
    for who, why in (("service", "called"), ("pedal", "stepped on"), ("service", "called"), ("pedal", "stepped on")):
        rig.controller.emergency_stop(rig.now_ns, who, why)
    details = [notice.detail for notice in rig.controller.notices if notice.reason == "emergency_stop"]
    assert details == ["by service: called", "by pedal: stepped on"]
    for n in range(100):
        rig.controller.emergency_stop(rig.now_ns, "somebody", f"reason {n}")
    assert len(rig.controller.notices) < 12, "nobody can flood the log with it"
    rig.run(0.1)
    assert rig.controller.release(rig.now_ns).accepted
    rig.run_until(lambda: rig.mode is ArmMode.RELEASED, "released")
    rig.take()
    rig.controller.emergency_stop(rig.now_ns, "service", "called")
    assert [notice.detail for notice in rig.controller.notices][:1] == ["by service: called"], "a new stop is reported"


def test_an_emergency_stop_while_the_arms_are_released_stops_that_too() -> None:
    rig = taken()
    rig.controller.release(rig.now_ns)
    rig.run(4.0)
    rig.controller.emergency_stop(rig.now_ns, "a test", "")
    weight = rig.controller.handover.weight
    rig.run(2.0)
    assert rig.controller.handover.weight == weight and rig.mode is ArmMode.DAMPING


def test_an_emergency_stop_before_the_arms_are_acquired_forbids_acquiring_them() -> None:
    rig = Rig()
    rig.run(0.6)
    rig.controller.emergency_stop(rig.now_ns, "a test", "")
    assert rig.ask(ArmMode.HOLD) != "" and rig.sent == []
    assert rig.controller.release(rig.now_ns).accepted
    assert rig.ask(ArmMode.HOLD) == ""


@pytest.mark.parametrize("mode", [ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING])
def test_the_end_of_the_process_is_damping_at_once_then_warning_ramp_and_done(mode: ArmMode) -> None:
    rig = taken()
    rig.ask(mode)
    rig.run(0.1)
    begin_ns = rig.now_ns
    rig.controller.end(rig.now_ns, "ending_sigint")
    rig.tick()
    assert not rig.sent[-1][1].kp.any()
    rig.controller.emergency_stop(rig.now_ns, "a test", "pressed as well")
    rig.heartbeat = False
    rig.run_until(lambda: rig.controller.has_ended, "ended", 9.0)
    assert 6.0 * S <= rig.now_ns - begin_ns <= 6.3 * S
    assert rig.sent[-1][1].weight == 0.0


def test_the_end_of_the_process_before_anything_was_acquired_is_immediate() -> None:
    rig = Rig()
    rig.run(0.2)
    rig.controller.end(rig.now_ns, "ending_sigint")
    assert rig.controller.has_ended and rig.sent == []
