"""The client over real sockets, with servers that lie, hang, drip, flood and break off."""

from __future__ import annotations

import struct
import threading

import numpy as np
import pytest
from policy_builders import METADATA, answering, reply, request, server
from policy_wire import accept_handshake, frame, raw_server, running

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.policy_client import Connection
from h1_policy_bridge.policy_link import LinkLimits, first_telling_line
from h1_training_node.testing import wait_until


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


def test_a_traceback_goes_to_the_log_and_its_telling_line_to_the_operator():
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
def test_the_telling_line_of_an_error(text, line):
    assert first_telling_line(text) == line


def test_a_server_that_never_answers_is_given_up_after_the_time_out():
    def handler(connection):
        connection.send(METADATA)
        for _ in connection:
            pass

    with server(handler) as address, running(address, first_request_timeout_s=0.2) as it:
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


def test_a_server_that_drips_its_handshake_is_given_up_after_the_time_out():
    def behaviour(connection, stop):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        while not stop.is_set():
            connection.sendall(b"x: y\r\n")
            stop.wait(0.01)

    limits = LinkLimits(connect_timeout_s=1.0, handshake_timeout_s=0.3)
    with raw_server(behaviour) as address, running(address, limits=limits) as it:
        wait_until(lambda: "did not answer the WebSocket handshake" in it.client.state.reason, "the handshake fails")


def test_a_server_that_sends_no_metadata_is_given_up_after_the_time_out():
    def handler(connection):
        connection.recv()

    limits = LinkLimits(connect_timeout_s=1.0, handshake_timeout_s=0.3)
    with server(handler) as address, running(address, limits=limits) as it:
        wait_until(lambda: "no metadata within 0.3 s" in it.client.state.reason, "the metadata are missed")


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

    limits = LinkLimits(connect_timeout_s=1.0, handshake_timeout_s=2.0, max_reply_bytes=1_000_000)
    with raw_server(behaviour) as address, running(address, limits=limits) as it:
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


@pytest.mark.parametrize("metadata", ["Traceback (most recent call last):\n  x\nOSError: gpu\n", b"\xc1", b"\x91\x01"])
def test_metadata_that_are_none_are_a_lost_connection_with_a_reason(metadata):
    with server(answering(reply(), metadata=metadata)) as address, running(address) as it:
        expected = "OSError: gpu" if isinstance(metadata, str) else "metadata is"
        wait_until(lambda: expected in it.client.state.reason, "the reason is shown")
        assert not it.client.is_idle


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"action_dim": 26}, "26 values per action, this robot is configured for 14 (without hands)"),
        ({"action_dim": "14"}, "action_dim = '14'; expected a whole number"),
        ({"action_dim": True}, "action_dim = True"),
        ({"action_dim": -1}, "action_dim = -1"),
    ],
)
def test_a_server_that_does_not_fit_is_refused_and_asked_nothing(metadata, reason):
    asked = []

    def handler(connection):
        connection.send(msgpack_numpy.pack(metadata))
        asked.extend(connection)

    with server(handler) as address, running(address) as it:
        wait_until(lambda: it.client.state.connection is Connection.REFUSED, "the server is refused")
        assert reason in it.client.state.reason
        assert not it.client.submit(request())
        assert it.client.state.connections == 1
    assert asked == []


def test_something_else_at_the_port_is_said():
    def behaviour(connection, stop):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with raw_server(behaviour) as address, running(address) as it:
        wait_until(lambda: "HTTP 404" in it.client.state.reason, "the status is shown")
        assert "check the port" in it.client.state.reason


def test_a_redirect_is_not_followed_with_the_key():
    seen = []

    def behaviour(connection, stop):
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with raw_server(behaviour) as address, running(address, api_key="secret") as it:
        wait_until(lambda: "broke" in it.client.state.reason, "the redirect is an error")
    assert b"Authorization: Api-Key secret\r\n" in seen[0]
