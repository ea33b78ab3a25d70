"""What goes wrong with the arms, and what the session makes of it."""

import pytest
from session_builders import Theatre

from h1_session_manager.values import Polled, Reply
from h1_training_node.message_numbers import ArmMode


def test_a_forced_damping_takes_executing_to_damping_with_its_reason():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.force_damping("session_lost")
    theatre.step()
    assert theatre.state == "DAMPING"
    assert "session_lost" in theatre.session.view().reason
    theatre.press("e")
    assert theatre.called("recorder/finish")[0]["end_reason"] == "session_lost"


def test_blocked_arms_take_executing_to_damping():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.enter(ArmMode.HOLD, "blocked")
    theatre.run(0.1)
    assert theatre.state == "DAMPING"
    assert theatre.arm.mode is ArmMode.DAMPING


def block(theatre: Theatre) -> None:
    """A joint is held back: the driver holds, and wants that acknowledged."""
    theatre.enter(ArmMode.HOLD, "blocked", acknowledge_needed=True, fault="blocked")


@pytest.mark.parametrize("state", ["WAITING", "READY", "SYNCING"])
def test_arms_that_are_blocked_elsewhere_are_said_to_hold_and_are_made_compliant(state):
    theatre = Theatre()
    theatre.offer = Polled(ready=state != "WAITING", epoch=1)
    if state == "SYNCING":
        theatre.sync_result = None
    theatre.to(state)
    theatre.run(1)
    block(theatre)
    theatre.run(1)
    assert theatre.state == state
    assert "  The arms hold where they are: blocked" in theatre.said
    assert not theatre.lines("  Arms in damping mode")
    assert theatre.arm.mode is ArmMode.DAMPING
    assert "blocked" in theatre.session.view().reason or state == "READY"
    if state == "READY":
        theatre.press("y")
        theatre.run_to("EXECUTING")
        assert len(theatre.called("arm_driver/acknowledge")) == 1


def test_blocked_arms_that_do_not_become_compliant_are_told_with_the_way_out():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False, "not now")
    block(theatre)
    theatre.run(1)
    assert "  The arms are not in damping mode: not now" in theatre.said
    assert "damping_refused" in theatre.events


def test_a_fault_that_comes_while_the_robot_has_its_arms_does_not_say_damping():
    theatre = Theatre()
    theatre.enter(ArmMode.RELEASED, "robot_lost", acknowledge_needed=True, fault="robot_lost")
    theatre.run(1)
    assert "  The robot's own controller has the arms: robot_lost" in theatre.said


@pytest.mark.parametrize("state", ["WAITING", "READY"])
def test_arms_that_a_person_has_put_into_damping_mode_stay_compliant_until_a_key_that_says_they_move(state):
    theatre = Theatre()
    theatre.offer = Polled(ready=state == "READY", epoch=1)
    theatre.to(state)
    theatre.run(1)
    theatre.enter(ArmMode.DAMPING, "first_session")
    theatre.offer = Polled(ready=True, epoch=1)
    theatre.run_to("READY")
    theatre.run(5)
    assert theatre.arm.mode is ArmMode.DAMPING
    if state == "READY":
        theatre.press("n")
        theatre.run(5)
        assert theatre.state == "WAITING"
        assert theatre.arm.mode is ArmMode.DAMPING
    else:
        theatre.press("y")
        theatre.run_to("EXECUTING")


@pytest.mark.parametrize("key", ["y", "n"])
def test_deciding_says_that_its_keys_make_the_arms_stiff(key):
    theatre = Theatre()
    theatre.sync_result = None
    theatre.to("DECIDING")
    assert "  The arms become stiff, where they are, with 'y' and 'n'" in theatre.said
    assert theatre.arm.mode is ArmMode.DAMPING
    theatre.run(1)
    theatre.press(key)
    theatre.run(1)
    assert theatre.arm.mode is ArmMode.HOLD


def test_a_fault_takes_labeling_to_damping():
    theatre = Theatre(max_execution_s=1.0)
    theatre.to("EXECUTING")
    theatre.run_to("LABELING")
    theatre.run(1)
    theatre.force_damping("motor_fault")
    theatre.step()
    assert theatre.state == "DAMPING"


