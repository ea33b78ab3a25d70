"""Keeps a policy server at hand: connects, reconnects for ever, and carries one request at a time.

One thread owns the connection, builds the observation of a request, sends it, and decodes and checks the reply.
Nobody waits for it: requests are handed in and outcomes taken out without blocking, so a server that hangs, lies or
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

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.address import Address
from h1_policy_bridge.chunk import Expectation, MetadataError, ReplyError, read_metadata, read_reply
from h1_policy_bridge.deadline_socket import InterruptedWait, Wake
from h1_policy_bridge.exchange import ClientState, Connection, ObservationError, Outcome, Request
from h1_policy_bridge.policy_link import LinkLimits, PolicyLink, ServerError
from h1_policy_bridge.transport import LinkError
from h1_training_node.process import leave_realtime

_STEADY_S = 5.0
"""A connection that lived this long was no failure."""


@dataclass(frozen=True)
class ClientConfig:
    """How to reach the server and how patient to be.

    Attributes:
        address: of the server.
        expected: what it must serve.
        limits: for connecting.
        first_request_timeout_s: for the first reply of a connection, s: a server may compile for 40 s then.
        request_timeout_s: for every later reply, s.
        backoff_low_s, backoff_high_s: pause before the second attempt to connect, and the longest one, s.
        api_key: sent as `Authorization: Api-Key KEY`; never logged.
        ca_file: PEM file of authorities trusted beside the system's, for wss://; empty: the system's alone.
    """

    address: Address
    expected: Expectation = field(default_factory=Expectation)
    limits: LinkLimits = field(default_factory=LinkLimits)
    first_request_timeout_s: float = 60.0
    request_timeout_s: float = 5.0
    backoff_low_s: float = 0.25
    backoff_high_s: float = 5.0
    api_key: str = field(default="", repr=False)
    ca_file: str = ""


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
        self._outcomes: deque[Outcome] = deque()
        self._request: Request | None = None
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
        """Drop the connection and make it anew, for this epoch of the session."""
        with self._lock:
            self._wanted_epoch = epoch
            self._reconnect = True
        self._wake.set()

    def submit(self, request: Request) -> bool:
        """Hand in a request; False, and nothing happens, if the client is not idle."""
        with self._lock:
            if not self.is_idle:
                return False
            self._request = request
        self._wake.set()
        return True

    def take_outcomes(self) -> list[Outcome]:
        """All outcomes since the last call, in order."""
        taken = []
        while self._outcomes:
            taken.append(self._outcomes.popleft())
        return taken

    # -- everything below runs in the client's own thread -------------------------------------------------------

    def _run(self) -> None:
        leave_realtime()  # pictures are decoded here, beside a stream that must not wait for them
        failures = 0
        while not self._stop:
            began = time.monotonic()
            try:
                self._serve_once()
            except Exception:  # a bug must not leave a dead thread behind a connection that looks alive
                self._log(f"the policy client failed:\n{traceback.format_exc()}")
                self._lost(LinkError("the policy client failed; its log says where"))
            # A server that drops every connection at once is not knocked at faster than one that is not there.
            failures = 0 if time.monotonic() - began > _STEADY_S else failures + 1
            if not (self._stop or self._reconnect):
                self._wake.wait(self._pause_s(failures))
                self._wake.clear()
        self._set(ClientState(epoch=self._state.epoch, reason="stopped", connections=self._state.connections))

    def _serve_once(self) -> None:
        link = self._connect()
        if link is not None:
            self._serve(link)

    def _pause_s(self, failures: int) -> float:
        """Doubling, with jitter, so that several robots do not knock all at once."""
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
            link = self._patient_link()
        except LinkError as error:
            self._lost(error)
            return None
        if link is None:
            return None
        self._first_request = True
        connected = ClientState(
            Connection.CONNECTED, self._now_ns(), epoch, reason="", connections=before.connections + 1
        )
        try:
            self._set(replace(connected, facts=read_metadata(link.metadata, self._config.expected)))
        except MetadataError as error:
            self._set(replace(connected, connection=Connection.REFUSED, reason=str(error)))
        return link

    def _patient_link(self) -> PolicyLink | None:
        """A link; None if this was called off by a stop, or by a reconnection for another epoch."""
        config = self._config
        try:
            return PolicyLink(config.address, config.limits, self._wake, api_key=config.api_key, ca_file=config.ca_file)
        except InterruptedWait:
            self._wake.clear()
            return None

    def _serve(self, link: PolicyLink) -> None:
        """Carry requests until the connection is lost, or is to be made anew."""
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
                self._finish(Outcome(self._request.tag, reason=self._state.reason or "the connection was made anew"))

    def _inferred(self, link: PolicyLink, request: Request) -> Outcome | None:
        """The outcome of one round trip; None if it was called off.

        Raises:
            LinkError: the connection is of no use any more.
        """
        config = self._config
        try:
            message = msgpack_numpy.pack(request.build())
        except (ObservationError, msgpack_numpy.CodecError) as error:
            return Outcome(request.tag, reason=str(error), was_sent=False)
        sent = time.monotonic()
        link.send(message, config.request_timeout_s)
        patience = config.first_request_timeout_s if self._first_request else config.request_timeout_s
        reply = self._awaited(link, sent + patience, patience)
        if reply is None:
            return None
        self._first_request = False
        try:
            decoded = msgpack_numpy.unpack(reply, max_bytes=config.limits.max_reply_bytes)
            chunk = read_reply(
                decoded,
                config.expected,
                state=request.state,
                observation_ns=request.observation_ns,
                inference_ms=(time.monotonic() - sent) * 1e3,
            )
        except (msgpack_numpy.CodecError, ReplyError) as error:
            return Outcome(request.tag, reason=f"reply refused: {error}")
        return Outcome(request.tag, chunk)

    def _awaited(self, link: PolicyLink, deadline: float, patience_s: float) -> bytes | None:
        while not (self._stop or self._reconnect):
            try:
                return link.receive(max(deadline - time.monotonic(), 1e-3))
            except InterruptedWait:
                self._wake.clear()
            except LinkError as error:
                if time.monotonic() >= deadline:
                    raise LinkError(f"the policy server gave no answer within {patience_s:g} s") from error
                raise
        return None

    def _finish(self, outcome: Outcome | None) -> None:
        """The asker sees the outcome no later than that the client is idle again."""
        if outcome is not None:
            self._outcomes.append(outcome)
        elif self._request is not None:
            self._outcomes.append(Outcome(self._request.tag, reason="the connection was made anew"))
        self._request = None

    def _lost(self, error: LinkError) -> None:
        if isinstance(error, ServerError):
            self._log(f"the policy server failed; its own words follow in this log:\n{error.traceback}")
        state = self._state
        self._set(
            ClientState(Connection.DISCONNECTED, 0, state.epoch, reason=str(error), connections=state.connections)
        )

    def _set(self, state: ClientState) -> None:
        self._state = state
