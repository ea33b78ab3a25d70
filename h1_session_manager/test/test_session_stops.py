# SPDX-License-Identifier: Apache-2.0
"""Emergency stops, signals and the release after them."""

from dataclasses import replace

import pytest
from session_builders import Harness, S

from h1_session_manager.values import Polled, ReleaseAnnounced, Reply
from h1_training_node.message_numbers import ArmMode
from h1_training_node.process import EXIT_EXPLAINED


def test_a_stop_that_crosses_a_change_of_mode_still_reaches_damping():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.enter(ArmMode.HOLD, "stale_action")
    harness.press("s")
    assert harness.arm.mode is ArmMode.DAMPING


def test_the_remotes_button_stops_the_session():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.force_damping("emergency_stop")
    harness.step()
    assert harness.state == "STOPPED"
    assert harness.called("recorder/finish")[0]["end_reason"] == "emergency_stop"


def test_an_emergency_stop_asks_for_damping_before_anything_else():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.calls.clear()
    harness.press("q")
    assert harness.calls[0].service == "arm_driver/emergency_stop"
    assert [fields["end_reason"] for fields in harness.called("recorder/finish")] == ["emergency_stop"]


def test_stopped_is_left_by_a_key_that_releases_the_arms():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    harness.run(2)
    assert harness.status is None
    assert harness.lines("  Saved: ")
    harness.press("y")
    harness.run(1)
    assert harness.arm.mode is ArmMode.RELEASED
    assert harness.status == 0


def test_a_further_stop_in_stopped_goes_out_again_and_is_answered():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    harness.run(2)
    harness.press("q")
    assert len(harness.called("arm_driver/emergency_stop")) == 2
    assert "were stopped already" in harness.said[-1] and "Press 'y' to release" in harness.said[-1]


def test_arms_that_the_guard_has_are_released_by_the_guard():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.force_damping("guard_took_over")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(False, "guard_took_over")
    harness.handlers["arm_driver/acknowledge"] = lambda _fields: Reply(False, "guard_took_over")
    harness.run_to("STOPPED")
    harness.force_damping("robot_lost")  # the driver's first fault; what the guard did must not be forgotten for it
    harness.run(1)
    harness.press("y")
    harness.run(9)
    assert harness.called("arm_guard/release")
    assert harness.status == EXIT_EXPLAINED


def test_the_topics_stop_is_heeded_and_our_own_echo_is_not():
    harness = Harness()
    harness.to("WAITING")
    harness.engine.emergency("session_manager", "echo", harness.now_ns)
    assert harness.state != "STOPPED"
    harness.engine.emergency("phone", "a cup fell", harness.now_ns)
    harness.step()
    assert harness.state == "STOPPED"
    assert "a cup fell" in harness.engine.view().reason


@pytest.mark.parametrize("state", ["STARTING", "WAITING", "READY", "EXECUTING", "DAMPING", "DECIDING"])
def test_a_signal_damps_saves_releases_and_ends_with_130(state):
    harness = Harness()
    if state == "WAITING":
        harness.offer = Polled(ready=False)
    harness.to(state)
    harness.calls.clear()
    harness.engine.interrupt("interrupted by Ctrl+C", harness.now_ns)
    harness.step()
    assert harness.listed == ()
    assert harness.engine.view().prompt.startswith("The session is ")
    harness.run(13, lambda: harness.status is not None)
    assert harness.status == 130
    assert harness.calls[0].service == "arm_driver/emergency_stop"
    assert harness.arm.mode is ArmMode.RELEASED
    if state in ("EXECUTING", "DAMPING"):
        assert harness.called("recorder/finish")[0]["end_reason"] == "interrupted by Ctrl+C"
        assert harness.lines("  Saved: ")


def test_a_signal_ends_the_session_in_time_even_if_nobody_answers():
    harness = Harness()
    harness.to("EXECUTING")
    harness.absent = {"recorder", "arm_driver", "policy_bridge"}
    harness.engine.interrupt("SIGTERM", harness.now_ns)
    harness.run(13.5, lambda: harness.status is not None)
    assert harness.status == 130
    assert harness.lines("  Save failed: ")


def test_a_stand_still_of_the_session_manager_itself_is_nobodys_loss():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.now_ns += 3 * S
    harness.engine.observe(replace(harness.recorder, stamp_ns=harness.now_ns), harness.now_ns)  # before any arm_status
    harness.step()
    assert harness.state == "EXECUTING"
    assert "session_manager_stood_still" in harness.events
    harness.absent = {"arm_driver"}
    harness.run(1)
    assert harness.state == "DAMPING"
    assert harness.engine.view().reason == "arm_driver_lost"


def test_the_release_counts_down_on_the_screen_like_every_motion():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    harness.run(1)
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.press("y")
    harness.run(1)
    view = harness.engine.view()
    assert 1.9 < view.countdown_s < 2.1
    assert view.prompt == "The arms return to the robot's own controller: stand clear. 'q' is an emergency stop"
    assert "  The arms return to the robot's own controller in 3 s: stand clear" in harness.said
    harness.press("q")
    assert harness.engine.view().countdown_s == 0


@pytest.mark.parametrize("end", ["q in WAITING", "Ctrl+C", "by the guard"])
def test_every_end_of_a_session_counts_down_before_the_arms_move(end):
    harness = Harness()
    harness.to("WAITING")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.run(1)
    if end == "Ctrl+C":
        harness.engine.interrupt("interrupted by Ctrl+C", harness.now_ns)
    elif end == "by the guard":
        harness.force_damping("guard_took_over")
        harness.run(1)
        harness.press("y")
    else:
        harness.press("q")
    harness.run(0.5)
    assert 2.0 < harness.engine.view().countdown_s <= 3.0


def test_a_release_that_somebody_else_asked_for_counts_down_too():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    harness.engine.observe(ReleaseAnnounced(), harness.now_ns)
    assert harness.engine.view().countdown_s == 3.0


def test_an_episode_that_a_stop_closed_is_owed_to_the_target():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.press("q")
    harness.run(1)
    assert harness.lines("  Saved")
    assert harness.engine.context.memory.owed == {1}
