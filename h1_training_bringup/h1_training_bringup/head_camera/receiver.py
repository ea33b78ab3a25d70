# SPDX-License-Identifier: Apache-2.0
"""Receives from an image server: a thread of its own on ZeroMQ sockets, so that neither a dead server nor a slow image
holds up the node.

With `format` auto the classic stream is subscribed and teleimager's configuration is asked for at the same time; who
delivers first is believed. ZeroMQ reconnects by itself, and its heartbeats notice a cable that was pulled; but after
a message that was too large it stays away for good (libzmq's session ends on a protocol error), so that a
connection that stays broken is replaced by a new socket.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from h1_training_bringup.head_camera.layout import (
    MAX_ANSWER_BYTES,
    REQUEST,
    BadConfigurationError,
    Source,
    address,
    streams_of,
)
from h1_training_bringup.head_camera.parameters import HeadCameraParameters
from h1_training_node.clock import NS_PER_S

_POLL_MS = 100
_ASK_EVERY_NS = NS_PER_S
"""teleimager's own client waits 1 s for the configuration."""
_REOPEN_NS = NS_PER_S // 2
_QUEUED_FRAMES = 10
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 1000, 3000
_OVERSIZE_FACTOR = 4
"""Messages this many times over `max_frame_bytes` are not even received; ZeroMQ drops the connection."""


@dataclass(frozen=True)
class Listener:
    """Whom the receiver calls; all in its own thread.

    Attributes:
        frame: source, the message's parts, when it arrived (session time, ns).
        silent: source, seconds without a frame; once, until it delivers again.
        delivers: source; its first frame, or the first after it was silent.
        cut_off: source, largest message that is received, bytes; its connection has broken.
        trouble: what is wrong with teleimager's answer, when that changes.
        tick: called at least ten times a second.
    """

    frame: Callable[[Source, Sequence[bytes], int], None]
    silent: Callable[[Source, float], None]
    delivers: Callable[[Source], None]
    cut_off: Callable[[Source, int], None]
    trouble: Callable[[str], None]
    tick: Callable[[], None]


@dataclass
class _Subscription:
    """A source that is subscribed to."""

    source: Source
    socket: zmq.Socket[bytes]
    monitor: zmq.Socket[bytes]
    received_ns: int
    is_silent: bool = False
    has_delivered: bool = False
    reopen_ns: int | None = None

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()


