# SPDX-License-Identifier: Apache-2.0
"""A policy that falls silent, comes late or ends, and arms that wait for it; what stands in an episode's way."""

from dataclasses import replace

import pytest
from session_builders import Harness, streams

from h1_training_node.message_numbers import ArmMode, Connection


def test_stale_action_is_resumed_when_the_policy_is_back_in_time():
    harness = Harness(policy_silence_timeout_s=2.0)
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.run(0.1)
    harness.policy_answers = False
    harness.enter(ArmMode.HOLD, "stale_action")
    harness.run(1.0)
    assert harness.state == "EXECUTING"
    harness.policy_answers = True
    harness.arms_in_policy()
    assert harness.state == "EXECUTING"


def test_stale_action_that_lasts_ends_the_execution_as_policy_lost():
    harness = Harness(policy_silence_timeout_s=2.0)
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.run(0.1)
    harness.policy_answers = False
    harness.enter(ArmMode.HOLD, "stale_action")
    harness.run(3.0)
    assert harness.state == "LABELING"
    harness.press("n")
    harness.run(1)
    harness.press("e")
    assert harness.called("recorder/finish")[0]["end_reason"] == "policy_lost"


def test_a_hold_for_any_other_reason_is_not_left_by_the_program():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.enter(ArmMode.HOLD, "limits")
    harness.run(1.0)
    assert harness.state == "LABELING"


def test_a_first_chunk_that_does_not_come_ends_the_execution_with_the_reason():
    harness = Harness(first_chunk_timeout_s=2.0)
    harness.policy_answers = False
    harness.policy = replace(harness.policy, reason="shape (50, 7)")
    harness.to("EXECUTING")
    harness.run(5.0)
    assert harness.state == "LABELING"
    assert "no action from the policy within 2 s: shape (50, 7)" in harness.engine.view().reason


WAITS = "The arms hold and wait for the policy's first actions; they will move without a further key"


def waiting_for_the_policy(seconds: float) -> Harness:
    """EXECUTING, the arms home, and no actions for so long; then they come."""
    harness = Harness(motion_countdown_s=2.0)
    harness.policy_answers = False
    harness.to("EXECUTING")
    harness.run(30.0, lambda: harness.arm.reason == "home_reached")
    harness.said_aloud.clear()
    harness.run(seconds)
    harness.policy_answers = True
    return harness


def test_arms_that_wait_for_the_policys_first_actions_say_that_they_will_move():
    harness = waiting_for_the_policy(3.0)
    assert harness.said.count(f"  {WAITS}") == 1
    assert [aloud.text for aloud in harness.said_aloud] == [f"{WAITS}."]
    assert harness.engine.view().reason == WAITS
    harness.run(0.5)
    assert harness.arm.mode is ArmMode.POLICY
    assert harness.engine.view().reason == ""


def test_actions_that_come_at_once_are_not_waited_for_aloud():
    harness = waiting_for_the_policy(0.5)
    harness.run(0.5)
    assert harness.arm.mode is ArmMode.POLICY
    assert f"  {WAITS}" not in harness.said


def test_arms_that_stood_for_long_are_announced_and_counted_down_again_before_the_policy_moves_them():
    harness = waiting_for_the_policy(20.0)
    harness.run(1.0)
    assert harness.arm.mode is ArmMode.HOLD
    assert harness.said[-1] == "  The policy moves the arms in 2 s: press any key to cancel"
    assert harness.said_aloud[-1].text == "The policy moves the arms in 2 seconds."
    assert harness.engine.view().countdown_s > 0
    assert harness.listed == ("any", "q")
    harness.run(2.0)
    assert harness.arm.mode is ArmMode.POLICY
    assert harness.listed == ("s", "q")


@pytest.mark.parametrize("by", ["k", "s", "y", "service"])
def test_any_key_in_that_countdown_ends_in_compliant_arms_with_the_episode_kept(by):
    harness = waiting_for_the_policy(20.0)
    harness.run(1.0)
    if by == "service":
        assert harness.call("stop")[0]
    else:
        harness.press(by)
    harness.run(5.0)
    assert harness.state == "DAMPING"
    assert harness.arm.mode is ArmMode.DAMPING
    assert harness.engine.context.episode.is_open
    harness.press("e")
    assert harness.called("recorder/finish")[0]["end_reason"] == "operator"


def test_actions_withdrawn_while_they_are_announced_move_nothing_until_there_are_others():
    harness = waiting_for_the_policy(20.0)
    harness.run(1.0)
    harness.policy_answers = False
    harness.run(3.0)
    assert harness.arm.mode is ArmMode.HOLD
    assert harness.engine.view().reason == WAITS
    harness.policy_answers = True
    harness.arms_in_policy()


def test_the_policys_own_end_is_a_finish():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.run(0.1)
    harness.policy = replace(harness.policy, done=True)
    harness.run(0.1)
    assert harness.state == "LABELING"


def test_an_old_chunk_does_not_start_the_policy():
    harness = Harness()
    harness.to("EXECUTING")
    old = replace(harness.policy, chunk_ready=True, stamp_ns=harness.now_ns - 10**10)
    harness.absent = {"policy_bridge"}
    for _ in range(100):
        harness.step()
        harness.engine.observe(old, harness.now_ns)
    assert harness.arm.mode is ArmMode.HOLD


def test_preflight_refuses_to_start_and_names_the_camera():
    harness = Harness()
    harness.recorder = replace(harness.recorder, streams=streams(cam_left_wrist=-1.0))
    harness.to("READY")
    harness.run(5)
    assert "  Not ready: camera cam_left_wrist: no image yet; check its cable, power and server" in harness.said
    assert "y" not in harness.listed
    harness.press("y")
    harness.run(5)
    assert harness.state == "READY"
    assert harness.said[-1] == "  Not ready: camera cam_left_wrist: no image yet; check its cable, power and server"
    harness.recorder = replace(harness.recorder, streams=streams())
    harness.run(2)
    assert harness.said[-1] == "Cameras ready: All cameras working!"


def test_a_camera_that_blinks_is_not_reported():
    harness = Harness()
    harness.to("READY")
    harness.run(3)
    good = harness.recorder
    harness.recorder = replace(good, streams=streams(cam_left_wrist=-1.0))
    harness.run(0.4)
    harness.recorder = good
    harness.run(5)
    assert harness.said.count("Cameras ready: All cameras working!") == 1
    assert not harness.lines("  Not ready")


def test_a_camera_that_is_lost_or_comes_back_is_reported_where_dummies_are_allowed():
    harness = Harness(allow_dummy_cameras=True)
    harness.recorder = replace(harness.recorder, streams=streams(cam_left_wrist=-1.0))
    harness.to("READY")
    harness.run(3)
    assert harness.said[-1] == "Cameras ready: ego_cam, cam_right_wrist working (others using dummy)"
    harness.recorder = replace(harness.recorder, streams=streams())
    harness.run(3)
    assert harness.said[-1] == "Cameras ready: All cameras working!"


def test_a_preflight_that_fails_during_the_countdown_starts_nothing():
    harness = Harness(motion_countdown_s=2.0)
    harness.to("READY")
    harness.run(1)
    harness.press("y")
    harness.run(1)
    harness.policy = replace(harness.policy, connection=Connection.DISCONNECTED, reason="closed")
    harness.run(3)
    assert harness.state == "READY"
    assert not harness.called("recorder/start")
