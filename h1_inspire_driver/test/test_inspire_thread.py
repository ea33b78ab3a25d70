"""One hand's thread against a hand with quirks, without ROS."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from quirky_hand import ANGLE_ACT, ANGLE_SET, CLEAR_ERROR, FORCE_SET, SPEED_SET, Quirks, QuirkyHand

from h1_inspire_driver.driver_parameters import DriverParameters
from h1_inspire_driver.grip import Command, command_of
from h1_inspire_driver.hand_link import HandLink
from h1_inspire_driver.hand_news import HandNews
from h1_inspire_driver.hand_state import HandState
from h1_inspire_driver.hand_thread import HandThread
from h1_inspire_driver.session_gate import SessionGate
from h1_training_node.message_numbers import Level
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.testing import wait_until

MS = 1_000_000


@dataclass
class Rig:
    """A hand's thread, what it said, and the session that it believes in."""

    thread: HandThread
    gate: SessionGate
    states: list[HandState] = field(default_factory=list)
    events: list[tuple[Level, str, str]] = field(default_factory=list)
    seq: int = 0

    def session(self, state: str) -> None:
        """Two heartbeats, so that the gate believes them."""
        for _ in range(2):
            self.seq += 1
            self.gate.heard(self.seq, state, time.monotonic_ns())
        self.thread.session_changed()

    def command(self, *openings: float) -> None:
        self.thread.command(command_of(time.monotonic_ns(), openings if len(openings) == 6 else openings * 6))

    def drive(self, opening: float, until: Callable[[], object], what: str) -> None:
        """Command and beat like the graph does until something has happened."""

        def step() -> object:
            self.session("EXECUTING")
            self.command(opening)
            return until()

        wait_until(step, what)

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


@contextlib.contextmanager
def a_rig(port: int, *, heartbeat_s: float = 5.0, **parameters: object) -> Iterator[Rig]:
    """The session's heartbeat may pause for 5 s, since this machine may stand still."""
    settings = DriverParameters(answer_timeout=3.0, **parameters)  # type: ignore[arg-type]
    gate, states, events = SessionGate(int(heartbeat_s * 1000) * MS), [], []
    news = HandNews("left", lambda *event: events.append(event), time.monotonic_ns, patience_ns=0)
    link = HandLink("127.0.0.1", port, unit_id=1, timeout_s=settings.answer_timeout)
    thread = HandThread("left", link, settings, gate=gate, publish=states.append, news=news, clock_ns=time.monotonic_ns)
    rig = Rig(thread, gate, states, events)
    thread.start()
    try:
        yield rig
    finally:
        thread.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def hand() -> Iterator[QuirkyHand]:
    hand = QuirkyHand()
    yield hand
    hand.close()


