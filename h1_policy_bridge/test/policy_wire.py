# SPDX-License-Identifier: Apache-2.0
"""A running client, and the server's half of a WebSocket by hand: for servers that no library would be."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import struct
import threading
import time

from policy_builders import client_config, request

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.policy_client import PolicyClient
from h1_policy_bridge.values import InferenceRequest, InferenceResult
from h1_training_testing import wait_until


class Running:
    """A client, what it logged, and a way to one outcome."""

    def __init__(self, client: PolicyClient, log: list[str]) -> None:
        self.client = client
        self.log = log

    def until_connected(self) -> None:
        wait_until(lambda: self.client.is_idle, "the client connects")

    def outcome(self, asked: InferenceRequest | None = None) -> InferenceResult:
        """Submit a request as soon as possible and wait for what becomes of it."""
        asked = request() if asked is None else asked
        wait_until(lambda: self.client.submit(asked), "the client is idle")
        outcomes: list[InferenceResult] = []
        wait_until(lambda: outcomes.extend(self.client.take_results()) or outcomes, "an outcome")
        assert [outcome.tag for outcome in outcomes] == [asked.tag]
        return outcomes[0]


@contextlib.contextmanager
def running(address: ServerAddress, **changes: object):
    log: list[str] = []
    client = PolicyClient(client_config(address, **changes), now_ns=time.monotonic_ns, log=log.append)
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
        yield ServerAddress("127.0.0.1", listener.getsockname()[1])
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5.0)


def accept_handshake(connection: socket.socket) -> None:
    """The server's half of RFC 6455's opening handshake."""
    connection.sendall(handshake_answer(read_request(connection)))


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    return request


def handshake_answer(request: bytes) -> bytes:
    """101, with the answer to the request's key."""
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
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
