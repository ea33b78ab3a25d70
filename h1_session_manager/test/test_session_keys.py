from dataclasses import replace

import pytest
from session_builders import S, Theatre, streams

from h1_session_manager.values import Polled, Reply
from h1_training_node.message_numbers import ArmMode


def test_a_key_that_starts_motion_is_ignored_just_after_its_state_was_entered():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(0.3)
    assert "y" not in theatre.listed
    theatre.press("y")
    theatre.run(5)
    assert theatre.state == "READY"
    theatre.press("y")
    theatre.run_to("EXECUTING")


def test_a_held_key_never_moves_the_arms():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(1)
    theatre.calls.clear()
    theatre.press("y")
    theatre.run(0.5)
    for _ in range(200):
        theatre.press("y")
        theatre.step()
    moving = [fields for fields in theatre.called("arm_driver/set_mode") if fields["mode"] != ArmMode.HOLD]
    assert not moving
    assert theatre.state == "READY"


def test_a_key_held_while_the_preflight_fails_does_not_count_when_it_passes():
    theatre = Theatre()
    theatre.recorder = replace(theatre.recorder, streams=streams(ego_cam=-1.0))
    theatre.to("READY")
    for step in range(200):
        if step == 100:
            theatre.recorder = replace(theatre.recorder, streams=streams())
        theatre.press("y")
        theatre.step()
    assert not theatre.called("recorder/start")
    assert theatre.session.view().countdown_s == 0


def test_a_held_x_discards_nothing():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.press("x")
    theatre.run(0.5)
    for _ in range(100):
        theatre.press("x")
        theatre.step()
    assert not theatre.called("recorder/discard")


def test_any_other_key_between_takes_the_first_x_back():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.press("x")
    theatre.run(1)
    theatre.press("g")
    theatre.run(1)
    theatre.press("x")
    assert not theatre.called("recorder/discard")


def test_the_second_x_counts_only_for_a_while():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.press("x")
    theatre.run(6)
    theatre.press("x")
    theatre.run(1)
    assert theatre.state == "DAMPING"
    assert not theatre.called("recorder/discard")


def test_stop_keys_are_never_ignored():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("s")
    assert theatre.state == "DAMPING"
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("q")
    assert theatre.state == "STOPPED"


@pytest.mark.parametrize("key", ["7", "enter", "escape", " "])
def test_any_key_takes_an_announced_start_back(key):
    theatre = Theatre(motion_countdown_s=3.0)
    theatre.to("READY")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    assert 1.5 < theatre.session.view().countdown_s < 2.5
    assert theatre.listed == ("any", "q")
    theatre.press(key)
    theatre.run(5)
    assert theatre.state == "READY"
    assert theatre.session.view().countdown_s == 0
    assert not theatre.called("recorder/start")
    assert "Taken back" in "".join(theatre.said)


def test_any_key_takes_an_announced_resume_back_to_compliant_arms():
    theatre = Theatre(motion_countdown_s=3.0)
    theatre.to("DAMPING")
    theatre.run(1)
    theatre.press("r")
    theatre.run(1)
    assert theatre.arm.mode is ArmMode.HOLD
    theatre.press("e")
    theatre.run(1)
    assert theatre.state == "DAMPING"
    assert theatre.arm.mode is ArmMode.DAMPING


def test_q_during_a_countdown_is_an_emergency_stop():
    theatre = Theatre(motion_countdown_s=3.0)
    theatre.to("DAMPING")
    theatre.run(1)
    theatre.press("r")
    theatre.run(1)
    theatre.press("q")
    assert theatre.state == "STOPPED"
    assert theatre.arm.mode is ArmMode.DAMPING


def test_a_start_taken_back_while_the_recorder_answers_leaves_no_open_episode():
    theatre = Theatre(motion_countdown_s=0.0)
    theatre.to("READY")
    theatre.run(1)
    theatre.absent = {"recorder"}
    theatre.press("y")
    theatre.press("n")
    call = next(call for call in theatre.calls if call.service == "recorder/start")
    theatre.absent = set()
    theatre.session.reply(call.id, theatre.start_recording(dict(call.fields)), theatre.now_ns)
    theatre.step()
    assert [fields["episode_id"] for fields in theatre.called("recorder/discard")] == ["epoch1/episode_0"]
    assert theatre.state == "READY"


def test_an_unknown_key_is_answered_with_the_list():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("k")
    assert theatre.said[-1] == (
        "  'k' does nothing in EXECUTING: 's' stop execution and enter damping mode, 'q' emergency stop"
    )


def test_capital_letters_count():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("S")
    assert theatre.state == "DAMPING"