def test_a_hand_is_read_in_the_units_of_the_graph(hand: QuirkyHand) -> None:
    hand.registers.update({1582: [100, -200, 0, 0, 0, 4000], 1594: [500, 0, 0, 0, 0, 2000]})
    hand.registers.update({1606: [0x0001, 0, 0], 1612: [0x0203, 0x0202, 0x0202], 1618: [0x1F20, 0x2122, 0x2324]})
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.states, "a state")
    state = rig.states[0]
    assert state.angle == (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert state.force == pytest.approx((0.981, -1.962, 0, 0, 0, 39.24))
    assert state.current == pytest.approx((0.5, 0, 0, 0, 0, 2.0))
    assert state.error == (0, 1, 0, 0, 0, 0)
    assert state.status == (2, 3, 2, 2, 2, 2)
    assert state.temperature == (31, 32, 33, 34, 35, 36)
    assert state.reason == "no session/state yet; ring stalled"


def test_speed_and_force_are_bounded_before_anything_moves(hand: QuirkyHand) -> None:
    with a_rig(hand.port, speed=300, force=400) as rig:
        wait_until(lambda: rig.states, "a state")
    assert [write.address for write in hand.writes[:2]] == [SPEED_SET, FORCE_SET]
    assert hand.written(SPEED_SET) == [(300,) * 6]
    assert hand.written(FORCE_SET) == [(400,) * 6]


def test_fingers_that_somebody_left_moving_are_stopped_at_the_start(hand: QuirkyHand) -> None:
    with a_rig(hand.port):
        wait_until(lambda: hand.written(ANGLE_SET), "a write")
    assert hand.written(ANGLE_SET) == [(1000, 900, 800, 700, 600, 500)]


def test_commands_are_followed_in_executing(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        rig.drive(0.25, lambda: rig.states and rig.states[-1].command == (0.25,) * 6, "the state tells it")
        assert rig.states[-1].gated == ""


def test_commands_are_ignored_outside_executing(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: hand.written(ANGLE_SET), "the hold at the start")
        rig.session("READY")
        rig.command(0.1)
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
        assert hand.written(ANGLE_SET) == [(1000, 900, 800, 700, 600, 500)]
        assert rig.states[-1].gated == "session is READY"


def test_a_command_older_than_200_ms_is_ignored_and_told(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: hand.written(ANGLE_SET), "the hold at the start")
        rig.session("EXECUTING")
        rig.thread.command(Command(time.monotonic_ns() - 201 * MS, (100,) * 6))
        wait_until(lambda: "hand_command_old" in rig.reasons(), "the refusal")
    assert (100,) * 6 not in hand.written(ANGLE_SET)


def test_leaving_executing_makes_the_fingers_stay_where_they_are_once(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
        hand.registers[ANGLE_ACT] = [500, 510, 520, 530, 540, 1003]
        rig.session("DAMPING")
        wait_until(lambda: hand.written(ANGLE_SET)[-1] == (500, 510, 520, 530, 540, 1000), "the hold")
        hand.registers[ANGLE_ACT] = [400] * 6
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
        assert hand.written(ANGLE_SET)[-1] == (500, 510, 520, 530, 540, 1000)


def test_a_lost_heartbeat_makes_the_fingers_stay(hand: QuirkyHand) -> None:
    with a_rig(hand.port, heartbeat_s=0.5) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
        wait_until(lambda: hand.written(ANGLE_SET)[-1] == (1000, 900, 800, 700, 600, 500), "the hold")
        wait_until(lambda: rig.states[-1].gated == "session heartbeat lost", "the state tells it")


def test_the_end_of_the_process_makes_the_fingers_stay(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
    assert hand.written(ANGLE_SET)[-1] == (1000, 900, 800, 700, 600, 500)


def test_a_finger_left_alone_gets_minus_one_and_keeps_its_target(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.5, lambda: (500,) * 6 in hand.written(ANGLE_SET), "the first command was written")
        rig.session("EXECUTING")
        rig.command(0.1, math.nan, 0.1, 0.1, 0.1, 0.1)
        wait_until(lambda: (100, -1, 100, 100, 100, 100) in hand.written(ANGLE_SET), "the second command was written")
        wait_until(lambda: rig.states[-1].command == (0.1, 0.5, 0.1, 0.1, 0.1, 0.1), "the state tells it")


def test_writes_keep_50_ms_apart_however_many_commands_come(hand: QuirkyHand) -> None:
    openings = iter(range(1, 10_000))
    with a_rig(hand.port) as rig:

        def step() -> bool:
            rig.session("EXECUTING")
            rig.command(next(openings) * 7 % 1000 / 1000)
            return len(hand.writes) >= 12

        wait_until(step, "ten writes")
    gaps = [b.time_ns - a.time_ns for a, b in zip(hand.writes, hand.writes[1:], strict=False)]
    assert min(gaps) >= 49 * MS


def test_the_same_command_again_is_not_written_again(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        before = len(rig.states)
        rig.drive(0.252, lambda: len(rig.states) > before + 10, "some rounds")
        assert hand.written(ANGLE_SET).count((250,) * 6) == 1
        assert (252,) * 6 not in hand.written(ANGLE_SET)


def test_errors_are_cleared_when_asked_and_told(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.thread.is_connected, "the connection")
        rig.thread.clear_error()
        wait_until(lambda: "hand_errors_cleared" in rig.reasons(), "the event")
    assert hand.written(CLEAR_ERROR) == [(1,)]


def test_an_over_current_is_told_once_with_its_finger(hand: QuirkyHand) -> None:
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.states, "a state")
        hand.registers[1606] = [0, 0x0004, 0]
        wait_until(lambda: "hand_fault" in rig.reasons(), "the event")
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "some rounds")
    faults = [event for event in rig.events if event[1] == "hand_fault"]
    assert faults == [
        (Level.WARN, "hand_fault", "left hand: index over-current; clear with the service hands/left/clear_error")
    ]


def test_a_dead_hand_is_told_once_and_nothing_is_invented() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with a_rig(port, reconnect_pause_max=0.35) as rig:
        wait_until(lambda: rig.events, "the event")
        hand = QuirkyHand(port=port)
        wait_until(lambda: rig.states, "it is found when it is switched on")
        hand.close()
    assert rig.reasons()[:2] == ["hand_lost", "hand_connected"]
    assert rig.events[0][0] == Level.ERROR
    assert "cannot be reached" in rig.events[0][2]


def test_a_dropped_hand_comes_back_by_itself_with_its_bounds_and_a_hold() -> None:
    hand = QuirkyHand(Quirks(slot_pause_s=0.3))
    with a_rig(hand.port) as rig:
        rig.drive(0.0, lambda: (0,) * 6 in hand.written(ANGLE_SET), "the command was written")
        rig.session("DAMPING")
        wait_until(lambda: rig.states[-1].gated == "session is DAMPING", "the gate is closed")
        hand.drop_client()
        wait_until(lambda: hand.clients == 2, "the reconnection")
        wait_until(lambda: rig.reasons().count("hand_connected") == 2, "the event")
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before, "states again")
    hand.close()
    assert rig.reasons() == ["hand_connected", "hand_lost", "hand_connected"]
    assert len(hand.written(SPEED_SET)) == 2
    assert hand.written(ANGLE_SET)[-1] == (1000, 900, 800, 700, 600, 500)


def test_a_hand_that_serves_somebody_else_is_tried_until_it_is_free(hand: QuirkyHand) -> None:
    other = HandLink("127.0.0.1", hand.port, unit_id=1, timeout_s=1.0)
    other.connect()
    wait_until(lambda: hand.clients == 1, "the other client is served")
    with a_rig(hand.port, reconnect_pause_max=0.35) as rig:
        wait_until(lambda: hand.turned_away >= 2, "two attempts")
        assert "is another one connected?" in rig.events[0][2]
        other.close()
        wait_until(lambda: rig.states, "states")
    assert rig.reasons() == ["hand_lost", "hand_connected"]


def test_a_hand_that_flaps_is_not_told_at_every_turn(hand: QuirkyHand) -> None:
    hand.quirks.drop = lambda: len(hand.reads) % 10 == 9
    with a_rig(hand.port, reconnect_pause_max=0.35) as rig:
        wait_until(lambda: hand.clients >= 4, "four connections")
    assert rig.reasons().count("hand_lost") == 1
    assert rig.reasons().count("hand_connected") <= 2


@pytest.mark.parametrize("offset", [-1, 1])
def test_a_hand_with_shifted_transaction_ids_is_driven_like_any_other(hand: QuirkyHand, offset: int) -> None:
    hand.quirks.id_offset = offset
    with a_rig(hand.port) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
    assert rig.reasons() == ["hand_connected"]


def test_a_slow_hand_is_still_read_and_says_how_old_the_rest_is(hand: QuirkyHand) -> None:
    hand.quirks.delay_s = lambda: 0.025
    with a_rig(hand.port) as rig:
        wait_until(lambda: any("slow answers" in state.degraded for state in rig.states), "the state tells it")
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
    stamps = [state.stamp_ns for state in rig.states]
    assert stamps == sorted(stamps)


def test_a_pause_of_a_second_and_a_half_is_borne_and_told(hand: QuirkyHand) -> None:
    pauses = iter([0.0] * 20 + [1.5])
    hand.quirks.delay_s = lambda: next(pauses, 0.0)
    with a_rig(hand.port) as rig:
        wait_until(lambda: "hand_slow_answer" in rig.reasons(), "the event")
        before = len(rig.states)
        wait_until(lambda: len(rig.states) > before + 5, "states again")
    assert "hand_lost" not in rig.reasons()
    assert hand.clients == 1


def test_a_hand_that_sends_nonsense_is_not_believed(hand: QuirkyHand) -> None:
    hand.registers[ANGLE_ACT] = [30000] * 6
    with a_rig(hand.port) as rig:
        wait_until(lambda: rig.reasons().count("hand_lost"), "the event")
    assert rig.states == []
    assert "sends nonsense: ANGLE_ACT of little is 30000" in next(
        detail for _, reason, detail in rig.events if reason == "hand_lost"
    )


def test_a_hand_with_every_quirk_at_once_is_driven_and_found_again() -> None:
    hand = QuirkyHand(Quirks(id_offset=1, delay_s=lambda: 0.025, slot_pause_s=0.3))
    with a_rig(hand.port, reconnect_pause_max=0.35) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        hand.drop_client()
        rig.drive(0.25, lambda: hand.clients == 2, "it is found again")
        written = len(hand.written(ANGLE_SET))
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET)[written:], "the command is written anew")
        rig.drive(0.75, lambda: (750,) * 6 in hand.written(ANGLE_SET), "the next command was written")
    hand.close()
    assert rig.reasons()[:3] == ["hand_connected", "hand_lost", "hand_connected"]
    assert hand.written(SPEED_SET) == hand.written(FORCE_SET) == [(500,) * 6] * 2


def test_the_hands_slot_is_left_alone_for_as_long_as_it_needs() -> None:
    """The hand frees its only slot 0.3 s after a close: no configuration may ask for it sooner."""
    with pytest.raises(ParameterError, match="reconnect_pause"):
        from_values(DriverParameters, {"reconnect_pause": 0.29})
