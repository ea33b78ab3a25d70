"""Asks the policy server for its training status.

`GET /training_status` on the WebSocket's port answers `{"ready": bool, "epoch": int}` as text/plain
(ThomasChen98/openpi:src/openpi/serving/websocket_policy_server.py). The server does not answer while it infers.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from h1_session_manager.values import Polled
from h1_training_node.server_access import authorization, tls_context

TIMEOUT_S = 5.0
MOST_BYTES = 4096
_MOST_CHARACTERS = 60
_PLAIN = {"Accept-Encoding": "identity"}


class PollError(ValueError):
    """The reply is not a training status; the message says what it was."""


def parse(body: bytes) -> Polled:
    """A training status from a reply's body.

    Raises:
        PollError: not the documented JSON.
    """
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        raise PollError("the reply is empty")
    try:
        document: Any = json.loads(text)
    except ValueError:
        raise PollError(f"the reply is no JSON: {_printable(text)}") from None
    if not isinstance(document, dict):
        raise PollError(f'the reply is not {{"ready": ..., "epoch": ...}}: {_printable(text)}')
    ready, epoch = document.get("ready"), document.get("epoch")
    if not isinstance(ready, bool):
        raise PollError(f"'ready' is {_printable(json.dumps(ready))}, expected true or false")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 2**63:
        raise PollError(f"'epoch' is {_printable(json.dumps(epoch))}, expected a whole number from 0")
    return Polled(ready=ready, epoch=epoch)


def poll(url: str, timeout_s: float = TIMEOUT_S, *, api_key: str = "", ca_file: str = "") -> Polled:
    """One poll; blocks for at most about twice `timeout_s`. A failure is in the result's `error`.

    Args:
        url: `http://` or `https://`, where certificates are checked.
        timeout_s: to connect, and again to answer.
        api_key: sent as the policy's client sends it; empty sends none.
        ca_file: PEM file of authorities trusted beside the system's; empty: the system's alone.
    """
    headers = {**_PLAIN, **authorization(api_key)}
    try:
        with (
            _asker(url, ca_file) as asker,
            asker.get(url, timeout=timeout_s, stream=True, allow_redirects=False, headers=headers) as response,
        ):
            if response.status_code != requests.codes.ok:
                return Polled(error=f"{url} answered {response.status_code} {_printable(response.reason)}")
            body = _read(response, time.monotonic() + timeout_s)
        if len(body) > MOST_BYTES:
            return Polled(error=f"{url}: the reply is longer than {MOST_BYTES} bytes")
        return parse(body)
    except PollError as error:
        return Polled(error=f"{url}: {error}")
    except requests.Timeout:
        return Polled(error=f"{url} did not answer within {timeout_s:g} s")
    except requests.ConnectionError as error:
        return Polled(error=f"{url}: {_cause(error)}")
    except Exception as error:  # whatever a broken server makes urllib3 raise must not end the session
        return Polled(error=f"{url}: {type(error).__name__}: {_printable(str(error))}")


def _asker(url: str, ca_file: str) -> requests.Session:
    asker = requests.Session()
    asker.trust_env = (
        False  # a .netrc of the operator's would take the key's place; the WebSocket takes no proxy either
    )
    if url.startswith("https://"):
        asker.mount("https://", _Tls(ca_file))
    return asker


class _Tls(HTTPAdapter):
    """Certificates as `tls_context` has them; requests by itself knows its own bundle alone."""

    def __init__(self, ca_file: str) -> None:
        self._context = tls_context(ca_file)
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **{**options, "ssl_context": self._context})


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, up to a byte more than allowed. requests' own time-out starts again with every byte that drips in.

    Raises:
        requests.Timeout: it is not complete by `deadline`.
    """
    body = b""
    while len(body) <= MOST_BYTES:
        chunk = response.raw.read(1)  # the body is some 30 bytes; a larger read would wait to be filled
        if not chunk:
            break
        body += chunk
        if time.monotonic() > deadline:
            raise requests.Timeout
    return body


class Poller:
    """Polls in a thread, one at a time; `deliver` gets each result, in that thread. `access` is of `poll`."""

    def __init__(
        self, url: str, deliver: Callable[[Polled], None], timeout_s: float = TIMEOUT_S, **access: str
    ) -> None:
        self._url = url
        self._access = access
        self._deliver = deliver
        self._timeout_s = timeout_s
        self._busy = threading.Lock()

    def start(self) -> None:
        """Begin a poll, unless one is under way, whose result serves as well."""
        if self._busy.acquire(blocking=False):
            threading.Thread(target=self._run, name="poller", daemon=True).start()

    def _run(self) -> None:
        try:
            result = poll(self._url, self._timeout_s, **self._access)
        finally:
            self._busy.release()
        self._deliver(result)


def _cause(error: BaseException) -> str:
    """The plain cause in requests' nested errors: 'Connection refused', 'Name or service not known', ..."""
    for part in ("Connection refused", "Name or service not known", "Temporary failure in name resolution",
                 "No route to host", "Network is unreachable", "Connection reset by peer"):  # fmt: skip
        if part in str(error):
            return part
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "certificate not accepted; name its authority's PEM file in policy_server.ca_file"
    return _printable(str(error))


def _printable(text: str) -> str:
    """A stranger's words, fit for a terminal: one line, nothing that steers it."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
