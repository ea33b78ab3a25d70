# SPDX-License-Identifier: Apache-2.0
"""Servers of other protocols, made from what their projects publish and not from our own codecs."""

from __future__ import annotations

import contextlib
import io
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import json_numpy
import msgpack
import numpy as np
import zmq
from openpi_client import msgpack_numpy as openpi_msgpack
from policy_builders import server

from h1_policy_bridge.connection import ServerAddress

Infer = Callable[[Any], Any]


@contextlib.contextmanager
def openpi_server(infer: Infer, metadata: dict[str, Any]) -> Iterator[ServerAddress]:
    """As openpi's `websocket_policy_server.py` does it, with openpi-client's own codec."""

    def handler(connection: Any) -> None:
        connection.send(openpi_msgpack.packb(metadata))
        for message in connection:
            connection.send(openpi_msgpack.packb(infer(openpi_msgpack.unpackb(message))))

    with server(handler) as address:
        yield address


def groot_packed(value: Any) -> bytes:
    """As GR00T's `MsgSerializer` packs."""

    def default(value: Any) -> Any:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": file.getvalue()}

    return msgpack.packb(value, default=default)


def groot_unpacked(message: bytes) -> Any:
    def hook(fields: dict[str, Any]) -> Any:
        return np.load(io.BytesIO(fields["as_npy"])) if "__ndarray_class__" in fields else fields

    return msgpack.unpackb(message, object_hook=hook)


@contextlib.contextmanager
def groot_server(answer: Callable[[dict[str, Any]], bytes | None], *, port: int = 0) -> Iterator[ServerAddress]:
    """A REP socket that answers each request with `answer(request)`; None answers nothing ever again."""
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.bind(f"tcp://127.0.0.1:{port}" if port else "tcp://127.0.0.1:*")
    bound = int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if not socket.poll(20):
                continue
            reply = answer(groot_unpacked(socket.recv()))
            if reply is None:
                stop.wait()
                break
            socket.send(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield ServerAddress("127.0.0.1", bound, "tcp")
    finally:
        stop.set()
        thread.join(5.0)
        socket.close(linger=0)
        context.term()


@contextlib.contextmanager
def http_server(
    respond: Callable[[BaseHTTPRequestHandler, Any], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[ServerAddress]:
    """An HTTP/1.1 server that hands each request to `respond`, its body decoded by json-numpy."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):
                respond(self, json_numpy.loads(body.decode()))

        def log_message(self, *_: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    if tls is not None:
        running.socket = tls.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield ServerAddress("127.0.0.1", running.server_port, "http")
    finally:
        running.shutdown()
        running.server_close()
        thread.join(5.0)


def answer_json(handler: BaseHTTPRequestHandler, value: Any, *, status: int = 200, raw: bytes | None = None) -> None:
    """One whole response."""
    body = json_numpy.dumps(value).encode() if raw is None else raw
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
