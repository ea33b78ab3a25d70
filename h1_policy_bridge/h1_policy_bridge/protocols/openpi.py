# SPDX-License-Identifier: Apache-2.0
"""openpi's protocol: a WebSocket on which the server first sends its metadata, and then answers one request at a time.

Physical-Intelligence/openpi: `packages/openpi-client/src/openpi_client/websocket_client_policy.py` (client) and
`src/openpi/serving/websocket_policy_server.py` (server). Messages are msgpack (see `msgpack_numpy`); a text message is
the server's traceback, after which it closes. Nothing is compressed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import websocket

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.chunk import ReplyError
from h1_policy_bridge.connection import DeadlineSocket, Wake, connected
from h1_policy_bridge.link_errors import DeadlineError, LinkError, bad_status, link_errors, one_line
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import ObservationError, ServerError
from h1_training_node.server_access import authorization

_CLOSE_TIMEOUT_S = 0.5
_PING_TIMEOUT_S = 5.0
_HANDSHAKE_BYTES = 64 * 1024
_FRAMING_BYTES = 64 * 1024
"""What may come beside a message's own bytes: heads of fragments, pings."""

_CLOSED = (websocket.WebSocketConnectionClosedException,)
_BROKEN = (websocket.WebSocketException, OSError, ValueError)

logging.getLogger("websocket").addHandler(logging.NullHandler())


