"""What goes wrong, and what the session makes of it."""

from dataclasses import replace

import pytest
from session_builders import Theatre, streams

from h1_session_manager.values import Connection, Polled, RecorderState, Reply
from h1_training_node.message_numbers import ArmMode
from h1_training_node.process import EXIT_EXPLAINED


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
    theatre = Theatre(max_execution=1.0)
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


def test_stale_action_is_resumed_when_the_policy_is_back_in_time():
    theatre = Theatre(policy_silence_timeout=2.0)
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.run(0.1)
    theatre.policy_answers = False
    theatre.enter(ArmMode.HOLD, "stale_action")
    theatre.run(1.0)
    assert theatre.state == "EXECUTING"
    theatre.policy_answers = True
    theatre.arms_in_policy()
    assert theatre.state == "EXECUTING"


def test_stale_action_that_lasts_ends_the_execution_as_policy_lost():
    theatre = Theatre(policy_silence_timeout=2.0)
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.run(0.1)
    theatre.policy_answers = False
    theatre.enter(ArmMode.HOLD, "stale_action")
    theatre.run(3.0)
    assert theatre.state == "LABELING"
    theatre.press("n")
    theatre.run(1)
    theatre.press("e")
    assert theatre.called("recorder/finish")[0]["end_reason"] == "policy_lost"


def test_a_hold_for_any_other_reason_is_not_left_by_the_program():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.enter(ArmMode.HOLD, "limits")
    theatre.run(1.0)
    assert theatre.state == "LABELING"


def test_a_first_chunk_that_does_not_come_ends_the_execution_with_the_reason():
    theatre = Theatre(first_chunk_timeout_s=2.0)
    theatre.policy_answers = False
    theatre.policy = replace(theatre.policy, reason="shape (50, 7)")
    theatre.to("EXECUTING")
    theatre.run(5.0)
    assert theatre.state == "LABELING"
    assert "no action from the policy within 2 s: shape (50, 7)" in theatre.session.view().reason


WAITS = "The arms hold and wait for the policy's first actions; they will move without a further key"


def waiting_for_the_policy(seconds: float) -> Theatre:
    """EXECUTING, the arms home, and no actions for so long; then they come."""
    theatre = Theatre(motion_countdown=2.0)
    theatre.policy_answers = False
    theatre.to("EXECUTING")
    theatre.run(30.0, lambda: theatre.arm.reason == "home_reached")
    theatre.spoken.clear()
    theatre.run(seconds)
    theatre.policy_answers = True
    return theatre


def test_arms_that_wait_for_the_policys_first_actions_say_that_they_will_move():
    theatre = waiting_for_the_policy(3.0)
    assert theatre.said.count(f"  {WAITS}") == 1
    assert [spoken.text for spoken in theatre.spoken] == [f"{WAITS}."]
    assert theatre.session.view().reason == WAITS
    theatre.run(0.5)
    assert theatre.arm.mode is ArmMode.POLICY
    assert theatre.session.view().reason == ""


def test_actions_that_come_at_once_are_not_waited_for_aloud():
    theatre = waiting_for_the_policy(0.5)
    theatre.run(0.5)
    assert theatre.arm.mode is ArmMode.POLICY
    assert f"  {WAITS}" not in theatre.said


def test_arms_that_stood_for_long_are_announced_and_counted_down_anew_before_the_policy_moves_them():
    theatre = waiting_for_the_policy(20.0)
    theatre.run(1.0)
    assert theatre.arm.mode is ArmMode.HOLD
    assert theatre.said[-1] == "  The policy moves the arms in 2 s: press any key to cancel"
    assert theatre.spoken[-1].text == "The policy moves the arms in 2 seconds."
    assert theatre.session.view().countdown_s > 0
    assert theatre.listed == ("any", "q")
    theatre.run(2.0)
    assert theatre.arm.mode is ArmMode.POLICY
    assert theatre.listed == ("s", "q")


@pytest.mark.parametrize("by", ["k", "s", "y", "service"])
def test_any_key_in_that_countdown_ends_in_compliant_arms_with_the_episode_kept(by):
    theatre = waiting_for_the_policy(20.0)
    theatre.run(1.0)
    if by == "service":
        assert theatre.call("stop")[0]
    else:
        theatre.press(by)
    theatre.run(5.0)
    assert theatre.state == "DAMPING"
    assert theatre.arm.mode is ArmMode.DAMPING
    assert theatre.session.episode.is_open
    theatre.press("e")
    assert theatre.called("recorder/finish")[0]["end_reason"] == "operator"


def test_actions_withdrawn_while_they_are_announced_move_nothing_until_there_are_others():
    theatre = waiting_for_the_policy(20.0)
    theatre.run(1.0)
    theatre.policy_answers = False
    theatre.run(3.0)
    assert theatre.arm.mode is ArmMode.HOLD
    assert theatre.session.view().reason == WAITS
    theatre.policy_answers = True
    theatre.arms_in_policy()


def test_the_policys_own_end_is_a_finish():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.run(0.1)
    theatre.policy = replace(theatre.policy, done=True)
    theatre.run(0.1)
    assert theatre.state == "LABELING"


def test_an_old_chunk_does_not_start_the_policy():
    theatre = Theatre()
    theatre.to("EXECUTING")
    old = replace(theatre.policy, chunk_ready=True, stamp_ns=theatre.now_ns - 10**10)
    theatre.absent = {"policy_bridge"}
    for _ in range(100):
        theatre.step()
        theatre.session.observe(old, theatre.now_ns)
    assert theatre.arm.mode is ArmMode.HOLD


