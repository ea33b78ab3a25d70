# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from session_builders import Harness, S, streams

from h1_session_manager.values import Polled, Reply
from h1_training_node.message_numbers import ArmMode


def test_a_key_that_starts_motion_is_ignored_just_after_its_state_was_entered():
    harness = Harness()
    harness.to("READY")
    harness.run(0.3)
    assert "y" not in harness.listed
    harness.press("y")
    harness.run(5)
    assert harness.state == "READY"
    harness.press("y")
    harness.run_to("EXECUTING")


def test_a_held_key_never_moves_the_arms():
    harness = Harness()
    harness.to("DECIDING")
    harness.run(1)
    harness.calls.clear()
    harness.press("y")
    harness.run(0.5)
    for _ in range(200):
        harness.press("y")
        harness.step()
    moving = [fields for fields in harness.called("arm_driver/set_mode") if fields["mode"] != ArmMode.HOLD]
    assert not moving
    assert harness.state == "READY"


def test_a_key_held_while_the_preflight_fails_does_not_count_when_it_passes():
    harness = Harness()
    harness.recorder = replace(harness.recorder, streams=streams(ego_cam=-1.0))
    harness.to("READY")
    for step in range(200):
        if step == 100:
            harness.recorder = replace(harness.recorder, streams=streams())
        harness.press("y")
        harness.step()
    assert not harness.called("recorder/start")
    assert harness.engine.view().countdown_s == 0


def test_a_held_x_discards_nothing():
    harness = Harness()
    harness.to("DAMPING")
    harness.press("x")
    harness.run(0.5)
    for _ in range(100):
        harness.press("x")
        harness.step()
    assert not harness.called("recorder/discard")


def test_any_other_key_between_cancels_the_first_x():
    harness = Harness()
    harness.to("DECIDING")
    harness.press("x")
    harness.run(1)
    harness.press("g")
    harness.run(1)
    harness.press("x")
    assert not harness.called("recorder/discard")


def test_the_second_x_counts_only_for_a_while():
    harness = Harness()
    harness.to("DAMPING")
    harness.press("x")
    harness.run(6)
    harness.press("x")
    harness.run(1)
    assert harness.state == "DAMPING"
    assert not harness.called("recorder/discard")


def test_stop_keys_are_never_ignored():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("s")
    assert harness.state == "DAMPING"
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    assert harness.state == "STOPPED"


@pytest.mark.parametrize("key", ["7", "enter", "escape", " "])
def test_any_key_cancels_an_announced_start(key):
    harness = Harness(motion_countdown_s=3.0)
    harness.to("READY")
    harness.run(1)
    harness.press("y")
    harness.run(1)
    assert 1.5 < harness.engine.view().countdown_s < 2.5
    assert harness.listed == ("any", "q")
    moves = "The arms move home, then the policy moves them"
    assert harness.engine.view().prompt == f"{moves}: press any key to cancel"
    harness.press(key)
    harness.run(5)
    assert harness.state == "READY"
    assert harness.engine.view().countdown_s == 0
    assert not harness.called("recorder/start")
    assert "Cancelled by" in "".join(harness.said)


def test_any_key_cancels_an_announced_resume_to_compliant_arms():
    harness = Harness(motion_countdown_s=3.0)
    harness.to("DAMPING")
    harness.run(1)
    harness.press("r")
    harness.run(1)
    assert harness.arm.mode is ArmMode.HOLD
    harness.press("e")
    harness.run(1)
    assert harness.state == "DAMPING"
    assert harness.arm.mode is ArmMode.DAMPING


def test_q_during_a_countdown_is_an_emergency_stop():
    harness = Harness(motion_countdown_s=3.0)
    harness.to("DAMPING")
    harness.run(1)
    harness.press("r")
    harness.run(1)
    harness.press("q")
    assert harness.state == "STOPPED"
    assert harness.arm.mode is ArmMode.DAMPING


def test_a_start_cancelled_while_the_recorder_answers_leaves_no_open_episode():
    harness = Harness(motion_countdown_s=0.0)
    harness.to("READY")
    harness.run(1)
    harness.absent = {"recorder"}
    harness.press("y")
    harness.press("n")
    call = next(call for call in harness.calls if call.service == "recorder/start")
    harness.absent = set()
    harness.engine.reply(call.id, harness.start_recording(dict(call.fields)), harness.now_ns)
    harness.step()
    assert [fields["episode_id"] for fields in harness.called("recorder/discard")] == ["epoch1/episode_0"]
    assert harness.state == "READY"


def test_an_unknown_key_is_answered_with_the_list():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("k")
    assert harness.said[-1] == (
        "  'k' is no key of EXECUTING; keys: 's' stop execution and enter damping mode, 'q' emergency stop"
    )


def test_capital_letters_count():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("S")
    assert harness.state == "DAMPING"


