"""Who may move, when: the bridge's core with a client whose answers the test gives."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import FakeClient, jpeg, ramp

from h1_policy_bridge.blend import Blend
from h1_policy_bridge.bridge import PolicyBridge
from h1_policy_bridge.chunk import ServerFacts
from h1_policy_bridge.layout import PRESETS, Layout
from h1_policy_bridge.observation import ObservationRules, Stamped
from h1_policy_bridge.policy_client import ClientState, Connection
from h1_policy_bridge.readings import Action, ArmMode, Arms, Level, Session
from h1_policy_bridge.strategy import TICK_NS, StrategyConfig

STATE_ONLY = Layout(state=((("state",), 0, None),), images=())
HANDS_RULES = ObservationRules(STATE_ONLY, with_hands=True)


class Stage:
    """A bridge, and time, arms and session to play with."""

    def __init__(self, rules: ObservationRules | None = None, config: StrategyConfig | None = None) -> None:
        self.client = FakeClient()
        self.events: list[tuple[Level, str, str]] = []
        self.now_ns = 1_000_000_000_000
        self.mode, self.since_ns = ArmMode.HOLD, self.now_ns
        self.transition = False
        self.bridge = PolicyBridge(
            self.client,
            rules or ObservationRules(STATE_ONLY),
            lambda: Blend(config or StrategyConfig(window_ticks=0)),
            lambda level, reason, detail: self.events.append((level, reason, detail)),
        )

    def session(self, state: str, epoch: int = 0) -> None:
        self.bridge.on_session(Session(state, epoch, "stack the cubes"))

    def enter(self, mode: ArmMode) -> None:
        self.mode, self.since_ns = mode, self.now_ns

    def tick(self, *, arms: bool = True) -> Action | None:
        """20 ms later; the arms have reported 5 ms ago."""
        self.now_ns += TICK_NS
        if arms:
            stamp_ns = self.now_ns - 5_000_000
            self.bridge.on_arms(Arms(stamp_ns, self.mode, self.since_ns, self.transition, np.zeros(14)))
        return self.bridge.tick(self.now_ns)

    def ticks(self, count: int) -> list[Action | None]:
        return [self.tick() for _ in range(count)]

    def until_ready(self) -> None:
        """EXECUTING, HOLD, a first chunk."""
        self.session("EXECUTING")
        self.enter(ArmMode.HOLD)
        self.tick()
        self.client.answer(ramp())
        self.tick()
        assert self.bridge.status.chunk_ready

    def until_streaming(self) -> None:
        self.until_ready()
        self.enter(ArmMode.POLICY)
        assert self.tick() is not None

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


def test_nothing_is_asked_before_the_session_executes():
    stage = Stage()
    for state in ("STARTING", "WAITING", "READY", "LABELING", "DAMPING", "SAVING", "DECIDING", "SYNCING", "STOPPED"):
        stage.session(state)
        stage.ticks(3)
    assert stage.client.requests == []


@pytest.mark.parametrize("mode", [ArmMode.RELEASED, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING])
def test_nothing_is_asked_while_the_arms_do_not_hold(mode):
    stage = Stage()
    stage.session("EXECUTING")
    stage.enter(mode)
    assert stage.ticks(3) == [None] * 3
    assert stage.client.requests == []


def test_nothing_is_asked_while_the_arms_are_being_taken():
    stage = Stage()
    stage.session("EXECUTING")
    stage.transition = True
    stage.ticks(3)
    assert stage.client.requests == []


def test_the_observation_is_younger_than_the_hold():
    stage = Stage()
    stage.session("EXECUTING")
    stage.now_ns += TICK_NS
    stage.since_ns = stage.now_ns + TICK_NS - 4_000_000  # the arms' next report is 1 ms older than this
    stage.tick()
    assert stage.client.requests == []
    stage.tick()
    assert stage.client.requests[0].observation_ns > stage.since_ns


def test_a_first_chunk_is_announced_and_not_played_before_policy():
    stage = Stage()
    stage.until_ready()
    assert stage.ticks(20) == [None] * 20
    assert stage.bridge.status.chunk_ready


def test_the_stream_runs_from_step_zero_with_numbers_that_rise_by_one():
    stage = Stage()
    stage.until_streaming()
    actions = stage.ticks(10)
    assert [action.seq for action in actions] == list(range(2, 12))
    assert [action.step.index for action in actions] == list(range(1, 11))
    assert {action.step.chunk.chunk_id for action in actions} == {1}
    assert not stage.bridge.status.chunk_ready


def test_the_next_chunk_takes_over_at_the_step_that_is_due():
    stage = Stage()
    stage.until_streaming()
    while len(stage.client.requests) < 2:
        stage.tick()
    asked_ns, last = stage.now_ns, stage.tick().step.index
    stage.client.answer(ramp(1.0))
    action = stage.tick()
    assert action.step.chunk.chunk_id == 2
    assert action.step.chunk.observation_ns == asked_ns - 5_000_000
    assert action.step.index == 2
    assert last > 2


def test_policy_without_a_chunk_moves_nothing():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.enter(ArmMode.POLICY)
    stage.tick()
    stage.client.answer(ramp())
    assert stage.ticks(5) == [None] * 5


@pytest.mark.parametrize("state", ["LABELING", "DAMPING", "STOPPED"])
def test_leaving_executing_ends_the_stream_within_one_tick(state):
    stage = Stage()
    stage.until_streaming()
    stage.session(state)
    assert stage.tick() is None
    assert "stream_ended" in stage.reasons()


@pytest.mark.parametrize("mode", [ArmMode.RELEASED, ArmMode.HOLD, ArmMode.HOME, ArmMode.DAMPING])
def test_leaving_policy_ends_the_stream_within_one_tick(mode):
    stage = Stage()
    stage.until_streaming()
    stage.enter(mode)
    assert stage.tick() is None


def test_a_result_in_flight_is_dropped_when_the_session_leaves_executing():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.session("DAMPING")
    stage.tick()
    stage.session("EXECUTING")
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert stage.bridge.status.inferences == 1


def test_a_ready_chunk_is_dropped_when_the_session_leaves_executing():
    stage = Stage()
    stage.until_ready()
    stage.session("DAMPING")
    stage.tick()
    stage.session("EXECUTING")
    stage.enter(ArmMode.POLICY)
    assert stage.tick() is None


def test_a_chunk_of_an_earlier_hold_is_not_announced_in_a_later_one():
    stage = Stage()
    stage.until_ready()
    stage.enter(ArmMode.HOME)
    stage.tick()
    stage.enter(ArmMode.HOLD)
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert len(stage.client.requests) == 2


def test_an_answer_from_before_a_hold_begins_anew_is_not_announced_even_if_nothing_else_was_seen():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.enter(ArmMode.HOLD)
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready


def test_policy_entered_again_without_a_hold_between_moves_nothing():
    stage = Stage()
    stage.until_streaming()
    stage.enter(ArmMode.POLICY)
    assert stage.ticks(3) == [None] * 3


def test_after_silence_the_stream_ends_and_a_new_hold_begins_it_anew():
    stage = Stage(config=StrategyConfig(window_ticks=0, coast_ticks=5))
    stage.until_streaming()
    actions = stage.ticks(60)
    assert actions[-1] is None
    assert "the policy is silent" in stage.bridge.status.reason
    stage.client.fail("the policy server gave no answer within 5 s")
    stage.enter(ArmMode.HOLD)
    stage.ticks(10)
    stage.client.answer(ramp(0.3))
    stage.tick()
    assert stage.bridge.status.chunk_ready
    assert stage.bridge.status.reason == ""
    stage.enter(ArmMode.POLICY)
    action = stage.tick()
    assert action.step.index == 0
    assert action.step.positions[0] == pytest.approx(0.3)


def test_a_refused_reply_is_counted_shown_told_once_and_asked_again_more_slowly():
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


def test_a_bad_reply_in_the_middle_of_a_stream_costs_nothing_if_the_next_is_good():
    stage = Stage()
    stage.until_streaming()
    while len(stage.client.requests) < 2:
        assert stage.tick() is not None
    stage.client.fail("reply refused: 'actions' is inf")
    while len(stage.client.requests) < 3:
        assert stage.tick() is not None
    stage.client.answer(ramp(0.2))
    assert stage.tick().step.chunk.chunk_id == 2


def test_an_observation_that_is_too_old_is_not_sent_and_the_reason_names_it():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.tick()
    assert stage.bridge.status.reason == "no image from ego_cam yet; is the camera running?"
    for camera in PRESETS["h1"].cameras:
        stage.bridge.senses.images[camera] = Stamped(stage.now_ns, jpeg())
    stage.bridge.senses.images["cam_left_wrist"] = Stamped(stage.now_ns - 1_280_000_000, jpeg())
    stage.tick()
    assert stage.bridge.status.reason == "cam_left_wrist is 1.30 s old; at most 0.25 s is shown to a policy"
    assert stage.client.requests == []
    assert stage.bridge.status.failures == 0
    assert stage.reasons().count("observation_refused") == 1
    stage.bridge.senses.images["cam_left_wrist"] = Stamped(stage.now_ns, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_no_part_of_the_first_observation_is_older_than_the_hold():
    stage = Stage(ObservationRules(PRESETS["h1"]))
    stage.session("EXECUTING")
    stage.enter(ArmMode.HOLD)
    for camera in PRESETS["h1"].cameras:
        stage.bridge.senses.images[camera] = Stamped(stage.now_ns + 1, jpeg())
    stage.bridge.senses.images["cam_right_wrist"] = Stamped(stage.now_ns - 1, jpeg())
    stage.tick()
    assert stage.client.requests == []
    assert stage.bridge.status.reason == ""
    stage.bridge.senses.images["cam_right_wrist"] = Stamped(stage.now_ns, jpeg())
    stage.tick()
    assert len(stage.client.requests) == 1


def test_grey_pictures_are_told_once():
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
        stage.bridge.senses.hands[side] = Stamped(stage.now_ns, np.full(6, value))
    stage.tick()
    np.testing.assert_allclose(stage.client.requests[0].state, [0.0] * 14 + [0.25] * 6 + [0.75] * 6)
    stage.client.answer(ramp(0.8, 0.004, dim=26))
    stage.tick()
    stage.enter(ArmMode.POLICY)
    positions = np.array([action.step.positions for action in stage.ticks(60) if action is not None])
    assert len(positions) == 60
    assert positions[:, 14:].max() == 1.0
    assert positions[:, :14].max() > 1.0


def test_ready_with_a_new_epoch_makes_the_connection_anew_once():
    stage = Stage()
    for state, epoch in [("WAITING", -1), ("READY", 0), ("READY", 0), ("EXECUTING", 0), ("READY", 0), ("READY", 1)]:
        stage.session(state, epoch)
    assert stage.client.reconnected == [0, 1]


def test_the_policys_own_end_is_told_until_the_next_episode():
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


def test_the_connections_changes_are_told():
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


def test_without_word_from_the_arms_the_stream_ends():
    stage = Stage()
    stage.until_streaming()
    actions = [stage.tick(arms=False) for _ in range(30)]
    assert actions[10] is not None
    assert actions[-1] is None
    assert "no arm_status any more" in stage.bridge.status.reason


def test_a_first_answer_that_took_long_is_asked_for_anew_but_only_once():
    stage = Stage()
    stage.session("EXECUTING")
    stage.tick()
    stage.ticks(150)
    stage.client.answer(ramp())
    stage.tick()
    assert not stage.bridge.status.chunk_ready
    assert len(stage.client.requests) == 2
    stage.ticks(150)
    stage.client.answer(ramp())
    stage.tick()
    assert stage.bridge.status.chunk_ready


def test_a_ready_chunk_that_waits_is_renewed_and_stays_ready_meanwhile():
    stage = Stage()
    stage.until_ready()
    stage.ticks(120)
    assert len(stage.client.requests) == 2
    assert stage.bridge.status.chunk_ready
    stage.client.answer(ramp(0.5))
    stage.tick()
    stage.enter(ArmMode.POLICY)
    assert stage.tick().step.positions[0] == pytest.approx(0.5)


def test_the_end_of_a_stream_is_told_with_its_numbers():
    stage = Stage()
    stage.until_streaming()
    stage.ticks(9)
    stage.session("DAMPING")
    stage.tick()
    level, reason, detail = stage.events[-1]
    assert (level, reason) == (Level.INFO, "stream_ended")
    assert detail == "10 actions, 0 held, 0 late; 1 inferences, median 100 ms, worst 100 ms"