def test_a_fault_in_another_state_stays_there_until_the_next_motion_key_acknowledges_it():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.force_damping("robot_lost")
    theatre.run(1)
    view = theatre.session.view()
    assert view.state == "READY"
    assert "robot_lost" in view.prompt
    assert "  Arms in damping mode: robot_lost" in theatre.said
    assert theatre.arm.mode is ArmMode.DAMPING
    theatre.press("y")
    theatre.run_to("EXECUTING")
    assert len(theatre.called("arm_driver/acknowledge")) == 1


def test_a_fault_that_lasts_refuses_the_motion_key_with_its_reason():
    theatre = Theatre()
    theatre.handlers["arm_driver/acknowledge"] = lambda _fields: Reply(False, "robot_lost: it lasts")
    theatre.to("READY")
    theatre.run(1)
    theatre.force_damping("robot_lost")
    theatre.run(1)
    theatre.press("y")
    theatre.run(3)
    assert theatre.state == "READY"
    assert "  'robot_lost' cannot be acknowledged: robot_lost: it lasts" in theatre.said


@pytest.mark.parametrize("state", ["EXECUTING", "LABELING"])
def test_a_silent_arm_driver_is_a_fault(state):
    theatre = Theatre(max_execution_s=1.0 if state == "LABELING" else 120.0)
    theatre.to("EXECUTING")
    theatre.run(10, lambda: theatre.state == state)
    theatre.absent = {"arm_driver"}
    theatre.run(2)
    assert theatre.state == "DAMPING"
    assert "arm_driver_lost" in theatre.session.view().reason


def test_arms_that_do_not_become_compliant_are_asked_again_and_shown():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False, "busy", {"mode": int(ArmMode.POLICY)})
    theatre.press("s")
    theatre.run(3)
    assert theatre.lines("  The arms are not in damping mode: busy")
    theatre.handlers["arm_driver/set_mode"] = theatre.set_mode
    theatre.run(2)
    assert theatre.arm.mode is ArmMode.DAMPING


@pytest.mark.parametrize(("accepted", "told"), [(True, 1), (False, 0)])
def test_a_motion_that_is_granted_after_it_was_taken_for_lost_is_told(accepted, told):
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.enter(ArmMode.DAMPING)
    theatre.run(1)
    theatre.calls.clear()
    deliver, theatre.session.reply = theatre.session.reply, lambda *_: None
    theatre.handlers["arm_driver/set_mode"] = lambda _fields: Reply(False)
    theatre.press("y")
    theatre.run(5)
    assert any("arm_driver did not answer 'arm_driver/set_mode'" in line for line in theatre.said)
    assert theatre.state == "READY"
    deliver(theatre.calls[0].id, Reply(accepted, "", {"mode": int(ArmMode.HOLD)}), theatre.now_ns)
    theatre.step()
    assert len(theatre.lines("  arm_driver has answered after all: it brought the arms into HOLD")) == told
    assert theatre.events.count("late_answer") == told


def test_a_damping_that_is_granted_late_is_as_it_should_be():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.calls.clear()
    deliver, theatre.session.reply = theatre.session.reply, lambda *_: None
    theatre.press("s")
    theatre.run(5)
    assert theatre.calls[0].fields["mode"] == ArmMode.DAMPING
    deliver(theatre.calls[0].id, Reply(True, "", {"mode": int(ArmMode.DAMPING)}), theatre.now_ns)
    theatre.step()
    assert "late_answer" not in theatre.events


def test_home_that_is_refused_discards_the_episode_just_opened():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    refuse = Reply(False, "overheated", {"mode": int(ArmMode.HOLD)})
    theatre.handlers["arm_driver/set_mode"] = lambda fields: (
        refuse if fields["mode"] == ArmMode.HOME else theatre.set_mode(fields)
    )
    theatre.press("y")
    theatre.run(3)
    assert theatre.state == "READY"
    assert len(theatre.called("recorder/discard")) == 1
    assert "  overheated" in theatre.said


def test_arms_that_take_too_long_to_home_move_no_further_once_that_is_said():
    theatre = Theatre(home_timeout_s=1.0)
    theatre._play = lambda: None
    theatre.run(1)
    theatre.press("y")
    theatre.run(6)
    assert theatre.state == "STARTING"
    assert theatre.arm.mode is ArmMode.HOLD
    assert "did not reach the home position" in theatre.said[-2]
