# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the arms, and what the session makes of it."""

import pytest
from session_builders import Harness

from h1_session_manager.values import Polled, Reply
from h1_session_manager.words import in_words, meaning
from h1_training_node.message_numbers import ArmMode


def test_a_forced_damping_takes_executing_to_damping_with_its_reason():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.force_damping("session_lost")
    harness.step()
    assert harness.state == "DAMPING"
    assert "session_lost" in harness.engine.view().reason
    harness.press("e")
    assert harness.called("recorder/finish")[0]["end_reason"] == "session_lost"


def test_blocked_arms_take_executing_to_damping():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.enter(ArmMode.HOLD, "blocked")
    harness.run(0.1)
    assert harness.state == "DAMPING"
    assert harness.arm.mode is ArmMode.DAMPING


def block(harness: Harness) -> None:
    """A joint is held back: the driver holds, and wants that acknowledged."""
    harness.enter(ArmMode.HOLD, "blocked", acknowledge_needed=True, fault="blocked")


@pytest.mark.parametrize("state", ["WAITING", "READY", "SYNCING"])
def test_arms_that_are_blocked_elsewhere_are_said_to_hold_and_are_made_compliant(state):
    harness = Harness()
    harness.offer = Polled(ready=state != "WAITING", epoch=1)
    if state == "SYNCING":
        harness.sync_result = None
    harness.to(state)
    harness.run(1)
    block(harness)
    harness.run(1)
    assert harness.state == state
    assert "  The arms hold where they are: blocked" in harness.said
    assert not harness.lines("  Arms in damping mode")
    assert harness.arm.mode is ArmMode.DAMPING
    assert "blocked" in harness.engine.view().reason or state == "READY"
    if state == "READY":
        harness.press("y")
        harness.run_to("EXECUTING")
        assert len(harness.called("arm_driver/acknowledge")) == 1


def test_blocked_arms_that_do_not_become_compliant_are_reported_with_the_way_out():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False, "not now")
    block(harness)
    harness.run(1)
    assert "  The arms are not in damping mode: not now" in harness.said
    assert "damping_refused" in harness.events


def test_a_fault_that_comes_while_the_robot_has_its_arms_does_not_say_damping():
    harness = Harness()
    harness.enter(ArmMode.RELEASED, "robot_lost", acknowledge_needed=True, fault="robot_lost")
    harness.run(1)
    assert "  The robot's own controller has the arms: no state from the robot" in harness.said


@pytest.mark.parametrize("state", ["WAITING", "READY"])
def test_arms_that_a_person_has_put_into_damping_mode_stay_compliant_until_a_key_that_says_they_move(state):
    harness = Harness()
    harness.offer = Polled(ready=state == "READY", epoch=1)
    harness.to(state)
    harness.run(1)
    harness.enter(ArmMode.DAMPING, "first_session")
    harness.offer = Polled(ready=True, epoch=1)
    harness.run_to("READY")
    harness.run(5)
    assert harness.arm.mode is ArmMode.DAMPING
    if state == "READY":
        harness.press("n")
        harness.run(5)
        assert harness.state == "WAITING"
        assert harness.arm.mode is ArmMode.DAMPING
    else:
        harness.press("y")
        harness.run_to("EXECUTING")


@pytest.mark.parametrize("key", ["y", "n"])
def test_deciding_says_that_its_keys_make_the_arms_stiff(key):
    harness = Harness()
    harness.sync_result = None
    harness.to("DECIDING")
    assert "  The arms become stiff, where they are, with 'y' and 'n'" in harness.said
    assert harness.arm.mode is ArmMode.DAMPING
    harness.run(1)
    harness.press(key)
    harness.run(1)
    assert harness.arm.mode is ArmMode.HOLD


def test_a_fault_takes_labeling_to_damping():
    harness = Harness(max_execution_s=1.0)
    harness.to("EXECUTING")
    harness.run_to("LABELING")
    harness.run(1)
    harness.force_damping("motor_fault")
    harness.step()
    assert harness.state == "DAMPING"


def test_a_fault_in_another_state_stays_there_until_the_next_motion_key_acknowledges_it():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.force_damping("robot_lost")
    harness.run(1)
    view = harness.engine.view()
    assert view.state == "READY"
    assert "no state from the robot" in view.prompt
    assert "  Arms in damping mode: no state from the robot" in harness.said
    assert harness.arm.mode is ArmMode.DAMPING
    harness.press("y")
    harness.run_to("EXECUTING")
    assert len(harness.called("arm_driver/acknowledge")) == 1