class Receiver(threading.Thread):
    """Receives until `stop`.

    Args:
        parameters: of the node.
        listener: whom it calls.
        clock_ns: session time.
    """

    def __init__(self, parameters: HeadCameraParameters, listener: Listener, clock_ns: Callable[[], int]) -> None:
        super().__init__(name="head_camera_receiver", daemon=True)
        self._parameters = parameters
        self._listener = listener
        self._clock_ns = clock_ns
        self._stopping = threading.Event()
        self._subscriptions: list[_Subscription] = []
        self._question: zmq.Socket[bytes] | None = None
        self._asked_ns = -_ASK_EVERY_NS
        self._trouble = ""
        self._cameras = parameters.cameras

    def stop(self) -> None:
        """End within a tenth of a second."""
        self._stopping.set()

    def run(self) -> None:
        """Receive until `stop`."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            if self._parameters.format != "teleimager":
                self._subscriptions = [self._subscribed(context, self._classic)]
            while not self._stopping.is_set():
                self._ask_if_due(context)
                self._poll(context)
                self._reconnect(context)
                self._report_silence()
                self._listener.tick()
        finally:
            context.destroy(linger=0)

    def _poll(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Wait for something to arrive, and take all of it."""
        poller = zmq.Poller()
        for subscription in self._subscriptions:
            poller.register(subscription.socket, zmq.POLLIN)
            poller.register(subscription.monitor, zmq.POLLIN)
        if self._question is not None:
            poller.register(self._question, zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        for subscription in self._subscriptions:
            if subscription.socket in ready:
                self._take(subscription)
            if subscription.monitor in ready:
                self._connection_changed(subscription)
        if self._question is not None and self._question in ready:
            self._answered(context, self._question.recv())

    def _connection_changed(self, subscription: _Subscription) -> None:
        if recv_monitor_message(subscription.monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            subscription.reopen_ns = None
            return
        subscription.reopen_ns = self._clock_ns() + _REOPEN_NS
        self._listener.cut_off(subscription.source, self._largest_message)

    def _reconnect(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Replace the sockets whose connection has broken and that have not reconnected by themselves."""
        now_ns = self._clock_ns()
        for subscription in self._subscriptions:
            if subscription.reopen_ns is not None and now_ns >= subscription.reopen_ns:
                subscription.close()
                subscription.socket, subscription.monitor = self._connected(context, subscription.source)
                subscription.reopen_ns = None

    def _take(self, subscription: _Subscription) -> None:
        """Take what is queued, but not for ever: there are other sources."""
        for _ in range(_QUEUED_FRAMES):
            try:
                parts = subscription.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            subscription.received_ns = self._clock_ns()
            if subscription.is_silent or not subscription.has_delivered:
                subscription.is_silent, subscription.has_delivered = False, True
                self._listener.delivers(subscription.source)
            self._listener.frame(subscription.source, parts, subscription.received_ns)

    def _report_silence(self) -> None:
        now_ns = self._clock_ns()
        for subscription in self._subscriptions:
            quiet_ns = now_ns - subscription.received_ns
            patience_s = (
                self._parameters.silent_after_s if subscription.has_delivered else self._parameters.first_frame_within_s
            )
            if not subscription.is_silent and quiet_ns > patience_s * NS_PER_S:
                subscription.is_silent = True
                self._listener.silent(subscription.source, quiet_ns / NS_PER_S)

    # teleimager's configuration.

    def _ask_if_due(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Ask while nobody delivers: at the start, and when all are silent (the server may have changed)."""
        if self._parameters.format == "image_server":
            return
        now_ns = self._clock_ns()
        if any(
            subscription.has_delivered
            and now_ns - subscription.received_ns < self._parameters.silent_after_s * NS_PER_S
            for subscription in self._subscriptions
        ):
            self._close_question()
        elif now_ns - self._asked_ns >= _ASK_EVERY_NS:
            if self._question is not None and self._parameters.format == "teleimager" and not self._subscriptions:
                self._report_trouble(f"no answer from {self._config_address}; is teleimager running on the robot?")
            self._close_question()
            self._question = context.socket(zmq.REQ)
            self._question.setsockopt(zmq.LINGER, 0)
            self._question.setsockopt(zmq.IPV6, 1)
            self._question.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
            self._question.connect(self._config_address)
            self._question.send(REQUEST)
            self._asked_ns = now_ns
            if self._parameters.format == "auto" and all(
                subscription.source != self._classic for subscription in self._subscriptions
            ):
                self._subscriptions.append(
                    self._subscribed(context, self._classic)
                )  # a robot may come back with the other server

    @property
    def _classic(self) -> Source:
        return Source(address(self._parameters.host, self._parameters.port))

    @property
    def _config_address(self) -> str:
        return address(self._parameters.host, self._parameters.config_port)

    def _close_question(self) -> None:
        if self._question is not None:
            self._question.close()
            self._question = None

    def _answered(self, context: zmq.Context[zmq.Socket[bytes]], answer: bytes) -> None:
        """Subscribe to the streams that the configuration names, if they are others than before."""
        self._close_question()
        try:
            sources = streams_of(answer, self._parameters.host, self._cameras)
        except BadConfigurationError as error:
            self._report_trouble(str(error))
            return
        self._trouble = ""
        kept = [subscription for subscription in self._subscriptions if subscription.source in sources]
        for subscription in self._subscriptions:
            if subscription not in kept:
                subscription.close()
        known = [subscription.source for subscription in kept]
        self._subscriptions = kept + [self._subscribed(context, source) for source in sources if source not in known]

    def _subscribed(self, context: zmq.Context[zmq.Socket[bytes]], source: Source) -> _Subscription:
        return _Subscription(source, *self._connected(context, source), self._clock_ns())

    def _connected(
        self, context: zmq.Context[zmq.Socket[bytes]], source: Source
    ) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """A socket that is subscribed to `source`, and its monitor."""
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.RCVHWM, _QUEUED_FRAMES)
        socket.setsockopt(zmq.MAXMSGSIZE, self._largest_message)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        # ZeroMQ says nothing of a message that it does not take; that it has closed the connection its monitor says.
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(source.address)
        return socket, monitor

    @property
    def _largest_message(self) -> int:
        """Bytes; ZeroMQ closes the connection on more."""
        return _OVERSIZE_FACTOR * self._parameters.max_frame_bytes

    def _report_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._listener.trouble(trouble)
