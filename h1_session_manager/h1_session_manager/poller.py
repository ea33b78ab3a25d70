# SPDX-License-Identifier: Apache-2.0
"""Asks the policy server for its training status.

`GET /training_status` on the WebSocket's port answers `{"ready": bool, "epoch": int}` as text/plain
(ThomasChen98/openpi:src/openpi/serving/websocket_policy_server.py). The server does not answer while it infers. A
stock openpi server knows no such path: it answers every plain request with 426. With `http.client` the connection's
socket is ours, so that one deadline bounds all of a reply; in `requests` each byte that drips in starts it again.
"""

from __future__ import annotations

import http.client
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from h1_session_manager.values import Polled
from h1_training_node.server_access import authorization, tls_context

TIMEOUT_S = 5.0
MOST_BYTES = 4096
_MOST_CHARACTERS = 60
_MOST_REASON = 200
_MOST_POINTS = 100
_UPGRADE_ONLY = frozenset({404, 405, 426, 501})
"""What servers answer that know WebSocket alone, or do not know the path."""


class PollError(ValueError):
    """The reply is not a training status; the message says what it was."""


def parse(body: bytes) -> Polled:
    """A training status from a reply's body. What it says besides, of another type than ours, is left out.

    Raises:
        PollError: not the documented JSON.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text:
        raise PollError("the reply is empty")
    try:
        document: Any = json.loads(text)
    except RecursionError:
        raise PollError("the reply is nested too deeply") from None
    except ValueError:
        raise PollError(f"the reply is no JSON: {_printable(text)}") from None
    if not isinstance(document, dict):
        raise PollError(f'the reply is not {{"ready": ..., "epoch": ...}}: {_printable(text)}')
    if "error" in document and "ready" not in document:
        raise PollError(f"the server reports an error: {_text(document['error']) or 'without a word'}")
    ready, epoch, progress = document.get("ready"), document.get("epoch"), document.get("progress")
    if not isinstance(ready, bool):
        raise PollError(f"'ready' is {_printable(json.dumps(ready))}, expected true or false")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 2**63:
        raise PollError(f"'epoch' is {_printable(json.dumps(epoch))}, expected a whole number from 0")
    return Polled(
        ready=ready,
        epoch=epoch,
        phase=_text(document.get("phase")),
        progress=_share(progress),
        reason=_text(document.get("reason")),
        checkpoint=_text(document.get("checkpoint")),
        curve=_curve(document.get("curve")),
    )


def poll(url: str, timeout_s: float = TIMEOUT_S, *, api_key: str = "", ca_file: str = "") -> Polled:
    """One poll; blocks for at most about twice `timeout_s`. A failure is in the result's `error`.

    Args:
        url: `http://` or `https://`, where certificates are checked.
        timeout_s: to connect, and again for the whole answer.
        api_key: sent as the policy's client sends it; empty sends none.
        ca_file: PEM file of authorities trusted beside the system's; empty: the system's alone.
    """
    parts = urlsplit(url)
    headers = {"Accept-Encoding": "identity", "Connection": "close", **authorization(api_key)}
    expired = threading.Event()
    try:
        with closing(_connection(parts, ca_file, timeout_s)) as connection:
            connection.connect()
            with _deadline(connection, timeout_s, expired):
                connection.request("GET", parts.path, headers=headers)
                response = connection.getresponse()
                body = response.read(MOST_BYTES + 1)
        if expired.is_set():
            raise TimeoutError
        if response.status != http.client.OK:
            return _other_status(url, response, body)
        if len(body) > MOST_BYTES:
            return Polled(error=f"{url}: the reply is longer than {MOST_BYTES} bytes")
        return parse(body)
    except PollError as error:
        return Polled(error=f"{url}: {error}")
    except Exception as error:  # whatever a broken server brings about must not end the session
        if expired.is_set() or isinstance(error, TimeoutError):
            return Polled(error=f"{url} did not answer within {timeout_s:g} s")
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
            return Polled(error=f"{url}: the server does not answer in HTTP", is_unsupported=True)
        return Polled(error=f"{url}: {_cause(error)}")


def _connection(parts: SplitResult, ca_file: str, timeout_s: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls_context(ca_file))
    return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)


@contextmanager
def _deadline(connection: http.client.HTTPConnection, timeout_s: float, expired: threading.Event) -> Iterator[None]:
    """End `connection` after `timeout_s`, whatever has come of the reply by then."""
    own: socket.socket = connection.sock

    def end() -> None:
        expired.set()
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _other_status(url: str, response: http.client.HTTPResponse, body: bytes) -> Polled:
    """No 200: where it redirects to, that the server knows no training status, or what it says."""
    status = f"{url} answered {response.status} {_printable(response.reason)}"
    if 300 <= response.status < 400:
        to = _printable(response.headers.get("Location", ""), _MOST_REASON)
        advice = f"; it redirects to {to}: name that address in policy_server.host" if to else ""
        return Polled(error=f"{status}{advice}")
    asks_for_upgrade = "websocket" in response.headers.get("Upgrade", "").lower() or b"websocket" in body.lower()
    if response.status in _UPGRADE_ONLY or (response.status == http.client.BAD_REQUEST and asks_for_upgrade):
        return Polled(error=status, is_unsupported=True)
    try:
        document = json.loads(body.decode("utf-8-sig"))
        said = _text(document.get("error")) if isinstance(document, dict) else ""
    except (ValueError, RecursionError):
        said = ""
    return Polled(error=f"{status}: {said}" if said else status)


class Poller:
    """Polls in a thread, one at a time; `deliver` gets each result, in that thread. `access` is of `poll`."""

    def __init__(self, url: str, deliver: Callable[[Polled], None], **access: str) -> None:
        self._url = url
        self._access = access
        self._deliver = deliver
        self._busy = threading.Lock()

    def start(self) -> None:
        """Begin a poll, unless one is under way, whose result serves as well."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, name="poller", daemon=True).start()

    def _run(self) -> None:
        try:
            result = poll(self._url, TIMEOUT_S, **self._access)
        finally:
            self._busy.release()
        self._deliver(result)


def _cause(error: BaseException) -> str:
    """The plain cause: 'Connection refused', 'Name or service not known', ..."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "certificate not accepted; name its authority's PEM file in policy_server.ca_file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {_printable(str(error))}"


def _share(value: object) -> float:
    """A share in 0..1; NaN if it is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else math.nan  # type: ignore[operator, arg-type]


def _curve(value: object) -> tuple[tuple[int, float, int], ...]:
    """Points (epoch, share, episodes); of what is none, nothing: it is shown, and nothing hangs on it."""
    points = []
    for point in value if isinstance(value, list) else ():
        if not isinstance(point, list) or len(point) != 3 or any(isinstance(part, bool) for part in point):
            return ()
        epoch, share, episodes = point
        whole = isinstance(epoch, int) and isinstance(episodes, int)
        if not whole or math.isnan(_share(share)) or not (0 <= epoch < 2**63 and 0 <= episodes < 2**32):
            return ()
        points.append((epoch, float(share), episodes))
    return tuple(points[-_MOST_POINTS:])


def _text(value: object) -> str:
    """A server's text, fit for a terminal; empty if it is none."""
    return _printable(value, _MOST_REASON) if isinstance(value, str) else ""


def _printable(text: str, most: int = _MOST_CHARACTERS) -> str:
    """A stranger's words, fit for a terminal: one line, nothing that steers it."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= most else text[:most] + "..."
