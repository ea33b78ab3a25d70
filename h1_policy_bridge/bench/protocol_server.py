#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A policy server that infers nothing, as a process: decodes as its project does, and says how long that took.

    python protocol_server.py openpi --host 127.0.0.1

Prints its port. Its own time begins with the request's last byte and ends when the answer is encoded, but for GR00T's
and `POST /act`'s own encoding, which is in no field that they could fill.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import json_numpy
import numpy as np
import zmq
from openpi_client import msgpack_numpy as openpi_msgpack
from websockets.sync.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))
from policy_servers import groot_packed, groot_unpacked

ACTIONS = np.zeros((50, 14), np.float32)


def since(began_s: float) -> dict[str, dict[str, float]]:
    return {"server_timing": {"infer_ms": (time.perf_counter() - began_s) * 1e3}}


def openpi(host: str, listening: Callable[[int], None]) -> None:
    def handler(connection: ServerConnection) -> None:
        connection.send(openpi_msgpack.packb({"image_encodings": ["raw", "jpeg"]}))
        for message in connection:
            began_s = time.perf_counter()
            openpi_msgpack.unpackb(message)
            connection.send(openpi_msgpack.packb({"actions": ACTIONS, **since(began_s)}))

    with serve(handler, host, 0, compression=None, max_size=None) as server:
        listening(server.socket.getsockname()[1])
        server.serve_forever()


def groot(host: str, listening: Callable[[int], None]) -> None:
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(f"tcp://{host}:*")
    listening(int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]))
    while True:
        message = socket.recv()
        began_s = time.perf_counter()
        if groot_unpacked(message)["endpoint"] != "get_action":
            socket.send(groot_packed({}))
            continue
        actions = {"left_arm": ACTIONS[None, :, :7], "right_arm": ACTIONS[None, :, 7:]}
        socket.send(groot_packed([{**actions, **since(began_s)}, {}]))


def http(host: str, listening: Callable[[int], None]) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            began_s = time.perf_counter()
            json_numpy.loads(body.decode())
            answer = json_numpy.dumps({"actions": ACTIONS, **since(began_s)}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            self.wfile.write(head + answer)  # in one segment: two would wait for each other's acknowledgement

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer((host, 0), Handler)
    listening(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    SERVERS = {"openpi": openpi, "groot": groot, "http": http}
    SERVERS[sys.argv[1]](sys.argv[3], lambda port: print(port, flush=True))