@pytest.mark.parametrize("fault", ["motor_fault", "robot_frozen", "joint_out_of_range"])
@pytest.mark.parametrize("state", ["READY", "EXECUTING"])
def test_a_fault_is_said_with_what_it_means_and_what_to_do(state, fault):
    harness = Harness()
    harness.to(state)
    harness.run(1)
    harness.force_damping(fault)
    harness.run(1)
    at = harness.said.index(f"  Arms in damping mode: {in_words(fault)}")
    assert harness.said[at + 1] == f"  {meaning(fault)}" and len(meaning(fault)) > 60


def test_a_policy_that_insists_on_a_collision_ends_the_execution_with_what_to_do():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.run(0.1)
    harness.enter(ArmMode.HOLD, "collision_ahead")
    harness.run_to("LABELING")
    assert any("the arms hold: a collision is ahead: the policy insists" in line for line in harness.said)
    assert any("guide the arms to an open pose" in line for line in harness.said)


def test_a_fault_that_lasts_refuses_the_motion_key_with_its_reason():
    harness = Harness()
    harness.handlers["arm_driver/acknowledge"] = lambda _fields: Reply(False, "robot_lost: it lasts")
    harness.to("READY")
    harness.run(1)
    harness.force_damping("robot_lost")
    harness.run(1)
    harness.press("y")
    harness.run(3)
    assert harness.state == "READY"
    assert "  'no state from the robot' cannot be acknowledged: robot_lost: it lasts" in harness.said


@pytest.mark.parametrize("state", ["EXECUTING", "LABELING"])
def test_a_silent_arm_driver_is_a_fault(state):
    harness = Harness(max_execution_s=1.0 if state == "LABELING" else 120.0)
    harness.to("EXECUTING")
    harness.run(10, lambda: harness.state == state)
    harness.absent = {"arm_driver"}
    harness.run(2)
    assert harness.state == "DAMPING"
    assert "arm_driver_lost" in harness.engine.view().reason


def test_arms_that_do_not_become_compliant_are_asked_again_and_reported():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False, "busy", {"mode": int(ArmMode.POLICY)})
    harness.press("s")
    harness.run(3)
    assert harness.lines("  The arms are not in damping mode: busy")
    harness.handlers["arm_driver/set_mode"] = harness.set_mode
    harness.run(2)
    assert harness.arm.mode is ArmMode.DAMPING


@pytest.mark.parametrize(("accepted", "reports"), [(True, 1), (False, 0)])
def test_a_motion_that_is_granted_after_it_was_taken_for_lost_is_reported(accepted, reports):
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.enter(ArmMode.DAMPING)
    harness.run(1)
    harness.calls.clear()
    deliver, harness.engine.reply = harness.engine.reply, lambda *_: None
    harness.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False)
    harness.press("y")
    harness.run(5)
    assert any("arm_driver did not answer 'arm_driver/set_mode'" in line for line in harness.said)
    assert harness.state == "READY"
    deliver(harness.calls[0].id, Reply(accepted, "", {"mode": int(ArmMode.HOLD)}), harness.now_ns)
    harness.step()
    assert len(harness.lines("  arm_driver answered late: it brought the arms into HOLD")) == reports
    assert harness.events.count("late_answer") == reports


def test_a_damping_that_is_granted_late_is_as_it_should_be():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.calls.clear()
    deliver, harness.engine.reply = harness.engine.reply, lambda *_: None
    harness.press("s")
    harness.run(5)
    assert harness.calls[0].fields["mode"] == ArmMode.DAMPING
    deliver(harness.calls[0].id, Reply(True, "", {"mode": int(ArmMode.DAMPING)}), harness.now_ns)
    harness.step()
    assert "late_answer" not in harness.events


def test_home_that_is_refused_discards_the_episode_just_opened():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    refuse = Reply(False, "overheated", {"mode": int(ArmMode.HOLD)})
    harness.handlers["arm_driver/set_mode"] = lambda fields: (
        refuse if fields["mode"] == ArmMode.HOME else harness.set_mode(fields)
    )
    harness.press("y")
    harness.run(3)
    assert harness.state == "READY"
    assert len(harness.called("recorder/discard")) == 1
    assert "  overheated" in harness.said


def test_arms_that_take_too_long_to_home_move_no_further_once_that_is_said():
    harness = Harness(home_timeout_s=1.0)
    harness._play = lambda: None
    harness.run(1)
    harness.press("y")
    harness.run(6)
    assert harness.state == "STARTING"
    assert harness.arm.mode is ArmMode.HOLD
    assert "did not reach the home position" in harness.said[-2]
