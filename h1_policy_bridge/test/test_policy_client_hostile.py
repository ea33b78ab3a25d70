# SPDX-License-Identifier: Apache-2.0
"""The client over real sockets, with servers that lie, hang, drip, flood and break off."""

from __future__ import annotations

import struct
import threading

import msgpack
import numpy as np
import pytest
from policy_builders import METADATA, answering, reply, server, unanswering
from policy_wire import accept_handshake, frame, raw_server, running

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.link_errors import cause_line
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until


def actions_on_the_wire(**changes: object) -> bytes:
    """A reply whose array of actions says something of itself that is not so."""
    fields = {"__ndarray__": True, "data": b"\0" * 5600, "dtype": "<f8", "shape": [50, 14], **changes}
    return msgpack.packb({"actions": {name.encode(): value for name, value in fields.items()}})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (msgpack_numpy.pack({"actions": np.zeros((50, 32), np.float32)}), "'actions' is 50x32; expected steps x 14"),
        (msgpack_numpy.pack({"actions": np.zeros(14, np.float32)}), "'actions' is 14; expected steps x 14"),
        (msgpack_numpy.pack({"actions": np.zeros((0, 14), np.float32)}), "'actions' is 0x14"),
        (msgpack_numpy.pack({"actions": np.full((2, 14), np.nan)}), "'actions' is nan at step 0, value 0"),
        (msgpack_numpy.pack({"actions": np.full((2, 14), np.inf)}), "'actions' is inf at step 0"),
        (msgpack_numpy.pack({"actions": np.full((2, 14), 1e300)}), "at step 0"),
        (msgpack_numpy.pack({"actions": np.zeros((2, 14), bool)}), "'actions' is an array of bool"),
        (msgpack_numpy.pack({"actions": [[0.0] * 14]}), "'actions' is list"),
        (msgpack_numpy.pack({"state": 1}), "reply has no 'actions'; it has state"),
        (msgpack_numpy.pack([1, 2]), "reply is list"),
        (b"\xc1", "not a msgpack message"),
        (b"", "not a msgpack message"),
        (b"\x91" * 500 + b"\xc0", "nested deeper"),
        (actions_on_the_wire(dtype="|O"), "array dtype is '|O'; only plain numbers"),
        (actions_on_the_wire(dtype="|V8"), "array dtype is '|V8'"),
        (actions_on_the_wire(dtype="<c8"), "array dtype is '<c8'"),
        (actions_on_the_wire(data=b"\0" * 5599), "needs 5600 bytes, has 5599"),
        (actions_on_the_wire(shape=[50, 15]), "needs 6000 bytes, has 5600"),
        (actions_on_the_wire(shape=[-50, -14]), "is negative or too large"),
        (actions_on_the_wire(shape=[2**62, 14]), "is negative or too large"),
        (
            msgpack_numpy.pack({"actions": np.full((2, 14), 45.0)}),
            "no pose of these arms: left_shoulder_pitch_joint is 45 rad",
        ),
    ],
)
def test_a_reply_that_cannot_be_used_is_refused_by_name_and_the_connection_lives_on(message, reason):
    with server(answering(message)) as address, running(address) as it:
        outcome = it.outcome()
        assert outcome.chunk is None
        assert reason in outcome.reason
        assert outcome.was_sent
        assert it.client.state.connection is Connection.CONNECTED
        assert it.client.state.connections == 1


def test_a_traceback_goes_to_the_log_and_its_cause_line_to_the_operator():
    text = 'Traceback (most recent call last):\n  File "server.py", line 3, in infer\nValueError: no cam_head\n'

    def handler(connection):
        connection.send(METADATA)
        connection.recv()
        connection.send(text)
        connection.close(1011, "Internal server error. Traceback included in previous frame.")

    with server(handler) as address, running(address) as it:
        outcome = it.outcome()
    assert outcome.reason == "policy server error: ValueError: no cam_head"
    assert any('File "server.py", line 3' in line for line in it.log)


def test_a_server_that_floods_and_paints_reaches_neither_the_terminal_nor_the_disk():
    noise = "\x1b[2J\x1b]0;owned\x07"
    text = f"Traceback (most recent call last):\n{noise}{'x' * 1_000_000}\nValueError: {noise}bad{'y' * 10_000}\n"

    def handler(connection):
        connection.send(METADATA)
        connection.recv()
        connection.send(text)
        connection.close(1011, noise)

    with server(handler) as address, running(address) as it:
        reason = it.outcome().reason
        logged = "".join(it.log)
    assert reason.startswith("policy server error: ValueError: [2J ]0;owned bad")
    assert len(reason) <= 250
    assert reason.isprintable()
    assert len(logged) < 20_000
    assert "\x1b" not in logged


