# SPDX-License-Identifier: Apache-2.0
"""openpi's WebSocket, `/training_status` and `/healthz` on one port.

The wire is that of `Physical-Intelligence/openpi:src/openpi/serving/websocket_policy_server.py`, with the fork's
`/training_status`: metadata first, a reply a request, and for a request that fails its traceback as text before the
connection is closed with 1011. Unlike there, an inference blocks nobody else: it runs in a thread.

A connection keeps the weights that its metadata named, so that an episode never changes its weights under way; the next
connection gets the new ones. Only the newest and those before it are kept: who stays longer is sent away with 1012.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import json
import logging
import random
import ssl
import time
import traceback
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.training_server.lifecycle import LifeCycle, Status, Weights
from h1_training_node.parameter import parameter
from h1_training_node.process import StopSignal

_LOOK_S, _CLOSE_S = 0.1, 1.0
_MOST_BYTES = 1 << 26
_CLOSE_REASON = "Internal server error. Traceback included in previous frame."
_log = logging.getLogger("policy_server")


@dataclass(frozen=True)
class ServeParameters:
    """How it is served; the delays are for trying out what slow inference does to a session."""

    host: str = parameter("127.0.0.1", "address to listen on; 0.0.0.0 opens it to the network: then set a key")
    port: int = parameter(8000, "port; 0 takes a free one", low=0, high=65535)
    inference_ms: float = parameter(0.0, "an inference takes at least so long, in the mean", unit="ms", low=0.0)
    first_inference_ms: float = parameter(0.0, "the very first one, in which a real server compiles", unit="ms", low=0)
    jitter: float = parameter(0.0, "spread of inference_ms, as a share", low=0.0, high=1.0)


class PolicyServer:
    """Serves what a life cycle has.

    Args:
        life: whose weights.
        metadata: sent first, with checkpoint and epoch, unless a policy has some of its own.
        parameters: see there.
        api_key: what a client has to show; empty asks for none.
        tls: for wss; None for ws.
    """

    def __init__(
        self,
        life: LifeCycle,
        metadata: dict[str, Any],
        parameters: ServeParameters,
        *,
        api_key: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._life, self._metadata, self._parameters, self._tls = life, metadata, parameters, tls
        self._key = f"Api-Key {api_key}" if api_key else ""
        self._connections: dict[ServerConnection, Weights] = {}
        self._inferring = asyncio.Lock()
        self._random = random.Random(0)
        self._first_s = parameters.first_inference_ms / 1e3
        self._inferences, self._largest_step = 0, 0.0
        self.port = 0

    async def serve(self, stop: StopSignal) -> None:
        """Serve until `stop` is set; then nothing can be served any more.

        Raises:
            OSError: the port is taken.
        """
        chosen = self._parameters
        async with websockets.asyncio.server.serve(
            self._converse,
            chosen.host,
            chosen.port,
            compression=None,
            max_size=_MOST_BYTES,
            process_request=self._answer_http,
            close_timeout=_CLOSE_S,
            ssl=self._tls,
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            scheme = "wss" if self._tls else "ws"
            served = self._life.weights.served
            _log.info(
                "listening on %s://%s:%d, epoch %d (%s)",
                scheme, chosen.host, self.port, served.epoch, served.checkpoint,
            )  # fmt: skip
            while stop.received is None:
                await asyncio.sleep(_LOOK_S)
                await self._send_away()
            await asyncio.to_thread(self._life.close)  # ends inferences that hang; connections wait for theirs
        _log.info("%d inferences, largest step inside their chunks %.6f", self._inferences, self._largest_step)

    async def _converse(self, connection: ServerConnection) -> None:
        """Metadata, then replies to requests, until either side has enough."""
        weights = self._connections[connection] = self._life.weights
        served = weights.served
        stated = getattr(weights.policy, "metadata", self._metadata)
        first_message = {**stated, "checkpoint": served.checkpoint, "epoch": served.epoch}
        previous_ms: float | None = None
        try:
            await connection.send(msgpack_numpy.pack(first_message))
            while True:
                message = await connection.recv()
                began_s = time.monotonic()
                reply = await self._inferred(weights, message)
                if previous_ms is not None:
                    reply["server_timing"]["prev_total_ms"] = previous_ms
                await connection.send(msgpack_numpy.pack(reply))
                previous_ms = (time.monotonic() - began_s) * 1e3
        except ConnectionClosed:
            return
        except Exception:
            _log.exception("a request failed")
            await connection.send(traceback.format_exc())
            await connection.close(code=CloseCode.INTERNAL_ERROR, reason=_CLOSE_REASON)
        finally:
            self._connections.pop(connection, None)

    async def _inferred(self, weights: Weights, message: str | bytes) -> dict[str, Any]:
        if isinstance(message, str):
            raise TypeError("a request must be a binary frame")
        began_s = time.monotonic()
        async with self._inferring:  # one at a time, as a GPU has it
            reply = await asyncio.to_thread(_infer, weights, message)
        self._inferences += 1
        steps = np.abs(np.diff(np.asarray(reply["actions"], float), axis=0))
        self._largest_step = max(self._largest_step, float(steps.max(initial=0.0)))
        chosen = self._parameters
        jittered_s = chosen.inference_ms / 1e3 * self._random.uniform(1.0 - chosen.jitter, 1.0 + chosen.jitter)
        wanted_s, self._first_s = self._first_s or jittered_s, 0.0
        await asyncio.sleep(max(0.0, wanted_s - (time.monotonic() - began_s)))
        infer_ms = (time.monotonic() - began_s) * 1e3
        timing = {"infer_ms": infer_ms}
        return {**reply, "policy_timing": reply.get("policy_timing", timing), "server_timing": {"infer_ms": infer_ms}}

    async def _send_away(self) -> None:
        """Let go of weights that are neither the newest nor in use, and close connections that keep very old ones."""
        newest = self._life.weights
        old = [one for one, weights in self._connections.items() if weights.served.epoch < newest.served.epoch - 1]
        reason = "new weights serve; connect again"
        await asyncio.gather(*(one.close(code=CloseCode.SERVICE_RESTART, reason=reason) for one in old))
        in_use = {id(weights.policy) for weights in self._connections.values()}
        await asyncio.to_thread(self._life.close_retired, in_use)

    def _answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Exact paths only; what is left to the library becomes 426 Upgrade Required."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._key and not hmac.compare_digest(request.headers.get("Authorization", ""), self._key):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "a key is needed: Authorization: Api-Key KEY\n")
        if request.path == "/training_status":
            return connection.respond(http.HTTPStatus.OK, json.dumps(document(self._life.status)) + "\n")
        return None


def document(status: Status) -> dict[str, Any]:
    """What `/training_status` answers; what is not known is left out."""
    return {name: value for name, value in asdict(status).items() if value is not None}


def _infer(weights: Weights, message: bytes) -> dict[str, Any]:
    return weights.policy.infer(msgpack_numpy.unpack(message, max_bytes=_MOST_BYTES))
