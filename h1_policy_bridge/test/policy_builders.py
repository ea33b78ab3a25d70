# SPDX-License-Identifier: Apache-2.0
"""Data and peers for the tests of the policy bridge: chunks, images, servers, a client without a wire."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from websockets.sync.server import Server, ServerConnection, serve

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.policy_client import ClientConfig
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import ClientState, InferenceRequest, InferenceResult
from h1_training_node.message_numbers import Connection

METADATA = msgpack_numpy.pack({"action_dim": 14})

Handler = Callable[[ServerConnection], None]


def chunk(
    actions: np.ndarray | None = None, *, observation_ns: int = 0, state: np.ndarray | None = None, done: bool = False
) -> Chunk:
    """A chunk of the given actions; by default 50 steps that rise by 0.01 rad from 0."""
    if actions is None:
        actions = ramp()
    return Chunk(
        actions=actions,
        observation_ns=observation_ns,
        inference_ms=100.0,
        server_ms=90.0,
        done=done,
        state=actions[0] if state is None else state,
    )


def ramp(start: float = 0.0, slope: float = 0.01, *, steps: int = 50, dim: int = 14) -> np.ndarray:
    """(steps, dim) that rise evenly, every value alike."""
    return np.repeat((start + slope * np.arange(steps))[:, None], dim, axis=1)


def gradient_image(width: int = 640, height: int = 480) -> np.ndarray:
    """(height, width, 3) uint8 RGB: smooth gradients, so that every way of scaling agrees on it."""
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([across, down, 255 - across], axis=2).astype(np.uint8)


def jpeg(width: int = 640, height: int = 480) -> bytes:
    return simplejpeg.encode_jpeg(gradient_image(width, height), quality=95, colorspace="RGB", colorsubsampling="444")


def reply(actions: np.ndarray | None = None, **more: object) -> bytes:
    """A good reply on the wire, with whatever is added or replaced."""
    actions = ramp().astype(np.float32) if actions is None else actions
    return msgpack_numpy.pack({"actions": actions, "server_timing": {"infer_ms": 1.5}, **more})


@contextlib.contextmanager
def server(handler: Handler, **options: object) -> Iterator[ServerAddress]:
    """A WebSocket server that does what `handler` says with each connection, in a thread of its own."""

    def quietly(connection: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            handler(connection)

    with serve(quietly, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.2, **options) as running:
        yield from _run(running)


def _run(running: Server) -> Iterator[ServerAddress]:
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield ServerAddress("127.0.0.1", running.socket.getsockname()[1])
    finally:
        running.shutdown()
        thread.join()


def answering(message: bytes | str, *, metadata: bytes | str = METADATA) -> Handler:
    """Metadata, then the same answer to every request."""

    def handler(connection: ServerConnection) -> None:
        connection.send(metadata)
        for _ in connection:
            connection.send(message)

    return handler


def unanswering(metadata: bytes = METADATA) -> Handler:
    """Metadata, then no answer to any request."""

    def handler(connection: ServerConnection) -> None:
        connection.send(metadata)
        for _ in connection:
            pass

    return handler


def client_config(address: ServerAddress, **changes: object) -> ClientConfig:
    """Quick to give up, quick to come back; `changes` are fields of `ClientConfig` or of its link."""
    values: dict[str, object] = {
        "connect_timeout_s": 2.0,
        "handshake_timeout_s": 2.0,
        "first_request_timeout_s": 5.0,
        "request_timeout_s": 5.0,
        "backoff_low_s": 0.01,
        "backoff_high_s": 0.05,
        **changes,
    }
    names = {field.name for field in dataclasses.fields(LinkConfig)}
    link = {name: values.pop(name) for name in names & set(values)}
    return ClientConfig(link=LinkConfig(address, **link), **values)  # type: ignore[arg-type]


def request(tag: int = 1, *, dim: int = 14) -> InferenceRequest:
    state = np.zeros(dim)
    return InferenceRequest(tag, lambda _facts: {"state": state.astype(np.float32)}, state, observation_ns=7)


@dataclass
class FakeClient:
    """A client whose answers the test gives."""

    state: ClientState = field(default_factory=lambda: ClientState(Connection.CONNECTED, since_ns=1, reason=""))
    requests: list[InferenceRequest] = field(default_factory=list)
    reconnected: list[int] = field(default_factory=list)
    outcomes: list[InferenceResult] = field(default_factory=list)
    is_idle: bool = True

    def reconnect(self, epoch: int) -> None:
        self.reconnected.append(epoch)

    def submit(self, request: InferenceRequest) -> bool:
        self.requests.append(request)
        self.is_idle = False
        return True

    def take_results(self) -> list[InferenceResult]:
        taken, self.outcomes = self.outcomes, []
        return taken

    def answer(self, actions: np.ndarray | None = None, **more: object) -> None:
        """Answer the last request with a chunk."""
        last = self.requests[-1]
        made = chunk(actions, **{"observation_ns": last.observation_ns, "state": last.state, **more})  # type: ignore[arg-type]
        self._finish(InferenceResult(last.tag, made))

    def fail(self, reason: str, *, was_sent: bool = True) -> None:
        """Answer the last request with a reason."""
        self._finish(InferenceResult(self.requests[-1].tag, reason=reason, was_sent=was_sent))

    def _finish(self, outcome: InferenceResult) -> None:
        self.outcomes.append(outcome)
        self.is_idle = True
