# SPDX-License-Identifier: Apache-2.0
"""Keeps a policy server connected: connects, reconnects for ever, and carries one request at a time.

One thread owns the connection, builds the observation of a request, sends it, and decodes and checks the reply.
Nobody waits for it: requests are handed in and results taken out without blocking, so a server that hangs, lies or
disappears never costs the executor a tick.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from h1_policy_bridge.chunk import Expectation, ReplyError, read_reply
from h1_policy_bridge.connection import Wake
from h1_policy_bridge.link_errors import InterruptedWait, LinkError
from h1_policy_bridge.metadata import MetadataError, read_metadata
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.protocols.link import LinkConfig, PolicyLink
from h1_policy_bridge.values import ClientState, InferenceRequest, InferenceResult, ObservationError, ServerError
from h1_training_node.message_numbers import Connection
from h1_training_node.process import leave_realtime

_STEADY_S = 5.0
"""A connection that lived this long was no failure."""

_REMADE = "the connection was made again"


@dataclass(frozen=True)
class ClientConfig:
    """How to reach the server and how patient to be.

    Attributes:
        link: where the server is, and how much it may take.
        protocol: one of `protocols.PROTOCOLS`.
        expected: what it must serve.
        first_request_timeout_s: for the first reply of a connection, s: a server may compile for 40 s then.
        request_timeout_s: for every later reply, s.
        backoff_low_s, backoff_high_s: pause before the second attempt to connect, and the longest one, s.
    """

    link: LinkConfig
    protocol: str = "openpi"
    expected: Expectation = field(default_factory=Expectation)
    first_request_timeout_s: float = 60.0
    request_timeout_s: float = 5.0
    backoff_low_s: float = 0.25
    backoff_high_s: float = 5.0


class PolicyClient:
    """See the module. All public methods return at once and may be called from any thread.

    Args:
        config: see `ClientConfig`.
        now_ns: the session clock.
        log: takes what is for the log only, such as a server's traceback.
    """

    def __init__(self, config: ClientConfig, *, now_ns: Callable[[], int], log: Callable[[str], None]) -> None:
        self._config = config
        self._now_ns = now_ns
        self._log = log
        self._wake = Wake()
        self._lock = threading.Lock()
        self._state = ClientState()
        self._results: deque[InferenceResult] = deque()
        self._request: InferenceRequest | None = None
        self._wanted_epoch = -1
        self._reconnect = False
        self._stop = False
        self._first_request = True
        self._thread = threading.Thread(target=self._run, name="policy-client", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Close the connection and end the thread; a connect under way is left behind after `timeout_s`."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def state(self) -> ClientState:
        """The connection's present state."""
        return self._state

    @property
    def is_idle(self) -> bool:
        """Connected, fitting, and with no request under way."""
        return self._request is None and self._state.connection is Connection.CONNECTED and not self._reconnect

    def reconnect(self, epoch: int) -> None:
        """Drop the connection and make it again, for this epoch of the session."""
        with self._lock:
            self._wanted_epoch = epoch
            self._reconnect = True
        self._wake.set()

    def submit(self, request: InferenceRequest) -> bool:
        """Hand in a request; False, and nothing happens, if the client is not idle."""
        with self._lock:
            if not self.is_idle:
                return False
            self._request = request
        self._wake.set()
        return True

    def take_results(self) -> list[InferenceResult]:
        """All results since the last call, in order."""
        taken = []
        while self._results:
            taken.append(self._results.popleft())
        return taken

    # -- everything below runs in the client's own thread -------------------------------------------------------

    def _run(self) -> None:
        leave_realtime()  # images are decoded here, beside a stream that must not wait for them
        failures = 0
        while not self._stop:
            began = time.monotonic()
            try:
                if (link := self._connect()) is not None:
                    self._serve(link)
            except Exception:  # a bug must not leave a dead thread behind a connection that looks alive
                self._log(f"the policy client failed:\n{traceback.format_exc()}")
                self._lost(LinkError("the policy client failed; its log says where"))
            # A server that drops every connection at once is not retried faster than one that is not there.
            failures = 0 if time.monotonic() - began > _STEADY_S else failures + 1
            if not (self._stop or self._reconnect):
                self._wake.wait(self._pause_s(failures))
                self._wake.clear()
        self._state = ClientState(epoch=self._state.epoch, reason="stopped", connections=self._state.connections)

    def _pause_s(self, failures: int) -> float:
        """Doubling, with jitter, so that several robots do not retry all at once."""
        config = self._config
        pause = min(config.backoff_high_s, config.backoff_low_s * 2.0 ** min(max(failures - 1, 0), 16))
        return pause * random.uniform(0.75, 1.25)

    def _connect(self) -> PolicyLink | None:
        before = self._state
        self._wake.clear()
        with self._lock:  # no request may slip in between: it would be of the connection that is given up
            self._state = ClientState(
                Connection.CONNECTING, 0, before.epoch, reason=before.reason, connections=before.connections
            )
            epoch, self._reconnect = self._wanted_epoch, False
        try:
            link = PROTOCOLS[self._config.protocol](self._config.link, self._wake)
        except InterruptedWait:  # a stop, or a reconnection for another epoch
            self._wake.clear()
            return None
        except LinkError as error:
            self._lost(error)
            return None
        self._first_request = True
        connected = ClientState(
            Connection.CONNECTED, self._now_ns(), epoch, reason="", connections=before.connections + 1
        )
        try:
            self._state = replace(connected, facts=read_metadata(link.metadata, self._config.expected))
        except MetadataError as error:
            self._state = replace(connected, connection=Connection.REFUSED, reason=str(error))
        return link

    def _serve(self, link: PolicyLink) -> None:
        """Carry requests until the connection is lost, or is to be made again."""
        try:
            while not (self._stop or self._reconnect):
                if self._request is None:
                    try:
                        link.wait()
                    except InterruptedWait:
                        self._wake.clear()
                else:
                    self._finish(self._inferred(link, self._request))
        except LinkError as error:
            self._lost(error)
        finally:
            link.close()
            if self._request is not None:
                self._finish(InferenceResult(self._request.tag, reason=self._state.reason or _REMADE))

    def _inferred(self, link: PolicyLink, request: InferenceRequest) -> InferenceResult | None:
        """The result of one round trip; None if it was called off.

        Raises:
            LinkError: the connection is of no use any more.
        """
        config = self._config
        try:
            message = link.encode(request.build(self._state.facts))
        except ObservationError as error:
            return InferenceResult(request.tag, reason=str(error), was_sent=False)
        sent = time.monotonic()
        link.send(message, config.request_timeout_s)
        timeout_s = config.first_request_timeout_s if self._first_request else config.request_timeout_s
        try:
            reply = self._awaited(link, sent + timeout_s, timeout_s)
            if reply is None:
                return None
            self._first_request = False
            chunk = read_reply(
                reply[0],
                config.expected,
                state=request.state,
                observation_ns=request.observation_ns,
                inference_ms=(time.monotonic() - sent) * 1e3,
            )
        except ReplyError as error:
            self._first_request = False
            return InferenceResult(request.tag, reason=f"reply refused: {error}")
        return InferenceResult(request.tag, chunk)

    def _awaited(self, link: PolicyLink, deadline_s: float, timeout_s: float) -> tuple[Any] | None:
        """The decoded reply, whatever it is; None if it was called off."""
        while not (self._stop or self._reconnect):
            try:
                return (link.receive(max(deadline_s - time.monotonic(), 1e-3)),)
            except InterruptedWait:
                self._wake.clear()
            except LinkError as error:
                if time.monotonic() >= deadline_s:
                    raise LinkError(f"the policy server gave no answer within {timeout_s:g} s") from error
                raise
        return None

    def _finish(self, result: InferenceResult | None) -> None:
        """The asker sees the result no later than that the client is idle again."""
        if result is not None:
            self._results.append(result)
        elif self._request is not None:
            self._results.append(InferenceResult(self._request.tag, reason=_REMADE))
        self._request = None

    def _lost(self, error: LinkError) -> None:
        if isinstance(error, ServerError):
            self._log(f"the policy server failed; its own words follow in this log:\n{error.traceback}")
        with self._lock:  # a request handed in before this gets its result; after it, none is taken
            state = self._state
            self._state = ClientState(epoch=state.epoch, reason=str(error), connections=state.connections)
