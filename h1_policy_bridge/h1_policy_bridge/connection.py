# SPDX-License-Identifier: Apache-2.0
"""The way to a policy server below its protocol: address, TCP, TLS, and a socket that ends everything by a deadline.

Client libraries know time-outs per operation only: a peer that sends one byte now and then keeps them busy for ever.
Handed to such a library as its socket, a `DeadlineSocket` bounds a whole handshake or a whole reply in time and in
bytes, with TLS or without, and lets another thread interrupt a wait.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from h1_policy_bridge.link_errors import DeadlineError, InterruptedWait, LinkError, TooMuchError
from h1_training_node.server_access import tls_context

_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # The kernel of a server that is busy answers these probes; a pulled cable is noticed within 25 s.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


@dataclass(frozen=True)
class ServerAddress:
    """Where the server is.

    Attributes:
        host: a name or an address, or a whole URL, as openpi's client takes it.
        port: 0 if the URL says it.
        scheme: `ws`, `http` or `tcp`.
    """

    host: str
    port: int
    scheme: str = "ws"

    @property
    def url(self) -> str:
        """`ws://host:port`, without user information."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        text = self.host if "://" in self.host else f"{self.scheme}://{host}"
        parts = urlsplit(text)
        port = f":{self.port}" if self.port and parts.port is None else ""
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{port}{parts.path}"

    def check(self) -> None:
        """Raises ValueError if this cannot be an address."""
        parts = urlsplit(self.url)
        expected = f"expected a host name, an address, or {self.scheme}://HOST:PORT"
        if not parts.hostname or any(character.isspace() for character in self.host):
            raise ValueError(expected)
        if "://" in self.host and parts.scheme not in (self.scheme, f"{self.scheme}s"):
            raise ValueError(f"'{parts.scheme}://' is another protocol's; {expected}")
        if parts.port is None and "://" not in self.host:
            raise ValueError("the port is missing")


def connected(url: str, timeout_s: float, *, ca_file: str = "") -> socket.socket:
    """A socket to the host and port of `url`, inside TLS if its scheme is `wss` or `https`.

    Args:
        url: of a `ServerAddress`.
        timeout_s: for TCP, with each address that the name has, and again for TLS.
        ca_file: PEM file of authorities that are trusted beside the system's; empty: the system's alone.

    Raises:
        LinkError: nobody there, or nobody who can prove to be that host.
    """
    parts = urlsplit(url)
    with_tls = parts.scheme in ("wss", "https")
    try:
        port = parts.port or (443 if with_tls else 80)
        sock = socket.create_connection((parts.hostname or "", port), timeout=timeout_s)
    except TimeoutError:
        raise LinkError(f"no answer from {url} within {timeout_s:g} s; is the host up?") from None
    except ConnectionRefusedError:
        raise LinkError(f"connection refused by {url}; is the policy server running?") from None
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot reach {url}: {getattr(error, 'strerror', None) or error}") from None
    try:
        for level, option, value in _SOCKET_OPTIONS:
            sock.setsockopt(level, option, value)
        if with_tls:
            return tls_context(ca_file).wrap_socket(sock, server_hostname=parts.hostname or "")
    except (OSError, ValueError) as error:
        sock.close()
        raise LinkError(f"no TLS with {url}: {_tls_problem(error, parts.scheme)}") from None
    return sock


def _tls_problem(error: Exception, scheme: str) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = (
            "is the name in 'host' the certificate's?"
            if "match" in error.verify_message
            else "name its authority's PEM file in the parameter 'ca_file'"
        )
        return f"certificate not accepted ({error.verify_message}); {remedy}"
    question = f"does this port use TLS ({scheme}://), or plain {scheme[:-1]}://?"
    if isinstance(error, TimeoutError):
        return f"the handshake was not answered in time; {question}"
    if isinstance(error, ssl.SSLError):
        return f"{(error.reason or str(error)).replace('_', ' ').lower()}; {question}"
    return str(error)


class Wake:
    """Ends a wait in another thread; calls before the wait count as well."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """End the present wait, or the next one."""
        with contextlib.suppress(BlockingIOError, OSError):  # full: it is set already; closed: nobody waits
            self._writer.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def wait(self, timeout_s: float) -> None:
        """Return when set, or after `timeout_s`."""
        select.select([self._reader], [], [], timeout_s)

    def fileno(self) -> int:
        return self._reader.fileno()


class DeadlineSocket:
    """Wraps a connected socket in the few methods that websocket-client and http.client call.

    Args:
        sock: connected TCP or TLS socket, owned from here on.
        wake: ends a wait for data by `InterruptedWait`.

    Attributes:
        received_s: when the last bytes came; time.monotonic.
    """

    def __init__(self, sock: socket.socket, wake: Wake) -> None:
        self._sock = sock
        self._wake = wake
        self._deadline_s = float("inf")
        self._interruptible = False
        self._budget: int | None = None
        self.received_s = time.monotonic()

    def set_deadline(self, timeout_s: float, *, interruptible: bool) -> None:
        """What all further operations are bound by.

        Args:
            timeout_s: from now on.
            interruptible: whether `wake` ends a wait for data. It never ends a write, which would tear a frame.
        """
        self._deadline_s = time.monotonic() + timeout_s
        self._interruptible = interruptible

    def set_budget(self, size: int | None) -> None:
        """How many bytes may come from now on before `TooMuchError` is raised; None: any number."""
        self._budget = size

    def recv(self, size: int) -> bytes:
        while True:
            # A TLS socket may hold decrypted bytes that select does not see.
            if not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
                self._wait_for_data()
            # What select saw may have been half a TLS record, or none for us: back to where the wake is noticed.
            self._sock.settimeout(0.0)
            try:
                data = self._sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            self.received_s = time.monotonic()
            self._count(len(data))
            return data

    def send(self, data: bytes) -> int:
        self._sock.settimeout(self._remaining_s())
        try:
            return self._sock.send(data)
        except TimeoutError:
            raise DeadlineError from None

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.send(left) :]  # type: ignore[arg-type]

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        """For http.client."""
        return io.BufferedReader(_Reader(self))

    def gettimeout(self) -> float | None:
        """Asked by websocket-client, which must not take this for a non-blocking socket."""
        return None

    def settimeout(self, timeout_s: float | None) -> None:
        """A library's own time-outs do not count; the deadline does."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()

    def _count(self, received: int) -> None:
        if self._budget is not None:
            self._budget -= received
            if self._budget < 0:
                raise TooMuchError

    def _wait_for_data(self) -> None:
        sources: list[socket.socket | Wake] = [self._sock]
        if self._interruptible:
            sources.append(self._wake)
        ready, _, _ = select.select(sources, [], [], self._remaining_s())
        if self._wake in ready:
            raise InterruptedWait
        if not ready:
            raise DeadlineError

    def _remaining_s(self) -> float:
        remaining_s = self._deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineError
        return min(remaining_s, 1e6)


class _Reader(io.RawIOBase):
    """A `DeadlineSocket` as a raw stream; it does not own it."""

    def __init__(self, sock: DeadlineSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._sock.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)