def test_a_service_does_what_the_key_does_and_says_what_is_possible_if_not():
    theatre = Theatre()
    theatre.offer = Polled(ready=False)
    theatre.to("WAITING")
    assert theatre.call("stop") == (False, "'stop' is not possible; state WAITING; possible: quit")
    theatre.offer = Polled(ready=True, epoch=1)
    theatre.run_to("READY")
    theatre.run(0.2)
    success, _ = theatre.call("start")
    assert success
    theatre.run_to("EXECUTING")
    assert theatre.call("stop")[0]
    assert theatre.state == "DAMPING"
    assert theatre.call("discard")[0]
    theatre.run_to("DECIDING")


def test_a_countdown_is_taken_back_by_a_service():
    theatre = Theatre(motion_countdown_s=3.0)
    theatre.to("READY")
    theatre.run(1)
    theatre.press("y")
    theatre.run(0.5)
    assert theatre.call("cancel")[0]
    theatre.run(5)
    assert theatre.state == "READY"


def test_the_emergency_stop_service_works_in_every_state():
    for state in ("STARTING", "WAITING", "READY", "EXECUTING", "DAMPING", "DECIDING"):
        theatre = Theatre()
        theatre.to(state)
        assert theatre.call("emergency_stop")[0]
        assert theatre.state == "STOPPED", state


def releasing(theatre: Theatre) -> Theatre:
    """The arm driver has agreed to give the arms back, and is at it."""
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    theatre.run(1)
    theatre.press("y" if theatre.state == "STOPPED" else "q")
    theatre.run(1)
    assert len(theatre.called("arm_driver/release")) == 1
    theatre.calls.clear()
    return theatre


def test_q_stops_a_release_that_was_confirmed_and_asks_again():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("q")
    releasing(theatre).press("q")
    assert theatre.called("arm_driver/emergency_stop")
    assert theatre.said[-1].startswith("  Press 'y' to release")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    assert theatre.called("arm_driver/release")


def test_the_stop_by_service_stops_a_release_too():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.press("q")
    assert releasing(theatre).call("emergency_stop") == (True, "the session is in STOPPED")
    assert theatre.called("arm_driver/emergency_stop")


def test_a_second_q_in_waiting_stops_the_arms_on_their_way_back_but_a_held_one_does_not():
    theatre = Theatre()
    theatre.offer = Polled(ready=False, epoch=0)
    theatre.to("WAITING")
    releasing(theatre).press("q")
    assert theatre.state == "STOPPED"
    assert theatre.called("arm_driver/emergency_stop")
    theatre = Theatre()
    theatre.offer = Polled(ready=False, epoch=0)
    theatre.to("WAITING")
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    for _ in range(50):
        theatre.press("q")
        theatre.step()
    assert theatre.state == "WAITING"
    assert not theatre.called("arm_driver/emergency_stop")


@pytest.mark.parametrize("every_s", [0.2, 0.5, 0.69, 0.8])
def test_hammering_q_while_the_arms_are_given_back_stops_them(every_s):
    theatre = Theatre()
    theatre.offer = Polled(ready=False, epoch=0)
    theatre.to("WAITING")
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    theatre.press("q")
    began_ns = theatre.now_ns
    while theatre.state == "WAITING":
        theatre.run(every_s)
        theatre.press("q")
        assert theatre.now_ns - began_ns <= 1.5 * S, theatre.said
    assert theatre.state == "STOPPED"
    assert theatre.called("arm_driver/emergency_stop")


def test_a_q_that_begins_to_repeat_late_and_slowly_is_still_held():
    theatre = Theatre()
    theatre.offer = Polled(ready=False, epoch=0)
    theatre.to("WAITING")
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    theatre.press("q")
    theatre.run(0.66)
    for _ in range(20):
        theatre.press("q")
        theatre.run(0.1)
    assert not theatre.called("arm_driver/emergency_stop")
    theatre.run(0.3)
    theatre.press("q")
    assert theatre.state == "STOPPED"


def test_q_while_the_session_ends_by_a_signal_says_that_it_changes_nothing():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    theatre.session.interrupt("SIGINT", theatre.now_ns)
    theatre.press("q")
    assert "the session is ending" in theatre.said[-1]
    assert theatre.call("emergency_stop") == (False, "the session is ending")


def test_enter_behind_an_answer_is_part_of_it_and_takes_nothing_back():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(1)
    theatre.press("y", "enter")
    assert theatre.said[-1] == "  Enter is not needed: a key counts by itself"
    theatre.run_to("EXECUTING")
    theatre.run(1)
    theatre.press("s", "enter")
    assert theatre.state == "DAMPING"
    theatre.run(1)
    theatre.press("r")
    theatre.run(0.8)
    theatre.press("enter")  # no longer a habit: any key takes the motion back
    assert any("Taken back by key 'enter'" in line for line in theatre.said)
