# SPDX-License-Identifier: Apache-2.0
"""One hand's thread against a hand that is dead, dropped, slow, taken, or says what it should not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from inspire_rig import a_rig
from quirky_hand import ANGLE_ACT, ANGLE_SET, FORCE_SET, SPEED_SET, Quirks, QuirkyHand

from h1_inspire_driver.hand_link import HandLink
from h1_inspire_driver.parameters import DriverParameters
from h1_training_node.message_numbers import Level
from h1_training_node.parameter import ParameterError, from_values
from h1_training_testing import wait_until


@pytest.fixture
def hand() -> Iterator[QuirkyHand]:
    hand = QuirkyHand()
    yield hand
    hand.close()


def test_a_dead_hand_is_reported_once_and_nothing_is_invented() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with a_rig(port, reconnect_pause_max_s=0.35) as rig:
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
    with a_rig(hand.port, reconnect_pause_max_s=0.35) as rig:
        wait_until(lambda: hand.turned_away >= 2, "two attempts")
        assert "is another one connected?" in rig.events[0][2]
        other.close()
        wait_until(lambda: rig.states, "states")
    assert rig.reasons() == ["hand_lost", "hand_connected"]


def test_a_hand_that_flaps_is_not_reported_at_every_turn(hand: QuirkyHand) -> None:
    hand.quirks.drop = lambda: len(hand.reads) % 10 == 9
    with a_rig(hand.port, reconnect_pause_max_s=0.35) as rig:
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
        wait_until(lambda: any("slow answers" in state.degraded for state in rig.states), "the state says so")
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
    stamps = [state.stamp_ns for state in rig.states]
    assert stamps == sorted(stamps)


def test_a_pause_of_a_second_and_a_half_is_tolerated_and_reported(hand: QuirkyHand) -> None:
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
    with a_rig(hand.port, reconnect_pause_max_s=0.35) as rig:
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET), "the command was written")
        hand.drop_client()
        rig.drive(0.25, lambda: hand.clients == 2, "it is found again")
        written = len(hand.written(ANGLE_SET))
        rig.drive(0.25, lambda: (250,) * 6 in hand.written(ANGLE_SET)[written:], "the command is written again")
        rig.drive(0.75, lambda: (750,) * 6 in hand.written(ANGLE_SET), "the next command was written")
    hand.close()
    assert rig.reasons()[:3] == ["hand_connected", "hand_lost", "hand_connected"]
    assert hand.written(SPEED_SET) == hand.written(FORCE_SET) == [(500,) * 6] * 2


def test_the_hands_slot_is_left_alone_for_as_long_as_it_needs() -> None:
    """The hand frees its only slot 0.3 s after a close: no configuration may ask for it sooner."""
    with pytest.raises(ParameterError, match="reconnect_pause_s"):
        from_values(DriverParameters, {"reconnect_pause_s": 0.29})
