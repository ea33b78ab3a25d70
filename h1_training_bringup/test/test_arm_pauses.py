# SPDX-License-Identifier: Apache-2.0
"""The driver's own process stands still: it asks the guard before it commands again, or is silent for good."""

from __future__ import annotations

import pytest
from arm_builders import MODES, Rig, pause, taken_in

from h1_training_node.message_numbers import ArmMode


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_of_the_driver_itself_is_not_taken_for_a_lost_robot(mode: ArmMode) -> None:
    rig = taken_in(mode)
    pause(rig, 0.35)
    rig.run(0.2)
    assert rig.mode in (mode, ArmMode.HOLD) and not rig.controller.faults
    assert rig.sent[-1][0] == rig.now_ns


def test_after_a_pause_of_its_own_the_driver_asks_the_guard_before_it_commands() -> None:
    rig = taken_in(ArmMode.POLICY)
    rig.guard_answers = False
    pause(rig, 0.06)
    sent = len(rig.sent)
    rig.run(0.1)
    question = rig.controller.question
    assert len(rig.sent) == sent and question != 0
    rig.controller.guard_answered(rig.now_ns, question, is_watching=False)
    rig.run(1.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "guard_took_over"


def test_an_answer_from_before_another_pause_counts_for_nothing() -> None:
    rig = taken_in(ArmMode.HOLD)
    rig.guard_answers = False
    pause(rig, 0.06)
    rig.run(0.004)
    old = rig.controller.question
    pause(rig, 0.2)
    rig.run(0.004)
    sent = len(rig.sent)
    rig.controller.guard_answered(rig.now_ns, old, is_watching=True)
    rig.run(0.1)
    assert len(rig.sent) == sent and rig.controller.question not in (0, old)
    rig.controller.guard_answered(rig.now_ns, rig.controller.question, is_watching=True)
    rig.run(0.1)
    assert rig.sent[-1][0] == rig.now_ns and rig.mode is ArmMode.HOLD


def test_a_guard_that_gives_no_answer_and_acquires_no_arms_is_lost_and_the_driver_damps() -> None:
    rig = taken_in(ArmMode.POLICY)
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


@pytest.mark.parametrize("mode", MODES)
def test_a_driver_that_stood_still_for_long_never_commands_again(mode: ArmMode) -> None:
    rig = taken_in(mode)
    pause(rig, 1.1)
    sent = len(rig.sent)
    rig.run(2.0)
    assert len(rig.sent) == sent and rig.controller.faults.first == "driver_hung"
    assert rig.notices.count("driver_hung") == 1
    assert "arm_guard/release" in rig.controller.release(rig.now_ns).reason
    assert not rig.controller.acknowledge().accepted
    rig.controller.yield_to_guard(rig.now_ns)
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
