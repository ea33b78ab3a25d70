# SPDX-License-Identifier: Apache-2.0
"""Every protocol against servers that lie, flood, drip or send something else: refused by name, and nothing breaks.

What only WebSockets can do is in `test_policy_client_hostile.py` and `test_policy_client_handshake.py`.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import threading
import time
import tracemalloc

import msgpack
import numpy as np
import pytest
import zmq
from policy_protocol_builders import ACTIONS, asked, expected, groot_answers
from policy_servers import answer_json, groot_packed, groot_server, http_server, openpi_server
from policy_wire import raw_server, running

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.plain_array import ArrayError, CodecError, DtypeError, npy_array
from h1_training_node.message_numbers import Connection
from h1_training_testing import wait_until

PRESET = {"openpi": "h1", "groot": "groot", "http": "openvla_oft"}
SCHEME = {"openpi": "ws", "groot": "tcp", "http": "http"}
MODULES = tuple(PRESET)


def serving(protocol: str, actions: np.ndarray):
    """A server of `protocol` that gives these actions."""
    if protocol == "openpi":
        return openpi_server(lambda _: {"actions": actions}, {})
    if protocol == "http":
        return http_server(lambda handler, _: answer_json(handler, {"actions": actions}))
    good = groot_answers([])

    def answer(request: dict) -> bytes:
        if request["endpoint"] != "get_action":
            return good(request)
        axes = (None,) * (3 - actions.ndim)
        return groot_packed([{"left_arm": actions[(*axes, ..., slice(0, 7))], "right_arm": actions[..., 7:]}, {}])

    return groot_server(answer)


def outcome(protocol: str, actions: np.ndarray):
    with (
        serving(protocol, actions) as address,
        running(address, protocol=protocol, expected=expected(PRESET[protocol])) as it,
    ):
        result = it.outcome(asked(PRESET[protocol]))
        assert it.client.state.connection is Connection.CONNECTED
        assert it.client.state.connections == 1
        assert it.log == []
        return result


@pytest.mark.parametrize("protocol", MODULES)
@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.full((50, 14), np.nan), "is nan at step 0"),
        (np.where(np.arange(700).reshape(50, 14) == 699, -np.inf, 0.0), "is -inf at step 49, value 13"),
        (np.full((50, 14), 1e300), "expected finite numbers"),
        (np.full((50, 14), 45.0), "no pose of these arms"),
        (np.zeros((0, 14)), "'actions' is 0x14"),
        (np.zeros((5000, 14)), "'actions' is 5000x14"),
    ],
)
def test_actions_that_must_move_nothing_are_refused_alike_in_every_protocol(protocol, actions, words):
    result = outcome(protocol, actions)
    assert result.chunk is None
    assert words in result.reason
    assert result.reason.startswith("reply refused: ")


@pytest.mark.parametrize("protocol", MODULES)
def test_good_actions_come_back_from_the_same_servers(protocol):
    chunk = outcome(protocol, ACTIONS).chunk
    assert chunk is not None
    np.testing.assert_allclose(chunk.actions, ACTIONS)


@pytest.mark.parametrize("protocol", MODULES)
def test_a_port_that_takes_connections_and_says_nothing_is_lost_in_time(protocol):
    def silent(_peer, stop):
        stop.wait(10.0)

    limits = {"handshake_timeout_s": 0.3, "first_request_timeout_s": 0.3, "request_timeout_s": 0.3}
    with raw_server(silent) as address:
        where = ServerAddress(address.host, address.port, SCHEME[protocol])
        with running(where, protocol=protocol, expected=expected(PRESET[protocol]), **limits) as it:
            if protocol == "http":  # says nothing of itself: the first request shows it
                assert it.outcome(asked("openvla_oft")).reason == "the policy server gave no answer within 0.3 s"
            else:
                wait_until(lambda: it.client.state.reason not in ("", "not connected yet"), "a reason", 3.0)
            assert it.client.state.connection is not Connection.CONNECTED
            assert it.log == []


@pytest.mark.parametrize("protocol", MODULES)
@pytest.mark.parametrize(
    "first", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 4096, b"HTTP/1.1 200 OK\r\n" * 3000, b"\xff" * 64]
)
def test_something_else_at_the_port_is_a_lost_connection_with_a_reason(protocol, first):
    def sends_first(peer, stop):
        peer.sendall(first)
        stop.wait(10.0)

    limits = {"handshake_timeout_s": 0.5, "first_request_timeout_s": 0.5, "request_timeout_s": 0.5}
    with raw_server(sends_first) as address:
        where = ServerAddress(address.host, address.port, SCHEME[protocol])
        with running(where, protocol=protocol, expected=expected(PRESET[protocol]), **limits) as it:
            if protocol == "http":
                assert it.outcome(asked("openvla_oft")).chunk is None
            wait_until(lambda: it.client.state.reason not in ("", "not connected yet"), "a reason", 5.0)
            assert it.client.state.reason.isprintable()
            assert it.log == []


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ([b"HTTP/1.1 200 OK\r\nX: "] + [b"x"] * 200, "gave no answer within 0.5 s"),
        ([b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n"] * 150, "does not answer in HTTP: got more than 100 headers"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"], "does not answer in HTTP"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"] * 100_000, "sent a message without end"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n"] + [b"x" * 65536] * 40, "without end"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"], "does not answer in HTTP"),
        (
            [b"HTTP/1.1 302 Found\r\nLocation: http://other/\x1b[2J\r\nContent-Length: 0\r\n\r\n"],
            "redirects to http://other/",
        ),
    ],
)
def test_http_heads_that_drip_flood_or_lead_away_are_given_up(head, words):
    def behaviour(peer, _stop):
        received = b""
        while b"\r\n\r\n" not in received:
            received += peer.recv(65536)
        for part in head:
            peer.sendall(part)
            time.sleep(0.01 if len(head) == 201 else 0.0)
        with contextlib.suppress(OSError):
            while peer.recv(65536):
                pass

    with raw_server(behaviour) as address:
        where = ServerAddress(address.host, address.port, "http")
        limits = {"first_request_timeout_s": 0.5 if "0.5 s" in words else 5.0, "max_reply_bytes": 1_000_000}
        with running(where, protocol="http", expected=expected("openvla_oft"), **limits) as it:
            result = it.outcome(asked("openvla_oft"))
            assert words in result.reason
            assert result.reason.isprintable()
            assert it.log == []


def test_an_answer_that_nobody_asked_for_is_not_read_as_the_next_ones():
    stale = (ACTIONS + 0.1).tolist()

    def respond(handler, _observation) -> None:
        answer_json(handler, ACTIONS.tolist())
        select.select([handler.connection], [], [], 10.0)  # until the next request is there, or the connection closed
        answer_json(handler, stale)

    with http_server(respond) as address, running(address, protocol="http", expected=expected("openvla_oft")) as it:
        for tag in range(4):
            chunk = it.outcome(asked("openvla_oft", tag)).chunk
            assert chunk is not None
            np.testing.assert_allclose(chunk.actions, ACTIONS)


# -- GR00T: arrays as files, messages in parts -----------------------------------------------------------------------


def npy(array: np.ndarray, *, version: tuple[int, int] | None = None, order: str = "C") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array, order=order), version=version, allow_pickle=False)
    return file.getvalue()


def described(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "array", [np.float32(3.0), np.arange(6.0).reshape(1, 2, 3), np.zeros((0, 7)), np.array([True])]
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes_is_read_as_numpy_reads_it(array, version, order):
    read = npy_array(npy(array, version=version, order=order))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.asarray(array).dtype
    assert not read.flags.writeable


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (described("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"), ArrayError),
        (described("{'descr': '<f8', 'fortran_order': False, 'shape': (16777216, 16777216), }"), ArrayError),
        (described("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 100 + ",), }"), ArrayError),
        (described("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n"), DtypeError),
        (described("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", b"x" * 16), DtypeError),
        (described("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", b"x" * 8), ArrayError),
        (described("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"x" * 8), ArrayError),
        (described("{" * 5000), ArrayError),
        (described("(" * 5000), ArrayError),
        (described("'"), ArrayError),
        (described("__import__('os').abort()"), ArrayError),
        (b"\x93NUMPY\x01\x00\xff\xff{}", ArrayError),
        (b"\x93NUMPY\x09\x00", ArrayError),
        (b"\x93NUMPY", ArrayError),
        (b"", ArrayError),
        (b"PK\x03\x04", ArrayError),
        (npy(np.zeros(3))[:-1], ArrayError),
        (npy(np.zeros(3)) + b"x", ArrayError),
    ],
)
def test_a_file_that_describes_no_plain_array_of_its_own_bytes_is_refused_before_memory_is_taken(file, error):
    tracemalloc.start()
    with pytest.raises(error) as raised:
        npy_array(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert issubclass(raised.type, CodecError)
    assert peak < 1_000_000
    assert len(str(raised.value)) < 200


@contextlib.contextmanager
def zmq_server(reply: list[bytes]):
    """Answers each `get_action` by these parts, and what else is asked as GR00T does."""
    context = zmq.Context()
    sock = context.socket(zmq.REP)
    sock.bind("tcp://127.0.0.1:*")
    stop, good = threading.Event(), groot_answers([])

    def serve() -> None:
        while not stop.is_set():
            if sock.poll(20):
                request = msgpack.unpackb(sock.recv())
                is_action = request["endpoint"] == "get_action"
                sock.send_multipart(reply if is_action else [good({"endpoint": request["endpoint"]})])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        port = int(sock.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        yield ServerAddress("127.0.0.1", port, "tcp")
    finally:
        stop.set()
        thread.join(5.0)
        sock.close(linger=0)
        context.term()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ([b"\x80", b"\x80"], "a message of several parts"),
        ([b"\x91" * 100_000 + b"\x80"], "not a msgpack message"),
        (
            [msgpack.packb({"left_arm": {"__ndarray_class__": True, "as_npy": described("(" * 900)}})],
            "describes no plain",
        ),
        ([b"\xdf\xff\xff\xff\xff"], "not a msgpack message"),
        ([b"\x00" * 2_000_000], "gave no answer within 0.5 s"),  # over the limit: ZeroMQ drops it, and the peer with it
    ],
)
def test_groot_messages_in_parts_too_deep_or_too_long_are_refused(reply, words):
    limits = {"first_request_timeout_s": 0.5, "request_timeout_s": 0.5, "max_reply_bytes": 1_000_000}
    with zmq_server(reply) as address, running(address, protocol="groot", expected=expected("groot"), **limits) as it:
        result = it.outcome(asked("groot"))
        assert result.chunk is None
        assert words in result.reason
        assert it.log == []


def test_a_groot_greeting_that_drips_is_given_up_after_the_time_out():
    def dripping(peer: socket.socket, stop) -> None:
        for byte in b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03" * 100:
            peer.sendall(bytes([byte]))
            if stop.wait(0.02):
                return

    with raw_server(dripping) as address:
        where = ServerAddress(address.host, address.port, "tcp")
        with running(where, protocol="groot", expected=expected("groot"), handshake_timeout_s=0.3) as it:
            wait_until(lambda: "gave no answer within 0.3 s" in it.client.state.reason, "it is lost", 5.0)
            assert it.log == []
