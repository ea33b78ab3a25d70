"""A policy that falls silent, comes late or ends, and arms that wait for it; what stands in an episode's way."""

from dataclasses import replace

import pytest
from session_builders import Theatre, streams

from h1_session_manager.values import Connection
from h1_training_node.message_numbers import ArmMode


def test_stale_action_is_resumed_when_the_policy_is_back_in_time():
    theatre = Theatre(policy_silence_timeout_s=2.0)
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
    theatre = Theatre(policy_silence_timeout_s=2.0)
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
    theatre = Theatre(motion_countdown_s=2.0)
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
    assert theatre.session.board.episode.is_open
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


def test_a_camera_that_blinks_is_no_news():
    theatre = Theatre()
    theatre.to("READY")
    theatre.run(3)
    good = theatre.recorder
    theatre.recorder = replace(good, streams=streams(cam_left_wrist=-1.0))
    theatre.run(0.4)
    theatre.recorder = good
    theatre.run(5)
    assert theatre.said.count("Cameras ready: All cameras working!") == 1
    assert not theatre.lines("  Not ready")


def test_a_camera_that_is_lost_or_comes_back_is_told_where_dummies_are_allowed():
    theatre = Theatre(allow_dummy_cameras=True)
    theatre.recorder = replace(theatre.recorder, streams=streams(cam_left_wrist=-1.0))
    theatre.to("READY")
    theatre.run(3)
    assert theatre.said[-1] == "Cameras ready: ego_cam, cam_right_wrist working (others using dummy)"
    theatre.recorder = replace(theatre.recorder, streams=streams())
    theatre.run(3)
    assert theatre.said[-1] == "Cameras ready: All cameras working!"


def test_a_preflight_that_fails_during_the_countdown_starts_nothing():
    theatre = Theatre(motion_countdown_s=2.0)
    theatre.to("READY")
    theatre.run(1)
    theatre.press("y")
    theatre.run(1)
    theatre.policy = replace(theatre.policy, connection=Connection.DISCONNECTED, reason="closed")
    theatre.run(3)
    assert theatre.state == "READY"
    assert not theatre.called("recorder/start")
