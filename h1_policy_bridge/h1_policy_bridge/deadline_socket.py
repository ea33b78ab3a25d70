"""A socket whose every operation ends by a deadline, and which another thread can interrupt.

websocket-client knows time-outs only per operation: a peer that sends one byte now and then keeps it busy for ever.
Handed to it as its "pre-initialised socket", this one bounds a whole handshake or a whole reply, with TLS or without.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time


class DeadlineError(Exception):
    """The deadline passed before the operation was over."""


class TooMuchError(Exception):
    """The peer sent more than it was given room for."""


class InterruptedWait(Exception):  # noqa: N818 - it reports no error
    """Another thread asked for attention. Nothing is lost: the read may be taken up again where it was."""


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

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class DeadlineSocket:
    """Wraps a connected socket in the few methods that websocket-client calls.

    Args:
        sock: connected TCP or TLS socket, owned from here on.
        wake: ends a wait for data by `InterruptedWait`.
    """

    def __init__(self, sock: socket.socket, wake: Wake) -> None:
        self._sock = sock
        self._wake = wake
        self._deadline = float("inf")
        self._interruptible = False
        self._budget: int | None = None

    def set_deadline(self, timeout_s: float | None, *, interruptible: bool) -> None:
        """What all further operations are bound by.

        Args:
            timeout_s: from now on, in s; None waits for ever, which only an interruptible wait should.
            interruptible: whether `wake` ends a wait for data. It never ends a write, which would tear a frame.
        """
        self._deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        self._interruptible = interruptible

    def set_budget(self, size: int | None) -> None:
        """How many bytes may come from now on before `TooMuchError` is raised; None: any number."""
        self._budget = size

    def recv(self, size: int) -> bytes:
        while True:
            # A TLS socket may hold decrypted bytes that select does not see.
            if not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
                self._wait_for_data()
            # What select saw may have been half a TLS record, or none for us: back to where the wake is heard.
            self._sock.settimeout(0.0)
            try:
                data = self._sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            self._count(len(data))
            return data

    def send(self, data: bytes) -> int:
        self._sock.settimeout(self._remaining_s())
        try:
            return self._sock.send(data)
        except TimeoutError:
            raise DeadlineError from None

    def gettimeout(self) -> float | None:
        """Asked by websocket-client, which must not take this for a non-blocking socket."""
        return None

    def settimeout(self, timeout_s: float | None) -> None:
        """websocket-client's own time-outs do not count; the deadline does."""

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
        remaining = self._remaining_s()
        ready, _, _ = select.select(sources, [], [], remaining)
        if self._wake in ready:
            raise InterruptedWait
        if not ready:
            raise DeadlineError

    def _remaining_s(self) -> float | None:
        if self._deadline == float("inf"):
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineError
        return remaining
