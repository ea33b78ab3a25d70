# SPDX-License-Identifier: Apache-2.0
"""From TCP to metadata, with servers that are none, lie, hang or do not fit."""

from __future__ import annotations

import pytest
from policy_builders import METADATA, answering, reply, request, server
from policy_wire import accept_handshake, frame, raw_server, read_request, running

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.chunk import Expectation
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until


def until_shown(it, words: str) -> None:
    wait_until(lambda: words in it.client.state.reason, f"'{words}' is shown")


def answering_http(head: bytes, body: bytes = b""):
    """A TCP server that answers each request with these bytes."""

    def behaviour(connection, stop):
        read_request(connection)
        connection.sendall(head + b"\r\n\r\n" + body)
        stop.wait(5.0)

    return raw_server(behaviour)


def test_a_server_that_drips_its_handshake_is_given_up_after_the_time_out():
    def behaviour(connection, stop):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        while not stop.is_set():
            connection.sendall(b"x: y\r\n")
            stop.wait(0.01)

    limits = {"connect_timeout_s": 1.0, "handshake_timeout_s": 0.3}
    with raw_server(behaviour) as address, running(address, **limits) as it:
        wait_until(lambda: "did not answer the WebSocket handshake" in it.client.state.reason, "the handshake fails")


def test_a_server_that_sends_no_metadata_is_given_up_after_the_time_out():
    def handler(connection):
        connection.recv()

    limits = {"connect_timeout_s": 1.0, "handshake_timeout_s": 0.3}
    with server(handler) as address, running(address, **limits) as it:
        wait_until(lambda: "no metadata within 0.3 s" in it.client.state.reason, "the metadata are missed")


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


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (b"401 Unauthorized", "answered HTTP 401 instead of a WebSocket handshake; check the API key"),
        (b"403 Forbidden", "HTTP 403 instead of a WebSocket handshake; check the API key"),
        (b"404 Not Found", "HTTP 404 instead of a WebSocket handshake; check the port"),
        (b"200 OK", "HTTP 200 instead of a WebSocket handshake; check the port"),
        (b"502 Bad Gateway", "the proxy reaches no policy server behind it"),
    ],
)
def test_something_else_at_the_port_is_said_with_what_to_do(status, words):
    with answering_http(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0") as address, running(address) as it:
        until_shown(it, words)


def test_a_redirect_is_not_followed_with_the_key():
    seen = []

    def behaviour(connection, stop):
        seen.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with raw_server(behaviour) as address, running(address, api_key="secret") as it:
        until_shown(it, "redirects to ws://127.0.0.1:1/, which is not followed")
    assert b"Authorization: Api-Key secret\r\n" in seen[0]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2", "Invalid status line"),
        (b"\xff\xfe\x00", "not valid UTF-8"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no", "Invalid"),
    ],
)
def test_what_is_no_websocket_handshake_is_a_lost_connection_with_a_reason(head, words):
    with answering_http(head) as address, running(address) as it:
        until_shown(it, words)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999", b"x" * 1_000_000),
        (b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 1_000_000, b""),
    ],
)
def test_an_endless_answer_to_the_handshake_is_not_read_to_its_end(head, body):
    with answering_http(head, body) as address, running(address) as it:
        until_shown(it, "answered the WebSocket handshake with over 64 kB")


def test_chunks_of_another_length_than_configured_are_refused_at_connect():
    metadata = msgpack_numpy.pack({"action_dim": 14, "action_horizon": 10})
    bad = server(answering(reply(), metadata=metadata))
    with bad as address, running(address, expected=Expectation(horizon=50)) as it:
        wait_until(lambda: it.client.state.connection is Connection.REFUSED, "the server is refused")
        assert "chunks have 10 actions, the configuration asks for 50" in it.client.state.reason


def test_a_server_that_closes_at_once_is_retried_more_and_more_slowly():
    def behaviour(connection, stop):
        accept_handshake(connection)
        connection.sendall(frame(METADATA) + frame(b"\x03\xf5busy", opcode=0x08))

    with raw_server(behaviour) as address, running(address) as it:
        until_shown(it, "closed the connection (1013: busy)")
        wait_until(lambda: it.client.state.connections >= 3, "it is tried again")
        assert it.client._pause_s(1) < it.client._pause_s(4) <= 0.05 * 1.25
