"""Emergency stops, signals and the release after them."""

import pytest
from session_builders import Theatre

from h1_session_manager.values import Polled, Reply
from h1_training_node.message_numbers import ArmMode
from h1_training_node.process import EXIT_EXPLAINED


def test_a_stop_that_crosses_a_change_of_mode_still_reaches_damping():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.enter(ArmMode.HOLD, "stale_action")
    theatre.press("s")
    assert theatre.arm.mode is ArmMode.DAMPING


def test_the_remotes_button_stops_the_session():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.force_damping("emergency_stop")
    theatre.step()
    assert theatre.state == "STOPPED"
    assert theatre.called("recorder/finish")[0]["end_reason"] == "emergency_stop"


def test_an_emergency_stop_asks_for_damping_before_anything_else():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.calls.clear()
    theatre.press("q")
    assert theatre.calls[0].service == "arm_driver/emergency_stop"
    assert [fields["end_reason"] for fields in theatre.called("recorder/finish")] == ["emergency_stop"]


def test_stopped_is_left_by_a_key_that_gives_the_arms_back():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("q")
    theatre.run(2)
    assert theatre.status is None
    assert theatre.lines("  Saved: ")
    theatre.press("y")
    theatre.run(1)
    assert theatre.arm.mode is ArmMode.RELEASED
    assert theatre.status == 0


def test_arms_that_the_guard_has_are_given_back_by_the_guard():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.force_damping("guard_took_over")
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(False, "guard_took_over")
    theatre.handlers["arm_driver/acknowledge"] = lambda _fields: Reply(False, "guard_took_over")
    theatre.run_to("STOPPED")
    theatre.force_damping("robot_lost")  # the driver's first fault; what the guard did must not be forgotten for it
    theatre.run(1)
    theatre.press("y")
    theatre.run(9)
    assert theatre.called("arm_guard/release")
    assert theatre.status == EXIT_EXPLAINED


def test_the_topics_stop_is_heeded_and_our_own_echo_is_not():
    theatre = Theatre()
    theatre.to("WAITING")
    theatre.session.emergency("session_manager", "echo", theatre.now_ns)
    assert theatre.state != "STOPPED"
    theatre.session.emergency("phone", "a cup fell", theatre.now_ns)
    theatre.step()
    assert theatre.state == "STOPPED"
    assert "a cup fell" in theatre.session.view().reason


@pytest.mark.parametrize("state", ["STARTING", "WAITING", "READY", "EXECUTING", "DAMPING", "DECIDING"])
def test_a_signal_damps_saves_gives_back_and_ends_with_130(state):
    theatre = Theatre()
    if state == "WAITING":
        theatre.offer = Polled(ready=False)
    theatre.to(state)
    theatre.calls.clear()
    theatre.session.interrupt("SIGINT", theatre.now_ns)
    theatre.step()
    theatre.run(13, lambda: theatre.status is not None)
    assert theatre.status == 130
    assert theatre.calls[0].service == "arm_driver/emergency_stop"
    assert theatre.arm.mode is ArmMode.RELEASED
    if state in ("EXECUTING", "DAMPING"):
        assert theatre.called("recorder/finish")[0]["end_reason"] == "interrupted"
        assert theatre.lines("  Saved: ")


def test_a_signal_ends_the_session_in_time_even_if_nobody_answers():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.absent = {"recorder", "arm_driver", "policy_bridge"}
    theatre.session.interrupt("SIGTERM", theatre.now_ns)
    theatre.run(13.5, lambda: theatre.status is not None)
    assert theatre.status == 130
    assert theatre.lines("  Save failed: ")


def test_an_episode_that_a_stop_closed_is_owed_to_the_target():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.press("q")
    theatre.run(1)
    assert theatre.lines("  Saved")
    assert theatre.session.board.memory.owed == {1}
