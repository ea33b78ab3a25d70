"""One WebSocket connection to a policy server, as openpi speaks it: metadata first, then strict request and reply.

Source: Physical-Intelligence/openpi, `src/openpi/serving/websocket_policy_server.py` and
`packages/openpi-client/src/openpi_client/websocket_client_policy.py`. The server sends msgpack(metadata) unasked, then
answers each binary frame by one binary frame; a *text* frame is a traceback, after which it closes with 1011.

Everything here runs in one thread (see `policy_client.py`). Pings are answered whenever that thread waits, which it
does at all times but for the milliseconds in which it builds an observation.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import websocket
from websocket._abnf import frame_buffer

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.deadline_socket import DeadlineError, DeadlineSocket, InterruptedWait, Wake

_CLOSE_TIMEOUT_S = 0.5
_SHOWN_CHARACTERS = 200

_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A pulled cable is noticed within 25 s even while nothing is asked.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class LinkError(Exception):
    """The connection cannot be made, or is lost; the message is for the operator."""


class ServerError(LinkError):
    """The server answered with a traceback.

    Attributes:
        traceback: the whole text, for the log.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"policy server error: {first_telling_line(text)}")
        self.traceback = text


@dataclass(frozen=True)
class Address:
    """Where the server is.

    Attributes:
        host: a name or an address, or a whole `ws://` or `wss://` URL, which openpi's client takes as well.
        port: 0 if the URL says it.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """`ws://host:port`, without user information."""
        text = self.host if self.host.startswith(("ws://", "wss://")) else f"ws://{self._bracketed()}"
        parts = urlsplit(text)
        port = f":{self.port}" if self.port and parts.port is None else ""
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{port}{parts.path}"

    def check(self) -> None:
        """Raises ValueError if this cannot be an address."""
        parts = urlsplit(self.url)
        if not parts.hostname or any(character.isspace() for character in self.host):
            raise ValueError("expected a host name, an address, or ws://HOST:PORT")
        if parts.port is None and "://" not in self.host:
            raise ValueError("the port is missing")

    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True)
class LinkLimits:
    """How long and how much a server may take.

    Attributes:
        connect_timeout_s: until TCP is connected, s (for each address that the name has).
        handshake_timeout_s: from there until the metadata is read, s.
        max_reply_bytes: largest message accepted, bytes.
    """

    connect_timeout_s: float = 3.0
    handshake_timeout_s: float = 10.0
    max_reply_bytes: int = msgpack_numpy.MAX_BYTES


class PolicyLink:
    """A connection whose metadata has been read. Not thread-safe.

    Args:
        address: of the server.
        limits: see `LinkLimits`.
        wake: interrupts `receive` and `wait`, and the handshake.
        api_key: sent as `Authorization: Api-Key KEY`; empty sends none.

    Raises:
        LinkError: there is no server, or it does not speak this protocol.
        InterruptedWait: `wake` was set meanwhile.
    """

    def __init__(self, address: Address, limits: LinkLimits, wake: Wake, *, api_key: str = "") -> None:
        self._limits = limits
        self._sock = DeadlineSocket(_connected(address, limits.connect_timeout_s), wake)
        self._web = _BoundedWebSocket(limits.max_reply_bytes, enable_multithread=False)
        try:
            self._sock.set_deadline(limits.handshake_timeout_s, interruptible=True)
            self._shake_hands(address.url, api_key)
            metadata = self._decoded_metadata()
        except BaseException:
            self._sock.close()
            raise
        self.metadata: Mapping[str, Any] = metadata

    def send(self, message: bytes, timeout_s: float) -> None:
        """Send one binary message.

        Raises:
            LinkError: it could not be sent whole within `timeout_s`; the connection is of no use any more.
        """
        self._sock.set_deadline(timeout_s, interruptible=False)
        with _as_link_error(f"the policy server took no request within {timeout_s:g} s"):
            self._web.send_frame(_NumpyMaskedFrame(1, 0, 0, 0, websocket.ABNF.OPCODE_BINARY, 1, message))

    def receive(self, timeout_s: float) -> bytes:
        """The next binary message; pings are answered meanwhile.

        Raises:
            ServerError: the server sent a traceback.
            LinkError: closed, silent for `timeout_s`, too large, or not this protocol.
            InterruptedWait: the wake was set; call again to go on waiting.
        """
        self._sock.set_deadline(timeout_s, interruptible=True)
        with _as_link_error(f"the policy server gave no answer within {timeout_s:g} s"):
            return self._message()

    def wait(self) -> None:
        """Answer pings until the wake is set.

        Raises:
            InterruptedWait: the wake was set: the only good end.
            LinkError: the connection is lost, or the server spoke unasked.
        """
        self._sock.set_deadline(None, interruptible=True)
        with _as_link_error("the policy server fell silent"):
            message = self._message()
        raise LinkError(f"the policy server sent {len(message)} bytes unasked")

    def close(self) -> None:
        """Say goodbye if that can be done at once, and close."""
        self._sock.set_deadline(_CLOSE_TIMEOUT_S, interruptible=False)
        with contextlib.suppress(Exception):
            self._web.send_close()
        self._sock.close()

    def _shake_hands(self, url: str, api_key: str) -> None:
        header = {"Authorization": f"Api-Key {api_key}"} if api_key else {}
        try:
            with _as_link_error("the policy server did not answer the WebSocket handshake in time"):
                # No redirects: they would carry the key elsewhere.
                connect: Any = self._web.connect
                connect(url, socket=self._sock, header=header, suppress_origin=True, redirect_limit=0)
        except websocket.WebSocketBadStatusException as error:
            hint = {401: "; check the API key", 403: "; check the API key"}.get(error.status_code, "")
            raise LinkError(
                f"{url} answered HTTP {error.status_code} instead of a WebSocket handshake{hint or '; check the port'}"
            ) from None

    def _decoded_metadata(self) -> dict[str, Any]:
        with _as_link_error(
            f"no metadata within {self._limits.handshake_timeout_s:g} s; is it busy with an inference?"
        ):
            message = self._message()
        try:
            metadata = msgpack_numpy.unpack(message, max_bytes=self._limits.max_reply_bytes)
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


class _BoundedWebSocket(websocket.WebSocket):
    """Refuses a message by its announced length, before its bytes are taken into memory."""

    def __init__(self, max_bytes: int, **options: Any) -> None:
        super().__init__(skip_utf8_validation=True, **options)
        self._bounded = self.frame_buffer = _BoundedFrameBuffer(self._recv, max_bytes)

    def recv_frame(self) -> Any:
        frame = self._bounded.recv_frame()
        self._bounded.count(frame)
        return frame


class _BoundedFrameBuffer(frame_buffer):
    """websocket-client's reader of frames, with a limit on a message's length, over all its fragments."""

    def __init__(self, receive: Any, max_bytes: int) -> None:
        super().__init__(receive, skip_utf8_validation=True)
        self._max_bytes = max_bytes
        self._received = 0

    def recv_length(self) -> None:
        super().recv_length()
        length = self._received + (self.length or 0)
        if length > self._max_bytes:
            raise LinkError(f"the policy server sent a message of {length} bytes; at most {self._max_bytes} are read")

    def count(self, frame: Any) -> None:
        """Remember what came of a message that is not whole yet."""
        if frame.opcode in (websocket.ABNF.OPCODE_CONT, websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            self._received = 0 if frame.fin else self._received + len(frame.data)


class _NumpyMaskedFrame(websocket.ABNF):
    """A frame masked by numpy: 450 kB in 0.1 ms, where websocket-client's big integers take 1.9."""

    def _get_masked(self, mask_key: str | bytes) -> bytes:
        key = mask_key.encode("latin-1") if isinstance(mask_key, str) else mask_key
        assert isinstance(self.data, bytes)
        data = np.frombuffer(self.data, np.uint8)
        masked = np.empty(len(key) + data.size, np.uint8)
        masked[: len(key)] = np.frombuffer(key, np.uint8)
        body, whole = masked[len(key) :], data.size // 4 * 4
        np.bitwise_xor(data[:whole].view(np.uint32), np.frombuffer(key, np.uint32), out=body[:whole].view(np.uint32))
        np.bitwise_xor(data[whole:], np.frombuffer(key, np.uint8)[: data.size - whole], out=body[whole:])
        return masked.tobytes()


