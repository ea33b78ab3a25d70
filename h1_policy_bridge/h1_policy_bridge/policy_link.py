"""One WebSocket connection to a policy server, as openpi speaks it: metadata first, then strict request and reply.

Source: Physical-Intelligence/openpi, `src/openpi/serving/websocket_policy_server.py` and
`packages/openpi-client/src/openpi_client/websocket_client_policy.py`. The server sends msgpack(metadata) unasked, then
answers each binary frame by one binary frame; a *text* frame is a traceback, after which it closes with 1011.

Everything here runs in one thread (see `policy_client.py`). Pings are answered whenever that thread waits, which it
does at all times but for the milliseconds in which it builds an observation. Pings of ours go out only while nothing
is asked: openpi's server infers inside its event loop and answers none meanwhile, for 40 s if it compiles first.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import websocket

from h1_policy_bridge import msgpack_numpy, shown
from h1_policy_bridge.address import Address
from h1_policy_bridge.bounded_websocket import BoundedWebSocket, NumpyMaskedFrame
from h1_policy_bridge.deadline_socket import DeadlineError, DeadlineSocket, InterruptedWait, TooMuchError, Wake
from h1_policy_bridge.transport import LinkError, connected
from h1_training_node.server_access import authorization

_CLOSE_TIMEOUT_S = 0.5
_PING_TIMEOUT_S = 5.0
_HANDSHAKE_BYTES = 64 * 1024

_STATUS_HINTS = {
    401: "check the API key",
    403: "check the API key",
    502: "the proxy reaches no policy server behind it",
    503: "the proxy reaches no policy server behind it",
    504: "the proxy reaches no policy server behind it",
}


class ServerError(LinkError):
    """The server answered with a traceback.

    Attributes:
        traceback: the text, for the log.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"policy server error: {first_telling_line(text)}")
        self.traceback = shown.for_log(text)


@dataclass(frozen=True)
class LinkLimits:
    """How long and how much a server may take.

    Attributes:
        connect_timeout_s: until TCP is connected, s (for each address that the name has).
        handshake_timeout_s: from there until the metadata is read, s.
        ping_interval_s: pause between two pings of ours while nothing is asked, s; keeps proxies from cutting it off.
        silence_s: such a silence of the server means that it is gone, s; one that infers for others is silent too.
        max_reply_bytes: largest message accepted, bytes.
    """

    connect_timeout_s: float = 3.0
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    silence_s: float = 90.0
    max_reply_bytes: int = msgpack_numpy.MAX_BYTES


class PolicyLink:
    """A connection whose metadata has been read. Not thread-safe.

    Args:
        address: of the server.
        limits: see `LinkLimits`.
        wake: interrupts `receive` and `wait`, and the handshake.
        api_key: sent as `Authorization: Api-Key KEY`; empty sends none.
        ca_file: see `transport.connected`.

    Raises:
        LinkError: there is no server, or it does not speak this protocol.
        InterruptedWait: `wake` was set meanwhile.
    """

    def __init__(
        self, address: Address, limits: LinkLimits, wake: Wake, *, api_key: str = "", ca_file: str = ""
    ) -> None:
        self._limits = limits
        self._sock = DeadlineSocket(connected(address.url, limits.connect_timeout_s, ca_file=ca_file), wake)
        self._web = BoundedWebSocket(limits.max_reply_bytes, enable_multithread=False)
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
            self._web.send_frame(NumpyMaskedFrame(1, 0, 0, 0, websocket.ABNF.OPCODE_BINARY, 1, message))

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
        """Exchange pings until the wake is set.

        Raises:
            InterruptedWait: the wake was set: the only good end.
            LinkError: the connection is lost, the server is silent for too long, or it spoke unasked.
        """
        while True:
            self._sock.set_deadline(self._limits.ping_interval_s, interruptible=True)
            try:
                with _as_link_error():
                    message = self._message()
            except DeadlineError:
                self._ping()
            else:
                raise LinkError(f"the policy server sent {len(message)} bytes unasked")

    def close(self) -> None:
        """Say goodbye if that can be done at once, and close."""
        self._sock.set_deadline(_CLOSE_TIMEOUT_S, interruptible=False)
        with contextlib.suppress(Exception):
            self._web.send_close()
        self._sock.close()

    def _ping(self) -> None:
        silence_s = time.monotonic() - self._web.heard_s
        if silence_s > self._limits.silence_s:
            raise LinkError(f"the policy server has answered no ping for {silence_s:.0f} s; does it hang?")
        self._sock.set_deadline(_PING_TIMEOUT_S, interruptible=False)
        with _as_link_error("the policy server takes no data any more"):
            self._web.ping()

    def _shake_hands(self, url: str, api_key: str) -> None:
        self._sock.set_budget(_HANDSHAKE_BYTES)
        try:
            with _as_link_error("the policy server did not answer the WebSocket handshake in time; is it inferring?"):
                self._connect(url, authorization(api_key))
        except websocket.WebSocketBadStatusException as error:
            hint = _STATUS_HINTS.get(error.status_code, "check the port")
            raise LinkError(
                f"{url} answered HTTP {error.status_code} instead of a WebSocket handshake; {hint}"
            ) from None
        except TooMuchError:
            raise LinkError(f"{url} answered the WebSocket handshake with over 64 kB; check the port") from None
        self._sock.set_budget(None)

    def _connect(self, url: str, header: dict[str, str]) -> None:
        """No redirects: they would carry the key elsewhere."""
        connect: Any = self._web.connect
        try:
            connect(url, socket=self._sock, header=header, suppress_origin=True, redirect_limit=0)
        except (ConnectionError, websocket.WebSocketConnectionClosedException):
            raise LinkError(f"{url} breaks off the WebSocket handshake; check the port; does it want wss://?") from None
        except websocket.WebSocketException:
            response = self._web.handshake_response
            if response is not None and response.status // 100 == 3:
                location = response.headers.get("location", "elsewhere")
                raise LinkError(
                    f"{url} redirects to {shown.line(location)}, which is not followed; set that URL"
                ) from None
            raise

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


def first_telling_line(text: str) -> str:
    """The line of a server's error text that tells what went wrong: of a traceback that is the exception's own."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it did not say what"
    if not lines[0].startswith("Traceback (most recent call last)"):
        return shown.line(lines[0])
    raised = [line for line in text.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    return shown.line(raised[-1] if raised else lines[-1])


@contextlib.contextmanager
def _as_link_error(late: str = "") -> Iterator[None]:
    """What websocket-client and the system raise, as `LinkError`; `late` is said of a deadline, which else passes."""
    try:
        yield
    except (LinkError, InterruptedWait, TooMuchError, websocket.WebSocketBadStatusException):
        raise
    except DeadlineError:
        if not late:
            raise
        raise LinkError(late) from None
    except websocket.WebSocketConnectionClosedException:
        raise LinkError("the policy server closed the connection") from None
    except (websocket.WebSocketException, OSError, ValueError) as error:
        raise LinkError(f"the connection to the policy server broke: {shown.line(str(error))}") from None


def _close_reason(data: bytes) -> str:
    if len(data) < 2:
        return ""
    reason = bytes(data[2:]).decode("utf-8", errors="replace")
    return f" ({int.from_bytes(data[:2], 'big')}{': ' + shown.line(reason) if reason else ''})"
