# SPDX-License-Identifier: Apache-2.0
"""What the bridge's core sees and what it reports: observations, hands, the connection, reasons and events."""

from __future__ import annotations

import numpy as np
from policy_builders import jpeg, ramp
from policy_stage import STATE_ONLY, Stage

from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.observation import ObservationRules, Stamped
from h1_policy_bridge.strategies import TICK_NS, StrategyConfig
from h1_policy_bridge.values import ClientState
from h1_training_node.message_numbers import ArmMode, Connection, Level

HANDS_RULES = ObservationRules(STATE_ONLY, with_hands=True)


def test_a_refused_reply_is_counted_shown_reported_once_and_asked_again_more_slowly():
    stage = Stage()
    stage.session("EXECUTING")
    asked = []
    for _ in range(150):
        stage.tick()
        if len(stage.client.requests) > len(asked):
            asked.append(stage.now_ns)
            stage.client.fail("reply refused: 'actions' is nan")
    status = stage.bridge.status
    pauses = np.diff(asked) / TICK_NS
    assert status.failures >= len(asked) - 1 >= 4
    assert status.reason == "reply refused: 'actions' is nan"
    assert stage.reasons().count("reply_refused") == 1
    assert not status.chunk_ready
    assert (np.diff(pauses) >= 0).all()
    assert pauses.max() <= 51