def first_telling_line(text: str) -> str:
    """The line of a server's error text that tells what went wrong: of a traceback that is the exception's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it did not say what"
    if not lines[0].startswith("Traceback (most recent call last)"):
        return lines[0][:_SHOWN_CHARACTERS]
    raised = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    return (raised[-1] if raised else lines[-1])[:_SHOWN_CHARACTERS]


def _connected(address: Address, timeout_s: float) -> socket.socket:
    parts = urlsplit(address.url)
    try:
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        sock = socket.create_connection((parts.hostname or "", port), timeout=timeout_s)
    except TimeoutError:
        raise LinkError(f"no answer from {address.url} within {timeout_s:g} s; is the host up?") from None
    except ConnectionRefusedError:
        raise LinkError(f"connection refused by {address.url}; is the policy server running?") from None
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot reach {address.url}: {getattr(error, 'strerror', None) or error}") from None
    try:
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        if parts.scheme == "wss":
            return ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
    except OSError as error:
        sock.close()
        raise LinkError(f"no TLS with {address.url}: {error}") from None
    return sock


@contextlib.contextmanager
def _as_link_error(late: str) -> Any:
    """What websocket-client and the system raise, as `LinkError`; `late` is said of a passed deadline."""
    try:
        yield
    except (LinkError, InterruptedWait, websocket.WebSocketBadStatusException):
        raise
    except DeadlineError:
        raise LinkError(late) from None
    except websocket.WebSocketConnectionClosedException:
        raise LinkError("the policy server closed the connection") from None
    except (websocket.WebSocketException, OSError, ValueError) as error:
        raise LinkError(f"the connection to the policy server broke: {error}") from None


def _close_reason(data: bytes) -> str:
    if len(data) < 2:
        return ""
    reason = bytes(data[2:]).decode("utf-8", errors="replace")
    return f" ({int.from_bytes(data[:2], 'big')}{': ' + reason[:_SHOWN_CHARACTERS] if reason else ''})"


logging.getLogger("websocket").addHandler(logging.NullHandler())
