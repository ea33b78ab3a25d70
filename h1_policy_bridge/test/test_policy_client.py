"""The client over real sockets, with servers that behave and servers that do not."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from policy_builders import METADATA, answering, client_config, monotonic_ns, reply, request, server
from websockets.exceptions import ConnectionClosed

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.policy_client import Connection, ObservationError, Outcome, PolicyClient, Request
from h1_policy_bridge.policy_link import Address, LinkLimits, first_telling_line
from h1_training_node.testing import wait_until

TLS_FILE = Path(__file__).with_name("policy_tls.pem")


class Running:
    """A client, what it logged, and a way to one outcome."""

    def __init__(self, client: PolicyClient, log: list[str]) -> None:
        self.client = client
        self.log = log

    def until_connected(self) -> None:
        wait_until(lambda: self.client.is_idle, "the client connects")

    def outcome(self, asked: Request | None = None) -> Outcome:
        """Submit a request as soon as possible and wait for what becomes of it."""
        asked = request() if asked is None else asked
        wait_until(lambda: self.client.submit(asked), "the client is idle")
        outcomes: list[Outcome] = []
        wait_until(lambda: outcomes.extend(self.client.take_outcomes()) or outcomes, "an outcome")
        assert [outcome.tag for outcome in outcomes] == [asked.tag]
        return outcomes[0]


@contextlib.contextmanager
def running(address: Address, **changes: object):
    log: list[str] = []
    client = PolicyClient(client_config(address, **changes), now_ns=monotonic_ns, log=log.append)
    client.start()
    try:
        yield Running(client, log)
    finally:
        client.stop()


@contextlib.contextmanager
def raw_server(behaviour):
    """A TCP server that hands each connection to `behaviour`."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    behaviour(connection, stop)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", listener.getsockname()[1])
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5.0)


def test_the_metadata_are_read_before_the_client_is_idle():
    metadata = msgpack_numpy.pack({"action_dim": 14, "action_horizon": 50})
    with server(answering(reply(), metadata=metadata)) as address, running(address) as it:
        it.until_connected()
        state = it.client.state
    assert (state.connection, state.facts.action_dim, state.facts.horizon) == (Connection.CONNECTED, 14, 50)
    assert state.since_ns > 0
    assert state.reason == ""


def test_a_reply_becomes_a_chunk_with_its_times_and_its_observation():
    with server(answering(reply())) as address, running(address) as it:
        chunk = it.outcome().chunk
    assert chunk is not None
    assert chunk.actions.shape == (50, 14)
    assert chunk.observation_ns == 7
    assert chunk.server_ms == 1.5
    assert chunk.inference_ms > 0


def test_a_stock_server_without_metadata_is_accepted_and_its_time_is_not_a_number():
    bare = msgpack_numpy.pack({"actions": np.zeros((10, 14))})
    with server(answering(bare, metadata=b"\x80")) as address, running(address) as it:
        chunk = it.outcome().chunk
        assert it.client.state.facts.action_dim == 0
    assert chunk is not None
    assert math.isnan(chunk.server_ms)


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


def test_pings_are_answered_while_nothing_is_asked():
    answered = threading.Event()

    def handler(connection):
        connection.send(METADATA)
        if connection.ping().wait(5.0):
            answered.set()
        connection.recv()

    with server(handler) as address, running(address) as it:
        it.until_connected()
        wait_until(answered.is_set, "the ping is answered")


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


def test_nobody_there_is_said_and_tried_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with running(Address("127.0.0.1", port)) as it:
        wait_until(lambda: "connection refused" in it.client.state.reason, "the refusal is shown")

        def handler(connection):
            connection.send(METADATA)
            connection.recv()

        from websockets.sync.server import serve

        with serve(handler, "127.0.0.1", port, compression=None, max_size=None) as late:
            thread = threading.Thread(target=late.serve_forever, daemon=True)
            thread.start()
            it.until_connected()
            late.shutdown()


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


def test_the_api_key_is_sent_and_never_shown():
    headers = []

    def handler(connection):
        headers.append(connection.request.headers.get("Authorization"))
        connection.send(METADATA)
        connection.recv()
        connection.send("RuntimeError: x")

    with server(handler) as address, running(address, api_key="top-secret") as it:
        outcome = it.outcome()
        shown = repr(it.client._config) + repr(it.client.state) + outcome.reason + "".join(it.log)
    assert headers[0] == "Api-Key top-secret"
    assert "top-secret" not in shown


