"""What the session does when the arms are taken from it: by the arm guard, or on their way back to the robot."""

from dataclasses import replace

import pytest
from session_builders import Theatre

from h1_session_manager.values import Reply
from h1_training_node.message_numbers import ArmMode
from h1_training_node.process import EXIT_EXPLAINED


@pytest.mark.parametrize("state", ["WAITING", "READY", "EXECUTING", "LABELING", "DAMPING", "DECIDING"])
def test_a_guard_that_took_over_stops_the_session_though_the_driver_says_nothing(state):
    theatre = Theatre(max_execution_s=1.0) if state == "LABELING" else Theatre()
    if state == "WAITING":
        theatre.offer = replace(theatre.offer, ready=False)
    theatre.to("EXECUTING" if state == "LABELING" else state)
    theatre.run(20, lambda: theatre.state == state)
    theatre.absent.add("arm_driver")
    theatre.guard_active = True
    theatre.step()
    assert theatre.state == "STOPPED"
    assert "the arm driver hangs or died" in theatre.session.view().reason
    theatre.run(8)
    assert theatre.session.view().prompt.startswith("Press 'y' to release")
    theatre.press("y")
    theatre.run(1)
    assert theatre.called("arm_guard/release")
    assert not theatre.called("arm_driver/release")
    assert any("The arm guard gives the arms back" in line for line in theatre.said)
    theatre.run(8)
    assert theatre.status == EXIT_EXPLAINED


def test_the_session_stays_until_the_guard_has_given_the_arms_back_and_says_that_q_does_not_stop_it():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.guard_active = True
    theatre.run(1)
    theatre.press("y")
    theatre.run(6)
    assert theatre.status is None
    assert "Only the robot's own stop" in theatre.session.view().prompt
    assert theatre.listed == ()
    theatre.calls.clear()
    theatre.press("q")
    assert "'q' does nothing more" in theatre.said[-1]
    assert theatre.call("emergency_stop") == (False, "the session is ending")
    assert not theatre.calls
    theatre.run(3)
    assert theatre.status == EXIT_EXPLAINED


def test_a_guard_that_does_not_give_the_arms_back_is_told_and_can_be_asked_again():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.handlers["arm_guard/release"] = lambda _fields: Reply(False, "robot_lost: not now")
    theatre.guard_active = True
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    assert theatre.status is None
    assert "  robot_lost: not now" in theatre.said
    assert theatre.said[-1].startswith("  Press 'y' to release")
    theatre.handlers["arm_guard/release"] = lambda _fields: Reply(True)
    theatre.run(1)
    theatre.press("y")
    theatre.run(9)
    assert theatre.status == EXIT_EXPLAINED


@pytest.mark.parametrize("lost_first", [False, True])
def test_a_driver_that_hung_is_a_stop_whose_release_the_guard_sees_to(lost_first):
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    fault = "robot_lost" if lost_first else "driver_hung"
    theatre.enter(ArmMode.DAMPING, "driver_hung", fault=fault, acknowledge_needed=True)
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(False, "driver_hung: the arm guard sees to the arms")
    theatre.run_to("STOPPED")
    assert any("the arm driver stood still for too long" in line for line in theatre.said), theatre.said
    theatre.handlers["arm_guard/release"] = lambda _fields: Reply(False, "robot_lost: not now; Ctrl+C ends the session")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    assert theatre.status is None and "  robot_lost: not now; Ctrl+C ends the session" in theatre.said
    theatre.handlers["arm_guard/release"] = lambda _fields: Reply(True)
    theatre.press("y")
    theatre.run(9)
    assert theatre.status == EXIT_EXPLAINED and not theatre.called("arm_driver/release")


def releasing(state: str) -> Theatre:
    """A session that has asked for the release; the arms are on their way back."""
    theatre = Theatre()
    if state == "WAITING":
        theatre.offer = replace(theatre.offer, ready=False)
    theatre.to("WAITING" if state == "WAITING" else "EXECUTING")
    theatre.run(1)
    if state == "STOPPED":
        theatre.press("q")
        theatre.run(1)

    def release(_fields):
        theatre.arm = replace(theatre.arm, transition=True)
        return Reply(True)

    theatre.handlers["arm_driver/release"] = release
    theatre.press("q" if state == "WAITING" else "y")
    theatre.run(2)
    assert theatre.session.view().prompt.endswith("'q' is an emergency stop")
    theatre.said.clear()
    return theatre


@pytest.mark.parametrize("state", ["WAITING", "STOPPED"])
@pytest.mark.parametrize("why", ["emergency_stop", "robot_lost"])
def test_a_release_that_is_stopped_from_elsewhere_is_told_at_once_and_can_be_asked_again(state, why):
    theatre = releasing(state)
    theatre.enter(ArmMode.DAMPING, why, transition=False, fault=why, acknowledge_needed=True)
    theatre.run(0.5)
    assert any(why in line for line in theatre.said), theatre.said
    assert theatre.state == ("WAITING" if (state, why) == ("WAITING", "robot_lost") else "STOPPED")
    assert theatre.status is None
    theatre.handlers["arm_driver/release"] = theatre.release
    theatre.run(1)
    theatre.press("q" if theatre.state == "WAITING" else "y")
    theatre.run(2)
    assert theatre.status == 0


def test_a_driver_that_dies_while_it_gives_the_arms_back_is_told():
    theatre = releasing("STOPPED")
    theatre.absent.add("arm_driver")
    theatre.run(6)
    assert any("went silent while it gave the arms back" in line for line in theatre.said), theatre.said