class OpenpiLink:
    """A `PolicyLink`; see the module."""

    scheme: ClassVar[str] = "ws"

    def __init__(self, config: LinkConfig, wake: Wake) -> None:
        self._config = config
        url = config.address.url
        self._sock = DeadlineSocket(connected(url, config.connect_timeout_s, ca_file=config.ca_file), wake)
        self._web = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=False)
        self._refuse_long_frames()
        try:
            self._sock.set_deadline(config.handshake_timeout_s, interruptible=True)
            self._handshake(url)
            self.metadata: Mapping[str, Any] = self._decoded_metadata()
        except BaseException:
            self._sock.close()
            raise

    def encode(self, observation: Mapping[str, Any]) -> bytes:
        try:
            return msgpack_numpy.pack(observation)
        except msgpack_numpy.CodecError as error:
            raise ObservationError(str(error)) from None

    def send(self, request: bytes, timeout_s: float) -> None:
        self._sock.set_deadline(timeout_s, interruptible=False)
        self._allow_one_message()
        with self._as_link_error(f"the policy server took no request within {timeout_s:g} s"):
            self._sock.sendall(_binary_frame(request))

    def receive(self, timeout_s: float) -> Any:
        self._sock.set_deadline(timeout_s, interruptible=True)
        with self._as_link_error(f"the policy server gave no answer within {timeout_s:g} s"):
            message = self._message()
        try:
            return msgpack_numpy.unpack(message, max_bytes=self._config.max_reply_bytes)
        except msgpack_numpy.CodecError as error:
            raise ReplyError(str(error)) from None

    def wait(self) -> None:
        while True:
            self._sock.set_deadline(self._config.ping_interval_s, interruptible=True)
            self._allow_one_message()
            try:
                with self._as_link_error():
                    message = self._message()
            except DeadlineError:
                self._ping()
            else:
                raise LinkError(f"the policy server sent {len(message)} bytes unasked")

    def close(self) -> None:
        self._sock.set_deadline(_CLOSE_TIMEOUT_S, interruptible=False)
        with contextlib.suppress(Exception):
            self._web.send_close()
        self._sock.close()

    def _ping(self) -> None:
        silence_s = time.monotonic() - self._sock.received_s
        if silence_s > self._config.silence_s:
            raise LinkError(f"the policy server has answered no ping for {silence_s:.0f} s; does it hang?")
        self._sock.set_deadline(_PING_TIMEOUT_S, interruptible=False)
        with self._as_link_error("the policy server takes no data any more"):
            self._web.ping()

    def _handshake(self, url: str) -> None:
        self._sock.set_budget(_HANDSHAKE_BYTES)
        late = "the policy server did not answer the WebSocket handshake in time; is it inferring?"
        with self._as_link_error(late, f"{url} answered the WebSocket handshake with over 64 kB; check the port"):
            self._connect(url, authorization(self._config.api_key))

    def _connect(self, url: str, header: dict[str, str]) -> None:
        connect: Any = self._web.connect
        try:
            connect(url, socket=self._sock, header=header, suppress_origin=True, redirect_limit=0)
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            raise LinkError(f"{url} breaks off the WebSocket handshake; check the port; does it want wss://?") from None
        except websocket.WebSocketException as error:
            response = self._web.handshake_response
            status = error.status_code if isinstance(error, websocket.WebSocketBadStatusException) else None
            if response is not None and response.status // 100 == 3:
                status = response.status
            if status is None:
                raise
            location = response.headers.get("location") if response is not None else None
            to = " instead of a WebSocket handshake"
            raise bad_status(url, status, location, to=to, hint="check the port") from None

    def _decoded_metadata(self) -> dict[str, Any]:
        self._allow_one_message()
        late = f"no metadata within {self._config.handshake_timeout_s:g} s; is it busy with an inference?"
        with self._as_link_error(late):
            message = self._message()
        try:
            metadata = msgpack_numpy.unpack(message, max_bytes=self._config.max_reply_bytes)
        except msgpack_numpy.CodecError as error:
            raise LinkError(f"the server's metadata is unreadable: {error}") from None
        if not isinstance(metadata, dict):
            raise LinkError(f"the server's metadata is {type(metadata).__name__}; expected a map")
        return metadata

    def _message(self) -> bytes:
        opcode, frame = self._web.recv_data_frame(control_frame=False)
        if opcode == websocket.ABNF.OPCODE_TEXT:
            raise ServerError(bytes(frame.data).decode("utf-8", errors="replace"))
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise LinkError(f"the policy server closed the connection{_close_reason(frame.data)}")
        return bytes(frame.data)

    def _allow_one_message(self) -> None:
        """Over all its fragments."""
        self._sock.set_budget(self._config.max_reply_bytes + _FRAMING_BYTES)

    def _refuse_long_frames(self) -> None:
        """By their announced length, before their bytes are taken into memory; websocket-client has no such limit."""
        largest = self._config.max_reply_bytes
        buffer: Any = self._web.frame_buffer
        read_length = buffer.recv_length

        def checked_length() -> None:
            read_length()
            if (size := buffer.length or 0) > largest:
                raise LinkError(f"the policy server sent a message of {size} bytes; at most {largest} are read")

        buffer.recv_length = checked_length

    def _as_link_error(self, late: str = "", too_much: str = "") -> contextlib.AbstractContextManager[None]:
        """`late` names a deadline, which else passes."""
        return link_errors(self._config.max_reply_bytes, late=late, too_much=too_much, closed=_CLOSED, broken=_BROKEN)


def _binary_frame(payload: bytes) -> bytes:
    """A client's frame (RFC 6455, 5.2), masked by numpy: 450 kB in 0.1 ms, where websocket-client takes 1.9."""
    size, key = len(payload), os.urandom(4)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    else:
        length = struct.pack("!BH", 0x80 | 126, size) if size < 1 << 16 else struct.pack("!BQ", 0x80 | 127, size)
    data = np.frombuffer(payload, np.uint8)
    masked, whole = np.empty(size, np.uint8), size // 4 * 4
    np.bitwise_xor(data[:whole].view(np.uint32), np.frombuffer(key, np.uint32), out=masked[:whole].view(np.uint32))
    np.bitwise_xor(data[whole:], np.frombuffer(key, np.uint8)[: size - whole], out=masked[whole:])
    return b"".join((b"\x82", length, key, masked.data))


def _close_reason(data: bytes) -> str:
    if len(data) < 2:
        return ""
    reason = one_line(bytes(data[2:]).decode("utf-8", errors="replace"))
    return f" ({int.from_bytes(data[:2], 'big')}{': ' + reason if reason else ''})"