@pytest.mark.parametrize("state", ["EXECUTING", "LABELING"])
def test_a_silent_arm_driver_is_a_fault(state):
    theatre = Theatre(max_execution=1.0 if state == "LABELING" else 0.0)
    theatre.to("EXECUTING")
    theatre.run(10, lambda: theatre.state == state)
    theatre.absent = {"arm_driver"}
    theatre.run(2)
    assert theatre.state == "DAMPING"
    assert "arm_driver_lost" in theatre.session.view().reason


def test_a_recorder_that_closes_by_itself_ends_the_execution():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.recorder = replace(theatre.recorder, state=RecorderState.FAILED, last_error="disk_low")
    theatre.run(0.1)
    assert theatre.state == "LABELING"
    assert "disk_low" in theatre.session.view().reason
    theatre.press("n")
    theatre.run(1)
    theatre.press("r")
    assert "Cannot resume" in theatre.said[-1]
    theatre.press("e")
    theatre.run_to("DECIDING")
    assert theatre.lines("  Save failed: disk_low")


@pytest.mark.parametrize(
    ("node", "state", "key", "stays"),
    [
        ("recorder", "READY", "y", "READY"),
        ("arm_driver", "READY", "y", "READY"),
        ("recorder", "DAMPING", "x", "DAMPING"),
        ("arm_driver", "STARTING", "y", "STARTING"),
    ],
)
def test_a_node_that_does_not_answer_is_named_and_the_session_goes_on(node, state, key, stays):
    theatre = Theatre()
    theatre.to(state)
    theatre.run(1)
    theatre.absent = {node}
    theatre.handlers = {}
    theatre.press(key)
    theatre.run(1)
    theatre.press(key) if key == "x" else None
    theatre.run(60)
    assert theatre.state == stays
    assert node in " ".join(theatre.said[-6:])


def test_a_save_without_an_answer_ends_in_deciding():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.run(1)
    theatre.absent = {"recorder"}
    theatre.press("e")
    theatre.run(30)
    assert theatre.state == "DECIDING"
    assert theatre.lines("  Save failed: recorder did not answer 'recorder/finish'")


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


def test_preflight_refuses_to_start_and_names_the_camera():
    theatre = Theatre()
    theatre.recorder = replace(theatre.recorder, streams=streams(cam_left_wrist=-1.0))
    theatre.to("READY")
    theatre.run(5)
    assert "  Not ready: camera cam_left_wrist: no image yet; check its cable, power and server" in theatre.said
    assert "y" not in theatre.listed
    theatre.press("y")
    theatre.run(5)
    assert theatre.state == "READY"
    assert theatre.said[-1] == "  Not ready: camera cam_left_wrist: no image yet; check its cable, power and server"
    theatre.recorder = replace(theatre.recorder, streams=streams())
    theatre.run(2)
    assert theatre.said[-1] == "Cameras ready: All cameras working!"


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


def test_a_preflight_that_fails_during_the_countdown_starts_nothing():
    theatre = Theatre(motion_countdown=2.0)
    theatre.to("READY")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    theatre.policy = replace(theatre.policy, connection=Connection.DISCONNECTED, reason="closed")
    theatre.run(3)
    assert theatre.state == "READY"
    assert not theatre.called("recorder/start")


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


def test_an_episode_left_open_by_an_earlier_session_is_closed():
    theatre = Theatre()
    theatre.recorder = replace(theatre.recorder, state=RecorderState.RECORDING, episode_id="epoch0/episode_7")
    theatre.to("READY")
    theatre.run(1)
    assert theatre.called("recorder/finish")[0]["episode_id"] == "epoch0/episode_7"
    theatre.press("y")
    theatre.run_to("EXECUTING")


def test_guidance_by_hand_has_a_limit_that_saves():
    theatre = Theatre(max_damping=5.0, limit_warning_s=2.0)
    theatre.to("DAMPING")
    theatre.run(4)
    assert theatre.session.view().reason.startswith("time limit in")
    theatre.run_to("DECIDING", 5)
    assert theatre.called("recorder/finish")[0]["end_reason"] == "time_limit"


def test_an_episode_that_a_stop_closed_is_owed_to_the_target():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.press("q")
    theatre.run(1)
    assert theatre.lines("  Saved")
    assert theatre.session.memory.owed == {1}


def test_arms_that_take_too_long_to_home_move_no_further_once_that_is_said():
    theatre = Theatre(home_timeout_s=1.0)
    theatre._play = lambda: None
    theatre.run(1)
    theatre.press("y")
    theatre.run(6)
    assert theatre.state == "STARTING"
    assert theatre.arm.mode is ArmMode.HOLD
    assert "did not reach the home position" in theatre.said[-2]


def test_a_label_that_fails_later_is_told_to_the_person_once():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(1)
    theatre.press("g")
    assert theatre.said[-1] == "  Marked as success"
    theatre.recorder = replace(theatre.recorder, state=RecorderState.SAVING)
    theatre.run(1)
    theatre.recorder = replace(theatre.recorder, state=RecorderState.SAVED, last_error="read-only file system")
    theatre.run(1)
    told = "  The label was not written: read-only file system; press 'g' or 'b' again"
    assert theatre.said.count(told) == 1
    assert theatre.events.count("label_failed") == 1