def test_after_an_error_the_client_comes_back_and_works():
    calls = []

    def handler(connection):
        connection.send(METADATA)
        connection.recv()
        calls.append(1)
        if len(calls) == 1:
            connection.send("RuntimeError: once")
            connection.close(1011)
        else:
            connection.send(reply())
            connection.recv()

    with server(handler) as address, running(address) as it:
        assert it.outcome().chunk is None
        assert it.outcome().chunk is not None
        assert it.client.state.connections == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it did not say what"),
        ("plain words\nmore", "plain words"),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'state'\n", "KeyError: 'state'"),
        ("Traceback (most recent call last):\n  File x\nfoo.Bar: a\nsecond line of it\n", "foo.Bar: a"),
        ("Traceback (most recent call last):\n  File x\nKeyboardInterrupt\n", "KeyboardInterrupt"),
    ],
)
def test_the_cause_line_of_an_error(text, line):
    assert cause_line(text) == line


def test_a_server_that_never_answers_is_given_up_after_the_time_out():
    with server(unanswering()) as address, running(address, first_request_timeout_s=0.2) as it:
        assert it.outcome().reason == "the policy server gave no answer within 0.2 s"
        it.until_connected()
        assert it.client.state.connections >= 2


def test_only_the_first_inference_of_a_connection_may_take_long():
    release = threading.Event()

    def handler(connection):
        connection.send(METADATA)
        connection.recv()
        connection.send(reply())
        connection.recv()
        release.wait(10.0)

    with server(handler) as address, running(address, first_request_timeout_s=30.0, request_timeout_s=0.2) as it:
        assert it.outcome().chunk is not None
        assert "no answer within 0.2 s" in it.outcome().reason
        release.set()


def test_a_server_that_closes_in_the_middle_of_a_reply_costs_one_outcome():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        connection.sendall(frame(reply())[:100])

    with raw_server(behaviour) as address, running(address) as it:
        assert it.outcome().reason == "the policy server closed the connection"


def test_a_server_that_drips_its_reply_byte_by_byte_is_given_up_after_the_time_out():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        for byte in frame(reply()):
            connection.sendall(bytes([byte]))
            stop.wait(0.01)

    with raw_server(behaviour) as address, running(address, first_request_timeout_s=0.3) as it:
        assert it.outcome().reason == "the policy server gave no answer within 0.3 s"


@pytest.mark.parametrize("announced", [2**40, 2**62])
def test_a_frame_announced_as_huge_is_refused_before_it_is_read(announced):
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        connection.sendall(struct.pack("!BBQ", 0x82, 127, announced) + b"\0" * 1000)
        stop.wait(5.0)

    with raw_server(behaviour) as address, running(address) as it:
        assert f"sent a message of {announced} bytes; at most" in it.outcome().reason


def test_many_small_fragments_count_as_one_message():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        connection.sendall(frame(b"\0" * 60_000, opcode=0x02, fin=False))
        while not stop.is_set():
            connection.sendall(frame(b"\0" * 60_000, opcode=0x00, fin=False))

    limits = {"connect_timeout_s": 1.0, "handshake_timeout_s": 2.0, "max_reply_bytes": 1_000_000}
    with raw_server(behaviour) as address, running(address, **limits) as it:
        assert "at most 1000000 are read" in it.outcome().reason


def test_a_reply_in_fragments_is_read_whole():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        whole = reply()
        connection.sendall(frame(whole[:500], opcode=0x02, fin=False))
        connection.sendall(frame(b"ping", opcode=0x09))
        connection.sendall(frame(whole[500:], opcode=0x00))
        stop.wait(5.0)

    with raw_server(behaviour) as address, running(address) as it:
        assert it.outcome().chunk is not None


def test_chunks_of_another_length_than_configured_are_refused():
    with server(answering(reply())) as address, running(address, expected=Expectation(horizon=10)) as it:
        assert it.outcome().reason == "reply refused: 'actions' has 50 steps; expected 10"


def test_pings_without_end_are_no_answer():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA))
        connection.recv(65536)
        while not stop.is_set():
            connection.sendall(frame(b"still here", opcode=0x09))
            stop.wait(0.01)

    with raw_server(behaviour) as address, running(address, first_request_timeout_s=0.3) as it:
        assert it.outcome().reason == "the policy server gave no answer within 0.3 s"


@pytest.mark.parametrize(
    ("unasked", "reason"),
    [
        (frame(reply()), "bytes unasked"),
        (frame(b"Traceback (most recent call last):\n  x\nOSError: gpu lost\n", opcode=0x01), "OSError: gpu lost"),
        (frame(b"", opcode=0x00), "Illegal frame"),
        (frame(b"", opcode=0x03), "Invalid opcode"),
        (b"\xc2\x00", "rsv is not implemented"),
        (frame(b"x" * 126, opcode=0x09), "Ping message is too long"),
    ],
)
def test_what_a_server_says_unasked_is_a_lost_connection_with_a_reason(unasked, reason):
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA) + unasked)
        stop.wait(5.0)

    with raw_server(behaviour) as address, running(address) as it:
        wait_until(lambda: reason in it.client.state.reason, f"'{reason}' is shown")
