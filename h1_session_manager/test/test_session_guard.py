# SPDX-License-Identifier: Apache-2.0
"""What the session does when the arms are taken from it: by the arm guard, or on their way back to the robot."""

from dataclasses import replace

import pytest
from session_builders import Harness

from h1_session_manager.values import Reply
from h1_session_manager.words import in_words
from h1_training_node.message_numbers import ArmMode
from h1_training_node.process import EXIT_EXPLAINED


@pytest.mark.parametrize("state", ["WAITING", "READY", "EXECUTING", "LABELING", "DAMPING", "DECIDING"])
def test_a_guard_that_took_over_stops_the_session_though_the_driver_says_nothing(state):
    harness = Harness(max_execution_s=1.0) if state == "LABELING" else Harness()
    if state == "WAITING":
        harness.offer = replace(harness.offer, ready=False)
    harness.to("EXECUTING" if state == "LABELING" else state)
    harness.run(20, lambda: harness.state == state)
    harness.absent.add("arm_driver")
    harness.guard_active = True
    harness.step()
    assert harness.state == "STOPPED"
    assert "the arm driver hangs or died" in harness.engine.view().reason
    harness.run(8)
    assert harness.engine.view().prompt.startswith("Press 'y' to release")
    harness.press("y")
    harness.run(1)
    assert harness.called("arm_guard/release")
    assert not harness.called("arm_driver/release")
    assert any("The arm guard releases the arms" in line for line in harness.said)
    harness.run(8)
    assert harness.status == EXIT_EXPLAINED


def test_the_session_stays_until_the_guard_has_given_the_arms_back_and_says_that_q_does_not_stop_it():
    harness = Harness()
    harness.to("EXECUTING")
    harness.guard_active = True
    harness.run(1)
    harness.press("y")
    harness.run(6)
    assert harness.status is None
    assert "Only the robot's own stop" in harness.engine.view().prompt
    assert harness.listed == ()
    harness.calls.clear()
    harness.press("q")
    assert "'q' does nothing more" in harness.said[-1]
    assert harness.call("emergency_stop") == (False, "the session is ending")
    assert not harness.calls
    harness.run(3)
    assert harness.status == EXIT_EXPLAINED


def test_a_guard_that_does_not_release_the_arms_is_reported_and_can_be_asked_again():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.handlers["arm_guard/release"] = lambda _fields: Reply(False, "robot_lost: not now")
    harness.guard_active = True
    harness.run(1)
    harness.press("y")
    harness.run(1)
    assert harness.status is None
    assert "  robot_lost: not now" in harness.said
    assert harness.said[-1].startswith("  Press 'y' to release")
    harness.handlers["arm_guard/release"] = lambda _fields: Reply(True)
    harness.run(1)
    harness.press("y")
    harness.run(9)
    assert harness.status == EXIT_EXPLAINED


@pytest.mark.parametrize("lost_first", [False, True])
def test_a_driver_that_hung_is_a_stop_whose_release_the_guard_sees_to(lost_first):
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    fault = "robot_lost" if lost_first else "driver_hung"
    harness.enter(ArmMode.DAMPING, "driver_hung", fault=fault, acknowledge_needed=True)
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(False, "driver_hung: the arm guard sees to the arms")
    harness.run_to("STOPPED")
    assert any("the arm driver stood still for too long" in line for line in harness.said), harness.said
    harness.handlers["arm_guard/release"] = lambda _fields: Reply(False, "robot_lost: not now; Ctrl+C ends the session")
    harness.run(1)
    harness.press("y")
    harness.run(1)
    assert harness.status is None and "  robot_lost: not now; Ctrl+C ends the session" in harness.said
    harness.handlers["arm_guard/release"] = lambda _fields: Reply(True)
    harness.press("y")
    harness.run(9)
    assert harness.status == EXIT_EXPLAINED and not harness.called("arm_driver/release")


def releasing(state: str) -> Harness:
    """A session that has asked for the release; the arms are on their way back."""
    harness = Harness()
    if state == "WAITING":
        harness.offer = replace(harness.offer, ready=False)
    harness.to("WAITING" if state == "WAITING" else "EXECUTING")
    harness.run(1)
    if state == "STOPPED":
        harness.press("q")
        harness.run(1)

    def release(_fields):
        harness.arm = replace(harness.arm, transition=True)
        return Reply(True)

    harness.handlers["arm_driver/release"] = release
    harness.press("q" if state == "WAITING" else "y")
    harness.run(2)
    assert harness.engine.view().prompt.endswith("'q' is an emergency stop")
    harness.said.clear()
    return harness


@pytest.mark.parametrize("state", ["WAITING", "STOPPED"])
@pytest.mark.parametrize("why", ["emergency_stop", "robot_lost"])
def test_a_release_that_is_stopped_from_elsewhere_is_reported_at_once_and_can_be_asked_again(state, why):
    harness = releasing(state)
    harness.enter(ArmMode.DAMPING, why, transition=False, fault=why, acknowledge_needed=True)
    harness.run(0.5)
    assert any(in_words(why) in line for line in harness.said), harness.said
    assert harness.state == ("WAITING" if (state, why) == ("WAITING", "robot_lost") else "STOPPED")
    assert harness.status is None
    harness.handlers["arm_driver/release"] = harness.release
    harness.run(1)
    harness.press("q" if harness.state == "WAITING" else "y")
    harness.run(2)
    assert harness.status == 0


def test_a_driver_that_dies_while_it_releases_the_arms_is_reported():
    harness = releasing("STOPPED")
    harness.absent.add("arm_driver")
    harness.run(6)
    assert any("went silent while it released the arms" in line for line in harness.said), harness.said
