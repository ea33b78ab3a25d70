# SPDX-License-Identifier: Apache-2.0
"""READY's inference: made before anybody may start the policy, shown, and never played."""

from __future__ import annotations

import math

import numpy as np
import pytest
from policy_builders import jpeg, ramp
from policy_stage import Stage

from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.observation import ObservationRules, Stamped
from h1_policy_bridge.values import ClientState
from h1_policy_bridge.warm_up import WarmUp
from h1_training_node.message_numbers import ArmMode, Connection


def ready_stage(rules: ObservationRules | None = None) -> Stage:
    stage = Stage(rules, warm_up=WarmUp(0.5))
    stage.session("READY")
    stage.tick()
    return stage


def test_ready_asks_once_with_the_live_observation_and_shows_time_and_distance():
    stage = ready_stage()
    assert len(stage.client.requests) == 1
    assert not stage.bridge.status.warm
    assert stage.bridge.status.warm_up_reason == "the first inference has been under way for 0 s"
    actions = ramp()
    actions[0, 10] = -0.31
    stage.client.answer(actions, state=np.zeros(14))
    stage.tick()
    status = stage.bridge.status
    assert status.warm
    assert (status.first_inference_ms, status.warm_up_reason) == (100.0, "")
    assert status.first_action_distance_rad == pytest.approx(0.31)
    stage.ticks(200)
    assert len(stage.client.requests) == 1


def test_a_first_action_far_from_the_pose_is_refused_by_joint_and_asked_again():
    stage = ready_stage()
    actions = ramp()
    actions[0, 3] = 1.42
    stage.client.answer(actions, state=np.zeros(14))
    stage.tick()
    status = stage.bridge.status
    assert not status.warm
    assert status.first_action_distance_rad == pytest.approx(1.42)
    assert status.warm_up_reason == (
        "first action differs from the pose by 1.42 rad at left_elbow_joint; at most 0.5 rad is accepted: serve a "
        "policy of this robot that gives absolute angles in rad, or raise max_first_action_distance_rad; 'n' skips it"
    )
    stage.ticks(60)
    assert len(stage.client.requests) == 2
    stage.client.answer(ramp())
    stage.tick()
    assert stage.bridge.status.warm


def test_its_chunk_is_never_played():
    stage = ready_stage()
    stage.client.answer(ramp(), done=True)
    stage.tick()
    stage.session("EXECUTING")
    assert not stage.bridge.status.chunk_ready
    assert not stage.bridge.status.done
    stage.enter(ArmMode.POLICY)
    assert stage.ticks(5) == [None] * 5
    stage.enter(ArmMode.HOLD)
    stage.tick()
    stage.tick()
    assert len(stage.client.requests) == 2


def test_an_answer_that_comes_after_ready_is_dropped():
    stage = ready_stage()
    stage.session("EXECUTING")
    stage.enter(ArmMode.HOLD)
    stage.tick()
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert math.isnan(stage.bridge.status.first_inference_ms)


def test_outside_ready_nothing_is_warm_and_nothing_stands_in_the_way():
    stage = ready_stage()
    stage.client.answer(ramp())
    stage.tick()
    stage.session("WAITING")
    stage.tick()
    status = stage.bridge.status
    assert (status.warm, status.warm_up_reason) == (False, "")
    assert math.isnan(status.first_action_distance_rad)


def test_each_ready_and_each_connection_asks_again():
    stage = ready_stage()
    stage.client.answer(ramp())
    stage.tick()
    stage.session("DECIDING")
    stage.session("READY")
    stage.tick()
    assert len(stage.client.requests) == 2
    stage.client.answer(ramp())
    stage.tick()
    stage.client.state = ClientState(Connection.CONNECTED, since_ns=2, reason="", connections=9)
    stage.tick()
    assert not stage.bridge.status.warm
    assert len(stage.client.requests) == 3


def test_what_is_missing_is_named_without_an_event():
    stage = ready_stage(ObservationRules(PRESETS["h1"]))
    assert stage.bridge.status.warm_up_reason == "no image from ego_cam yet; is the camera running?"
    assert stage.reasons() == []
    for camera in PRESETS["h1"].cameras:
        stage.bridge.latest.images[camera] = Stamped(stage.now_ns, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_a_refused_reply_and_a_lost_connection_are_the_reason():
    stage = ready_stage()
    stage.client.fail("reply refused: 'actions' is 50x32; expected steps x 14")
    stage.tick()
    assert stage.bridge.status.warm_up_reason == "reply refused: 'actions' is 50x32; expected steps x 14"
    stage.client.state = ClientState(Connection.DISCONNECTED, reason="connection refused by ws://gpu:8000")
    stage.client.is_idle = False
    stage.tick()
    assert stage.bridge.status.warm_up_reason == "connection refused by ws://gpu:8000"
