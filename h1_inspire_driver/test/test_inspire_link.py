# SPDX-License-Identifier: Apache-2.0
"""One connection to a hand with quirks: either the right answer, or `HandLostError`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient
from quirky_hand import ANGLE_SET as ANGLE_SET_ADDRESS
from quirky_hand import Quirks, QuirkyHand

from h1_inspire_driver.hand_link import HandLink, HandLostError, TolerantFramer, make_tolerant
from h1_inspire_driver.registers import ANGLE_ACT, ANGLE_SET, FORCE_ACT, STATUS
from h1_training_testing import wait_until


@pytest.fixture
def hand() -> Iterator[QuirkyHand]:
    hand = QuirkyHand()
    yield hand
    hand.close()


def a_link(hand: QuirkyHand, timeout_s: float = 5.0) -> HandLink:
    link = HandLink("127.0.0.1", hand.port, unit_id=1, timeout_s=timeout_s)
    link.connect()
    return link


def test_a_block_is_read_whole(hand: QuirkyHand) -> None:
    assert a_link(hand).read(ANGLE_ACT) == [1000, 900, 800, 700, 600, 500]
    assert hand.reads == [1546]


def test_a_block_is_written_whole_with_leave_as_minus_one(hand: QuirkyHand) -> None:
    a_link(hand).write(ANGLE_SET, (1, -1, 1000, 0, 5, 6))
    assert hand.written(ANGLE_SET_ADDRESS) == [(1, -1, 1000, 0, 5, 6)]


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_transaction_id_off_by_one_is_tolerated(hand: QuirkyHand, offset: int) -> None:
    hand.quirks.id_offset = offset
    link = a_link(hand)
    assert link.read(ANGLE_ACT)[0] == 1000
    link.write(ANGLE_SET, (1,) * 6)
    assert link.read(STATUS) == [0, 0, 0]


def test_a_transaction_id_further_off_ends_the_connection(hand: QuirkyHand) -> None:
    hand.quirks.id_offset = 2
    with pytest.raises(HandLostError):
        a_link(hand).read(ANGLE_ACT)


def test_a_client_is_made_tolerant_once_however_often_it_is_asked() -> None:
    client = ModbusTcpClient("127.0.0.1")
    framer = make_tolerant(client)
    assert make_tolerant(client) is framer
    assert client.framer is framer
    assert client.transaction.framer is framer


@given(st.integers(1, 65000), st.integers(-3, 3), st.integers(1, 20))
def test_the_framer_takes_an_answer_cut_anywhere_and_only_a_neighbours_id(asked: int, offset: int, cut: int) -> None:
    framer = TolerantFramer(ModbusTcpClient("127.0.0.1").framer.decoder)
    answer = ((asked + offset) % 65536).to_bytes(2, "big") + bytes.fromhex("0000000f01030c") + bytes(12)
    assert framer.handleFrame(answer[:cut], 1, asked) == (0, None)
    used, pdu = framer.handleFrame(answer, 1, asked)
    assert used == len(answer)
    assert pdu is not None
    assert (pdu.transaction_id == asked) == (abs(offset) <= 1)


def test_a_slow_answer_is_waited_for(hand: QuirkyHand) -> None:
    pauses = iter([1.5])
    hand.quirks.delay_s = lambda: next(pauses, 0.025)
    link = a_link(hand)
    assert link.read(ANGLE_ACT)[0] == 1000
    assert link.read(ANGLE_ACT)[0] == 1000


def test_an_answer_that_never_comes_ends_the_connection(hand: QuirkyHand) -> None:
    hand.quirks.is_mute = True
    link = a_link(hand, timeout_s=0.1)
    with pytest.raises(HandLostError, match=r"did not answer properly to ANGLE_ACT within 0\.1 s"):
        link.read(ANGLE_ACT)
    with pytest.raises(HandLostError, match="is not connected"):
        link.read(ANGLE_ACT)


def test_an_answer_that_comes_twice_ends_the_connection(hand: QuirkyHand) -> None:
    hand.quirks.answers = 2
    link = a_link(hand)
    with pytest.raises(HandLostError, match=r"sent (21 bytes more than the answer|what nobody asked for)"):
        for _ in range(3):
            link.read(FORCE_ACT)


def test_bytes_that_nobody_asked_for_end_the_connection(hand: QuirkyHand) -> None:
    link = a_link(hand)
    link.read(ANGLE_ACT)
    hand.send(b"surprise")
    wait_until(lambda: link.has_unread, "the bytes have arrived")
    with pytest.raises(HandLostError, match="sent what nobody asked for"):
        link.read(ANGLE_ACT)


def test_a_dropped_connection_is_reported(hand: QuirkyHand) -> None:
    link = a_link(hand)
    link.read(ANGLE_ACT)
    hand.drop_client()
    wait_until(lambda: link.has_unread, "the end has arrived")
    with pytest.raises(HandLostError, match="closed the connection"):
        link.read(ANGLE_ACT)


def test_a_second_client_learns_that_there_may_be_another(hand: QuirkyHand) -> None:
    first = a_link(hand)
    first.read(ANGLE_ACT)
    second = a_link(hand)
    with pytest.raises(HandLostError, match="a hand serves one client: is another one connected"):
        second.read(ANGLE_ACT)
    assert first.read(ANGLE_ACT)[0] == 1000


def test_a_refused_register_is_reported_by_name(hand: QuirkyHand) -> None:
    hand.quirks.refuses.add(ANGLE_ACT.address)
    with pytest.raises(HandLostError, match=r"refuses ANGLE_ACT \(Modbus exception 2\)"):
        a_link(hand).read(ANGLE_ACT)


def test_an_address_where_nobody_listens_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(HandLostError, match=f"127.0.0.1:{port} cannot be reached"):
        HandLink("127.0.0.1", port, unit_id=1, timeout_s=1.0).connect()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 20), st.sampled_from(["noise", "cut", "inserted", "before"]))
def test_whatever_a_hand_sends_is_an_answer_or_the_end(noise: bytes, at: int, kind: str) -> None:
    def garble(answer: bytes) -> bytes:
        return {
            "noise": noise,
            "cut": answer[:at],
            "inserted": answer[:at] + noise + answer[at:],
            "before": noise + answer,
        }[kind]

    hand = QuirkyHand(Quirks(garble=garble))
    link = HandLink("127.0.0.1", hand.port, unit_id=1, timeout_s=0.05)
    try:
        link.connect()
        assert len(link.read(ANGLE_ACT)) == 6
    except HandLostError:
        with pytest.raises(HandLostError, match="is not connected"):
            link.read(ANGLE_ACT)
    finally:
        link.close()
        hand.close()
