# SPDX-License-Identifier: Apache-2.0
"""`POST /act` with JSON, in which arrays are json-numpy's maps: OpenVLA-OFT and what is modelled on it.

moojink/openvla-oft: `vla-scripts/deploy.py` (server) and `experiments/robot/openvla_utils.py` (client). The answer is a
list with one array a step, or an array, or plain nested lists, or a map with one of these as `actions` or `action`; the
text `"error"` is all that OpenVLA's server says of a failure. json-numpy: PyPI, `json_numpy.py` (`__numpy__`, `dtype`,
`shape`). The server says nothing of itself.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
import select
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from h1_policy_bridge.chunk import ReplyError
from h1_policy_bridge.connection import DeadlineSocket, Wake, connected
from h1_policy_bridge.link_errors import InterruptedWait, LinkError, TooMuchError, bad_status, link_errors, one_line
from h1_policy_bridge.plain_array import CodecError, plain_array
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.values import ObservationError, ServerError
from h1_training_node.server_access import authorization

_HEAD_BYTES = 64 * 1024
_ANOTHER_SERVER = frozenset({401, 403, 404, 405})
"""Statuses that no repetition changes; after any other the server may answer again."""


class HttpActLink:
    """A `PolicyLink`; see the module.

    Each request has a connection of its own, as with OpenVLA-OFT's client: HTTP has no number that says which request
    an answer is for, and one that comes late or twice must not be read as the next one's.
    """

    scheme: ClassVar[str] = "http"

    def __init__(self, config: LinkConfig, wake: Wake) -> None:
        self._config = config
        self._wake = wake
        url = urlsplit(config.address.url)
        self._host, self._path = url.netloc, url.path.rstrip("/") or "/act"
        self._headers = {
            "Content-Type": "application/json",
            "Host": self._host,
            "Connection": "close",
            **authorization(config.api_key),
        }
        self._sock: DeadlineSocket | None = self._opened()
        self.metadata: Mapping[str, Any] = {}

    def encode(self, observation: Mapping[str, Any]) -> bytes:
        try:
            return json.dumps(observation, default=_encoded, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ObservationError(f"cannot be encoded: {error}") from None

    def send(self, request: bytes, timeout_s: float) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        message = f"POST {self._path} HTTP/1.1\r\n{head}Content-Length: {len(request)}\r\n\r\n".encode() + request
        if self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            self._drop()  # the first one, which the server closed meanwhile, or said something unasked on
        if self._sock is None:
            self._sock = self._opened()
        self._sock.set_deadline(timeout_s, interruptible=False)
        self._sock.set_budget(self._config.max_reply_bytes + _HEAD_BYTES)
        with self._as_link_error(f"the policy server took no request within {timeout_s:g} s"):
            self._sock.sendall(message)

    def receive(self, timeout_s: float) -> Any:
        assert self._sock is not None
        # Only the wait for the first byte can be interrupted and continued; the answer itself is read in one go.
        self._await_data(timeout_s)
        self._sock.set_deadline(timeout_s, interruptible=False)
        with self._as_link_error(f"the policy server gave no answer within {timeout_s:g} s"):
            response = http.client.HTTPResponse(self._sock, method="POST")  # type: ignore[arg-type]
            response.begin()
            largest = self._config.max_reply_bytes
            if (response.length or 0) > largest:
                raise TooMuchError
            # Never without a number: a chunk may claim any size, which would be allocated.
            body = response.read(largest + 1)
            if len(body) > largest:
                raise TooMuchError
        self._drop()
        self._check_status(response, body)
        try:
            return _actions(_decoded_body(body))
        except ServerError as error:  # it goes on serving
            raise ReplyError(str(error)) from None

    def wait(self) -> None:
        """A server may close the first connection before it is used: that is no loss, the request opens another."""
        while True:
            sources: list[Any] = [self._wake] if self._sock is None else [self._wake, self._sock]
            ready, _, _ = select.select(sources, [], [])
            if self._wake in ready:
                raise InterruptedWait
            self._drop()

    def close(self) -> None:
        self._drop()

    def _opened(self) -> DeadlineSocket:
        config = self._config
        return DeadlineSocket(
            connected(config.address.url, config.connect_timeout_s, ca_file=config.ca_file), self._wake
        )

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _await_data(self, timeout_s: float) -> None:
        sources: list[Any] = [self._sock, self._wake]
        ready, _, _ = select.select(sources, [], [], timeout_s)
        if self._wake in ready:
            raise InterruptedWait
        if not ready:
            raise LinkError(f"the policy server gave no answer within {timeout_s:g} s")

    def _check_status(self, response: http.client.HTTPResponse, body: bytes) -> None:
        if response.status == 200:
            return
        if response.status // 100 == 3 or response.status in _ANOTHER_SERVER:
            location, to = response.headers.get("location"), f" to POST {self._path}"
            url = self._config.address.url
            raise bad_status(url, response.status, location, to=to, hint="check host, port and path")
        words = one_line(body.decode(errors="replace")) or "no text"
        raise ReplyError(f"the policy server answered HTTP {response.status}: {words}")

    def _as_link_error(self, late: str) -> contextlib.AbstractContextManager[None]:
        return link_errors(
            self._config.max_reply_bytes,
            late=late,
            closed=(http.client.RemoteDisconnected, ConnectionError),
            broken=(http.client.HTTPException, OSError, ValueError),
            broken_words="the policy server does not answer in HTTP",
        )


def _encoded(value: Any) -> dict[str, Any]:
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"{type(value).__name__} cannot be encoded")
    return {
        "__numpy__": base64.b64encode(value.tobytes()).decode(),
        "dtype": value.dtype.str,
        "shape": list(value.shape),
    }


def _decoded_body(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), object_hook=_decoded)
    except ReplyError:
        raise
    except (ValueError, RecursionError) as error:
        raise ReplyError(f"not JSON: {one_line(str(error))}") from None


def _decoded(fields: dict[str, Any]) -> Any:
    if "__numpy__" not in fields:
        return fields
    try:
        data = base64.b64decode(fields["__numpy__"], validate=True)
        return plain_array(data, fields.get("dtype"), fields.get("shape"))
    except CodecError as error:
        raise ReplyError(str(error)) from None
    except (binascii.Error, TypeError, ValueError) as error:
        raise ReplyError(f"array cannot be decoded: {one_line(str(error))}") from None


def _actions(reply: Any) -> Any:
    """The reply with its actions as one array, wherever this server puts them."""
    if isinstance(reply, str):
        raise ServerError("error, and no more; its log says why" if reply == "error" else reply)
    if isinstance(reply, dict):
        for name in ("actions", "action"):
            if name in reply:
                return {**reply, "actions": _as_array(reply[name])}
        if isinstance(error := reply.get("error", reply.get("detail")), str):
            raise ServerError(error)
        return reply
    return {"actions": _as_array(reply)}


def _as_array(value: Any) -> Any:
    """A list of numbers, or of arrays, as one array. Text and truth values are no numbers, though numpy takes them."""
    if not isinstance(value, list):
        return value
    level: list[Any] = value
    while any(isinstance(item, list) for item in level):
        level = [item for part in level if isinstance(part, list) for item in part]
    try:
        if not all(isinstance(item, np.ndarray) or type(item) in (int, float) for item in level):
            raise TypeError
        return np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ReplyError("'actions' is a list that is no array of numbers") from None