def test_a_service_does_what_the_key_does_and_says_what_is_possible_if_not():
    harness = Harness()
    harness.offer = Polled(ready=False)
    harness.to("WAITING")
    assert harness.call("stop") == (False, "'stop' is not possible; state WAITING; possible: quit")
    harness.offer = Polled(ready=True, epoch=1)
    harness.run_to("READY")
    harness.run(0.2)
    success, _ = harness.call("start")
    assert success
    harness.run_to("EXECUTING")
    assert harness.call("stop")[0]
    assert harness.state == "DAMPING"
    assert harness.call("discard")[0]
    harness.run_to("DECIDING")


def test_a_countdown_is_cancelled_by_a_service():
    harness = Harness(motion_countdown_s=3.0)
    harness.to("READY")
    harness.run(1)
    harness.press("y")
    harness.run(0.5)
    assert harness.call("cancel")[0]
    harness.run(5)
    assert harness.state == "READY"


def test_the_emergency_stop_service_works_in_every_state():
    for state in ("STARTING", "WAITING", "READY", "EXECUTING", "DAMPING", "DECIDING"):
        harness = Harness()
        harness.to(state)
        assert harness.call("emergency_stop")[0]
        assert harness.state == "STOPPED", state


def releasing(harness: Harness) -> Harness:
    """The arm driver has agreed to release the arms, and is at it."""
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.run(1)
    harness.press("y" if harness.state == "STOPPED" else "q")
    harness.run(1)
    assert len(harness.called("arm_driver/release")) == 1
    harness.calls.clear()
    return harness


def test_q_stops_a_release_that_was_confirmed_and_asks_again():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    releasing(harness).press("q")
    assert harness.called("arm_driver/emergency_stop")
    assert harness.said[-1].startswith("  Press 'y' to release")
    harness.run(1)
    harness.press("y")
    harness.run(1)
    assert harness.called("arm_driver/release")


def test_the_stop_by_service_stops_a_release_too():
    harness = Harness()
    harness.to("EXECUTING")
    harness.press("q")
    assert releasing(harness).call("emergency_stop") == (True, "the session is in STOPPED")
    assert harness.called("arm_driver/emergency_stop")


def test_a_second_q_in_waiting_stops_the_arms_on_their_way_back_but_a_held_one_does_not():
    harness = Harness()
    harness.offer = Polled(ready=False, epoch=0)
    harness.to("WAITING")
    releasing(harness).press("q")
    assert harness.state == "STOPPED"
    assert harness.called("arm_driver/emergency_stop")
    harness = Harness()
    harness.offer = Polled(ready=False, epoch=0)
    harness.to("WAITING")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    for _ in range(50):
        harness.press("q")
        harness.step()
    assert harness.state == "WAITING"
    assert not harness.called("arm_driver/emergency_stop")


@pytest.mark.parametrize("every_s", [0.2, 0.5, 0.69, 0.8])
def test_hammering_q_while_the_arms_are_released_stops_them(every_s):
    harness = Harness()
    harness.offer = Polled(ready=False, epoch=0)
    harness.to("WAITING")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.press("q")
    began_ns = harness.now_ns
    while harness.state == "WAITING":
        harness.run(every_s)
        harness.press("q")
        assert harness.now_ns - began_ns <= 1.5 * S, harness.said
    assert harness.state == "STOPPED"
    assert harness.called("arm_driver/emergency_stop")


def test_a_q_that_begins_to_repeat_late_and_slowly_is_still_held():
    harness = Harness()
    harness.offer = Polled(ready=False, epoch=0)
    harness.to("WAITING")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.press("q")
    harness.run(0.66)
    for _ in range(20):
        harness.press("q")
        harness.run(0.1)
    assert not harness.called("arm_driver/emergency_stop")
    harness.run(0.3)
    harness.press("q")
    assert harness.state == "STOPPED"


def test_q_while_the_session_ends_by_a_signal_says_that_it_changes_nothing():
    harness = Harness()
    harness.to("EXECUTING")
    harness.handlers["arm_driver/release"] = lambda _fields: Reply(True)
    harness.engine.interrupt("SIGINT", harness.now_ns)
    harness.press("q")
    assert "the session is ending" in harness.said[-1]
    assert harness.call("emergency_stop") == (False, "the session is ending")


def test_enter_behind_an_answer_is_part_of_it_and_cancels_nothing():
    harness = Harness()
    harness.to("READY")
    harness.run(1)
    harness.press("y", "enter")
    assert harness.said[-1] == "  Enter is not needed: a key counts by itself"
    harness.run_to("EXECUTING")
    harness.run(1)
    harness.press("s", "enter")
    assert harness.state == "DAMPING"
    harness.run(1)
    harness.press("r")
    harness.run(0.8)
    harness.press("enter")  # no longer a habit: any key takes the motion back
    assert any("Cancelled by key 'enter'" in line for line in harness.said)