def test_a_new_epoch_makes_the_connection_anew_and_is_told_with_the_new_metadata():
    epochs = iter([14, 26])

    def handler(connection):
        connection.send(msgpack_numpy.pack({"action_dim": next(epochs)}))
        for _ in connection:
            pass

    with server(handler) as address, running(address) as it:
        it.until_connected()
        assert it.client.state.epoch == -1
        it.client.reconnect(3)
        assert not it.client.is_idle
        wait_until(lambda: it.client.state.epoch == 3, "the connection is made anew")
        assert it.client.state.connection is Connection.REFUSED


def test_a_request_under_way_is_called_off_by_a_reconnection():
    def handler(connection):
        connection.send(METADATA)
        for _ in connection:
            pass

    with server(handler) as address, running(address) as it:
        it.until_connected()
        assert it.client.submit(request(5))
        it.client.reconnect(1)
        wait_until(lambda: it.client.state.epoch == 1 and it.client.is_idle, "the client is idle again")
        assert [(outcome.tag, outcome.reason) for outcome in it.client.take_outcomes()] == [
            (5, "the connection was made anew")
        ]


def test_a_second_request_is_not_taken_while_one_is_under_way():
    with server(answering(reply())) as address, running(address) as it:
        it.until_connected()
        blocked = threading.Event()
        slow = Request(1, lambda: blocked.wait(5.0) and {"state": 1}, np.zeros(14), 0)
        assert it.client.submit(slow)
        assert not it.client.submit(request(2))
        blocked.set()


def test_an_observation_that_cannot_be_built_is_not_sent():
    received = []

    def handler(connection):
        connection.send(METADATA)
        received.extend(connection)

    def build():
        raise ObservationError("ego_cam sent rubbish")

    with server(handler) as address, running(address) as it:
        outcome = it.outcome(Request(1, build, np.zeros(14), 0))
        assert (outcome.reason, outcome.was_sent) == ("ego_cam sent rubbish", False)
        assert it.client.is_idle
    assert received == []


def test_a_bug_while_building_is_logged_and_the_client_lives_on():
    def build():
        raise ZeroDivisionError

    with server(answering(reply())) as address, running(address) as it:
        assert it.outcome(Request(1, build, np.zeros(14), 0)).chunk is None
        assert any("ZeroDivisionError" in line for line in it.log)
        assert it.outcome(request(2)).chunk is not None


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FILE)
    return context


def test_wss_works_with_a_certificate_that_is_trusted(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS_FILE))
    with server(answering(reply()), ssl=tls()) as address, running(Address("wss://127.0.0.1", address.port)) as it:
        assert it.outcome().chunk is not None
        big = {"x": np.zeros(450_000, np.uint8)}
        assert it.outcome(Request(2, lambda: big, np.zeros(14), 0)).chunk is not None


def test_wss_with_a_certificate_that_nobody_vouches_for_is_refused_and_says_so():
    with server(answering(reply()), ssl=tls()) as address, running(Address("wss://127.0.0.1", address.port)) as it:
        wait_until(lambda: "no TLS with wss://127.0.0.1" in it.client.state.reason, "the reason is shown")
        assert "CERTIFICATE_VERIFY_FAILED" in it.client.state.reason


def test_a_request_arrives_as_it_was_built():
    received = []

    def handler(connection):
        connection.send(METADATA)
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                received.append(msgpack_numpy.unpack(message))
                connection.send(reply())

    with server(handler) as address, running(address) as it:
        for size in (0, 1, 2, 3, 150_528):
            build = {"x": np.arange(size, dtype=np.uint32).astype(np.uint8), "state": np.zeros(14)}
            it.outcome(Request(size, lambda build=build: build, np.zeros(14), 0))
            np.testing.assert_equal(received.pop(), build)


def test_a_stop_ends_the_thread_in_the_middle_of_anything():
    def handler(connection):
        connection.send(METADATA)
        for _ in connection:
            pass

    with server(handler) as address, running(address) as it:
        it.until_connected()
        it.client.submit(request())
        it.client.stop()
        assert not it.client._thread.is_alive()
        assert it.client.state.connection is Connection.DISCONNECTED


def accept_handshake(connection: socket.socket) -> None:
    """The server's half of RFC 6455's opening handshake."""
    import base64
    import hashlib

    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def frame(payload: bytes, *, opcode: int = 0x02, fin: bool = True) -> bytes:
    """One unmasked frame, as servers send them."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + bytes([126]) + struct.pack("!H", len(payload)) + payload
    return head + bytes([127]) + struct.pack("!Q", len(payload)) + payload
