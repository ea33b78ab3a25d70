# SPDX-License-Identifier: Apache-2.0
"""GR00T's protocol: ZeroMQ REQ/REP, msgpack in which an array is a `.npy` file.

NVIDIA/Isaac-GR00T: `gr00t/policy/server_client.py` (N1.6 and later) and `gr00t/eval/service.py` (N1.5). A request
names an endpoint; `get_action` takes the observation and answers `[actions, info]` (N1.5: the actions alone), each
limb's actions with a batch axis. What the server says of itself is `get_modality_config`. An error is
`{"error": text}`.

A request that got no answer leaves a REQ socket of no use, so it ends the link. The format knows no TLS.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import msgpack
import numpy as np
import zmq

from h1_policy_bridge.chunk import ReplyError
from h1_policy_bridge.connection import Wake, connected
from h1_policy_bridge.link_errors import InterruptedWait, LinkError, link_errors
from h1_policy_bridge.plain_array import CodecError, npy_array
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import ObservationError, ServerError

_ARRAY, _NPY = "__ndarray_class__", "as_npy"


class GrootLink:
    """A `PolicyLink`; see the module."""

    scheme: ClassVar[str] = "tcp"

    def __init__(self, config: LinkConfig, wake: Wake) -> None:
        self._config = config
        self._wake = wake
        # ZeroMQ would retry in silence: whether anybody is there is asked of TCP.
        connected(config.address.url, config.connect_timeout_s).close()
        self._sock: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._sock.setsockopt(zmq.LINGER, 0)
        self._sock.setsockopt(zmq.MAXMSGSIZE, config.max_reply_bytes)
        self._sock.connect(config.address.url)
        self._poller = zmq.Poller()
        self._poller.register(self._sock, zmq.POLLIN)
        self._poller.register(wake.fileno(), zmq.POLLIN)
        self._used_s = time.monotonic()
        self._awaits_pong = False
        try:
            self.metadata: Mapping[str, Any] = self._asked_metadata()
        except BaseException:
            self.close()
            raise

    def encode(self, observation: Mapping[str, Any]) -> bytes:
        is_flat = any(name.startswith(("video.", "state.")) for name in observation)  # N1.5
        data = dict(observation) if is_flat else {"observation": dict(observation), "options": None}
        return self._packed({"endpoint": "get_action", "data": data})

    def send(self, request: bytes, timeout_s: float) -> None:
        late = f"the policy server took no request within {timeout_s:g} s"
        deadline_s = time.monotonic() + timeout_s
        if self._awaits_pong:  # a REQ socket takes nothing before that
            if not self._sock.poll(round(timeout_s * 1e3), zmq.POLLIN):
                raise LinkError(late)
            self._message()
            self._awaits_pong = False
        if not self._sock.poll(round(max(0.0, deadline_s - time.monotonic()) * 1e3), zmq.POLLOUT):
            raise LinkError(late)
        with self._as_link_error():
            self._sock.send(request, zmq.NOBLOCK)
        self._used_s = time.monotonic()

    def receive(self, timeout_s: float) -> Any:
        try:
            reply = self._answer(timeout_s)
        except ServerError as error:  # it goes on serving
            raise ReplyError(str(error)) from None
        return reply[0] if isinstance(reply, list) and len(reply) == 2 else reply

    def wait(self) -> None:
        while True:
            idle_s = self._config.silence_s if self._awaits_pong else self._config.ping_interval_s
            if self._ready(max(0.0, self._used_s + idle_s - time.monotonic())):
                self._answer(0.0)
                self._awaits_pong = False
            elif self._awaits_pong:
                raise LinkError(f"the policy server has answered no ping for {idle_s:.0f} s; does it hang?")
            else:
                self.send(self._packed({"endpoint": "ping"}), self._config.handshake_timeout_s)
                self._awaits_pong = True

    def close(self) -> None:
        self._sock.close(linger=0)

    def _asked_metadata(self) -> dict[str, Any]:
        """Names of the server's modalities, for preflight; an older server that has none of this says nothing."""
        try:
            config = self._ask("get_modality_config", self._config.handshake_timeout_s)
        except ServerError as error:
            if "unknown endpoint" in str(error).lower():
                return {}
            raise
        if not isinstance(config, dict):
            raise LinkError(f"the server's modality config is {type(config).__name__}; expected a map")
        return {"modalities": {str(name): _modality_keys(value) for name, value in config.items()}}

    def _ask(self, endpoint: str, timeout_s: float) -> Any:
        self.send(self._packed({"endpoint": endpoint}), timeout_s)
        try:
            return self._answer(timeout_s)
        except ReplyError as error:
            raise LinkError(f"the policy server's answer to '{endpoint}' is unreadable: {error}") from None

    def _answer(self, timeout_s: float) -> Any:
        if not self._ready(timeout_s):
            raise LinkError(f"the policy server gave no answer within {timeout_s:g} s")
        message = self._message()
        if message == b"ERROR":
            raise ServerError("it says ERROR and nothing else")
        reply = _unpacked(message)
        if isinstance(reply, dict) and isinstance(reply.get("error"), str):
            raise ServerError(reply["error"])
        return reply

    def _message(self) -> bytes:
        with self._as_link_error():
            message = self._sock.recv(zmq.NOBLOCK)
        if self._sock.getsockopt(zmq.RCVMORE):
            raise LinkError("the policy server sent a message of several parts; GR00T's have one")
        return message

    def _as_link_error(self) -> contextlib.AbstractContextManager[None]:
        return link_errors(self._config.max_reply_bytes, broken=(zmq.ZMQError,))

    def _ready(self, timeout_s: float) -> bool:
        """Whether a message is there within `timeout_s`.

        Raises:
            InterruptedWait: the wake was set.
        """
        ready = dict(self._poller.poll(round(timeout_s * 1e3)))
        if self._wake.fileno() in ready:
            raise InterruptedWait
        return self._sock in ready

    def _packed(self, request: dict[str, Any]) -> bytes:
        if self._config.api_key:
            request["api_token"] = self._config.api_key
        try:
            packed: bytes = msgpack.packb(request, default=_encoded)
        except (TypeError, ValueError, OverflowError) as error:
            raise ObservationError(f"cannot be encoded: {error}") from None
        return packed


def _encoded(value: Any) -> dict[str, Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be encoded")
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {_ARRAY: True, _NPY: file.getvalue()}


def _unpacked(message: bytes) -> Any:
    try:
        return msgpack.unpackb(message, object_hook=_decoded, ext_hook=_refused_extension, strict_map_key=True)
    except ReplyError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ReplyError(f"not a msgpack message: {error or type(error).__name__}") from None


def _decoded(fields: dict[Any, Any]) -> Any:
    if _ARRAY not in fields:
        return fields
    data = fields.get(_NPY)
    if not isinstance(data, bytes):
        raise ReplyError("array without its .npy file")
    try:
        return npy_array(data)
    except CodecError as error:
        raise ReplyError(str(error)) from None


def _refused_extension(code: int, data: bytes) -> Any:
    raise ReplyError(f"message holds a msgpack extension (code {code}, {len(data)} bytes); GR00T uses none")


def _modality_keys(value: Any) -> list[str]:
    """The names in one entry of a modality config; N1.5 writes it as JSON text inside msgpack."""
    described = value.get("as_json") if isinstance(value, dict) else None
    if isinstance(described, str):
        try:
            described = json.loads(described)
        except (ValueError, RecursionError):
            described = None
    keys = described.get("modality_keys") if isinstance(described, dict) else None
    return [str(key)[:100] for key in keys[:64]] if isinstance(keys, list) else []