def test_an_observation_that_is_too_old_is_not_sent_and_the_reason_names_it():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.tick()
    assert stage.bridge.status.reason == "no image from ego_cam yet; is the camera running?"
    for camera in PRESETS["h1"].cameras:
        stage.bridge.latest.images[camera] = Stamped(stage.now_ns, jpeg())
    stage.bridge.latest.images["cam_left_wrist"] = Stamped(stage.now_ns - 1_280_000_000, jpeg())
    stage.tick()
    assert stage.bridge.status.reason == "cam_left_wrist is 1.30 s old; at most 0.25 s may reach a policy"
    assert stage.client.requests == []
    assert stage.bridge.status.failures == 0
    assert stage.reasons().count("observation_refused") == 1
    stage.bridge.latest.images["cam_left_wrist"] = Stamped(stage.now_ns, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_a_frozen_camera_ends_the_observation_as_a_dead_one_does():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.now_ns += TICK_NS
    for camera in PRESETS["h1"].cameras:
        stage.bridge.latest.images[camera] = Stamped(stage.now_ns + TICK_NS, jpeg())
    stage.bridge.latest.frozen = Stamped(stage.now_ns, {"ego_cam": 5.64})
    stage.tick()
    assert stage.client.requests == []
    assert stage.bridge.status.reason == "ego_cam repeats the same image for 5.6 s; nothing new is seen"
    assert stage.reasons().count("observation_refused") == 1
    stage.bridge.latest.frozen = Stamped(stage.now_ns, {})
    stage.tick()
    assert len(stage.client.requests) == 1


def test_a_stream_whose_camera_freezes_plays_its_chunk_and_ends():
    stage = Stage(ObservationRules(PRESETS["h1"]))

    def ticks(count: int) -> list:
        actions = []
        for _ in range(count):
            for camera in PRESETS["h1"].cameras:
                stage.bridge.latest.images[camera] = Stamped(stage.now_ns + TICK_NS, jpeg())
            actions.append(stage.tick())
        return actions

    stage.session("EXECUTING")
    stage.enter(ArmMode.HOLD)
    ticks(2)
    stage.client.answer(ramp())
    ticks(1)
    stage.enter(ArmMode.POLICY)
    assert ticks(1)[0] is not None
    for _ in range(80):
        stage.bridge.latest.frozen = Stamped(stage.now_ns, {"cam_left_wrist": 1.0})
        last = ticks(1)[0]
    assert last is None
    assert len(stage.client.requests) == 1
    assert any("cam_left_wrist repeats the same image" in detail for _, _, detail in stage.events)


def test_a_verdict_that_is_not_repeated_any_more_does_not_count():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.bridge.latest.frozen = Stamped(stage.now_ns - 1_100_000_000, {"ego_cam": 5.6})
    for camera in PRESETS["h1"].cameras:
        stage.bridge.latest.images[camera] = Stamped(stage.now_ns + TICK_NS, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_no_part_of_the_first_observation_is_older_than_the_hold():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.enter(ArmMode.HOLD)
    for camera in PRESETS["h1"].cameras:
        stage.bridge.latest.images[camera] = Stamped(stage.now_ns + 1, jpeg())
    stage.bridge.latest.images["cam_right_wrist"] = Stamped(stage.now_ns - 1, jpeg())
    stage.tick()
    assert stage.client.requests == []
    assert stage.bridge.status.reason == ""
    stage.bridge.latest.images["cam_right_wrist"] = Stamped(stage.now_ns, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_grey_images_are_reported_once():
    stage = Stage(ObservationRules(PRESETS["h1"], allow_dummy_cameras=True))
    stage.session("EXECUTING")
    for _ in range(3):
        stage.tick()
        stage.client.fail("reply refused: x")
        stage.ticks(60)
    assert len(stage.client.requests) > 1
    assert stage.reasons().count("dummy_images") == 1


def test_a_first_answer_that_takes_long_is_shown_as_what_it_is():
    stage = Stage()
    stage.session("EXECUTING")
    stage.ticks(60)
    assert stage.bridge.status.reason == ""
    stage.ticks(100)
    assert stage.bridge.status.reason == "the policy server has been inferring for 3 s"
    stage.client.fail("reply refused: x")
    stage.tick()
    assert stage.bridge.status.reason == "reply refused: x"


def test_hands_are_part_of_the_state_and_their_actions_stay_between_closed_and_open():
    stage = Stage(HANDS_RULES, StrategyConfig(window_ticks=0, coast_ticks=10))
    stage.session("EXECUTING")
    stage.tick()
    assert stage.bridge.status.reason == "no hands/left/state yet; is the hand connected?"
    for side, value in (("left", 0.25), ("right", 0.75)):
        stage.bridge.latest.hands[side] = Stamped(stage.now_ns, np.full(6, value))
    stage.tick()
    np.testing.assert_allclose(stage.client.requests[0].state, [0.0] * 14 + [0.25] * 6 + [0.75] * 6)
    stage.client.answer(ramp(0.8, 0.004, dim=26))
    stage.tick()
    stage.enter(ArmMode.POLICY)
    positions = np.array([action.step.positions for action in stage.ticks(60) if action is not None])
    assert len(positions) == 60
    assert positions[:, 14:].max() == 1.0
    assert positions[:, :14].max() > 1.0


def test_ready_with_a_new_epoch_makes_the_connection_again_once():
    stage = Stage()
    for state, epoch in [("WAITING", -1), ("READY", 0), ("READY", 0), ("EXECUTING", 0), ("READY", 0), ("READY", 1)]:
        stage.session(state, epoch)
    assert stage.client.reconnected == [0, 1]


def test_the_policys_own_end_is_reported_until_the_next_episode():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.client.answer(ramp(), done=True)
    stage.tick()
    assert stage.bridge.status.done
    stage.session("LABELING")
    stage.tick()
    assert not stage.bridge.status.done
    stage.session("EXECUTING")
    stage.tick()
    assert not stage.bridge.status.done


def test_metadata_may_say_that_the_policy_is_at_its_end():
    stage = Stage()
    stage.client.state = ClientState(Connection.CONNECTED, 1, facts=ServerFacts(done=True), reason="")
    assert not stage.bridge.status.done
    stage.session("EXECUTING")
    assert stage.bridge.status.done


def test_the_connections_changes_are_reported():
    stage = Stage()
    stage.client.is_idle = False
    stage.client.state = ClientState(Connection.DISCONNECTED, reason="connection refused by ws://x:1")
    stage.ticks(3)
    stage.client.state = ClientState(Connection.CONNECTING, reason="connection refused by ws://x:1")
    stage.ticks(3)
    stage.client.state = ClientState(Connection.DISCONNECTED, reason="connection refused by ws://x:1")
    stage.ticks(3)
    assert stage.bridge.status.reason == "connection refused by ws://x:1"
    stage.client.state = ClientState(Connection.REFUSED, reason="26 values per action", connections=1)
    stage.ticks(3)
    stage.client.state = ClientState(Connection.CONNECTED, reason="", connections=2)
    stage.ticks(3)
    assert stage.reasons() == ["policy_disconnected", "policy_refused", "policy_connected"]
    assert stage.events[1][0] is Level.ERROR


def test_the_end_of_a_stream_is_reported_with_its_numbers():
    stage = Stage()
    stage.until_streaming()
    stage.ticks(9)
    stage.session("DAMPING")
    stage.tick()
    level, reason, detail = stage.events[-1]
    assert (level, reason) == (Level.INFO, "stream_ended")
    assert detail == "10 actions, 0 held, 0 missed, longest gap 20 ms; 1 inferences, median 100 ms, worst 100 ms"


def test_a_tick_that_comes_late_goes_on_with_the_very_next_step_and_what_was_missed_is_counted():
    stage = Stage()
    stage.until_streaming()
    stage.ticks(3)
    stage.now_ns += 3 * TICK_NS
    steps = [action.step for action in stage.ticks(2) if action is not None]
    assert [step.index for step in steps] == [4, 5]
    assert stage.bridge.status.reason == "3 of the stream's ticks missed so far: this computer is too busy"
    assert stage.reasons().count("ticks_missed") == 1
    stage.session("DAMPING")
    stage.tick()
    assert "6 actions, 0 held, 3 missed, longest gap 80 ms" in stage.events[-1][2]
    assert stage.bridge.status.reason == ""


def test_missed_ticks_are_reported_now_and_then_and_shown_for_a_while():
    stage = Stage()
    stage.until_streaming()
    for tick in range(400):
        if len(stage.client.requests) > stage.bridge.status.inferences:
            stage.client.answer(ramp(0.0, 0.0))
        stage.now_ns += TICK_NS * (tick < 20)
        assert stage.tick() is not None
    assert stage.reasons().count("ticks_missed") == 1
    assert stage.bridge.status.reason == ""


def test_a_chunk_asked_for_before_a_stall_is_entered_where_the_arms_still_are():
    stage = Stage()
    stage.until_streaming()
    while len(stage.client.requests) < 2:
        stage.tick()
    stage.ticks(2)
    stage.now_ns += 10 * TICK_NS
    stage.client.answer(ramp(1.0))
    action = stage.tick()
    assert action.step.chunk.chunk_id == 2
    assert action.step.index == 3
