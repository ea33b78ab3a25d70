"""Hears an image server: a thread of its own on ZeroMQ sockets, so that neither a dead server nor a slow picture holds
up the node.

With `format` auto the classic stream is subscribed and teleimager's configuration is asked for at the same time; who
delivers first is believed. ZeroMQ connects anew by itself, and its heartbeats notice a cable that was pulled; but after
a message that was too large it stays away for good (libzmq's session ends on a protocol error), so that a
connection that stays broken is replaced by a new socket.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from h1_training_bringup.head_camera.head_camera_parameters import HeadCameraParameters
from h1_training_bringup.head_camera.layout import HEAD, WRISTS
from h1_training_bringup.head_camera.teleimager import (
    MAX_ANSWER_BYTES,
    REQUEST,
    BadConfigurationError,
    Stream,
    streams_of,
)
from h1_training_node.clock import NS_PER_S

_POLL_MS = 100
_ASK_EVERY_NS = NS_PER_S
"""teleimager's own client waits 1 s for the configuration."""
_OPEN_ANEW_NS = NS_PER_S // 2
_QUEUED_FRAMES = 10
_HEARTBEAT_MS, _HEARTBEAT_TIMEOUT_MS = 1000, 3000
_OVERSIZE_FACTOR = 4
"""Messages this many times over `max_frame_bytes` are not even received; ZeroMQ drops the connection."""


@dataclass(frozen=True)
class Source:
    """Where frames come from.

    Attributes:
        address: as ZeroMQ has it.
        camera: whose stream it is; the classic server has one stream, the head's.
        is_teleimager: one camera a stream.
        is_binocular: what teleimager says of it; None: nothing.
    """

    address: str
    camera: str = HEAD
    is_teleimager: bool = False
    is_binocular: bool | None = None


@dataclass(frozen=True)
class Listener:
    """Who is told; all in the receiver's thread.

    Attributes:
        frame: source, the message's parts, when it arrived (session time, ns).
        silent: source, seconds without a frame; told once, until it speaks again.
        speaks: source; its first frame, or the first after it was silent.
        cut_off: source, largest message that is received, bytes; its connection has broken.
        trouble: what is wrong with teleimager's answer; told when that changes.
        tick: called at least ten times a second.
    """

    frame: Callable[[Source, Sequence[bytes], int], None]
    silent: Callable[[Source, float], None]
    speaks: Callable[[Source], None]
    cut_off: Callable[[Source, int], None]
    trouble: Callable[[str], None]
    tick: Callable[[], None]


@dataclass
class _Ear:
    """A subscribed source."""

    source: Source
    socket: zmq.Socket[bytes]
    monitor: zmq.Socket[bytes]
    heard_ns: int
    is_silent: bool = False
    has_spoken: bool = False
    open_anew_ns: int | None = None

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()


class Receiver(threading.Thread):
    """Receives until `stop`.

    Args:
        parameters: of the node.
        listener: who is told.
        clock_ns: session time.
    """

    def __init__(self, parameters: HeadCameraParameters, listener: Listener, clock_ns: Callable[[], int]) -> None:
        super().__init__(name="head_camera_receiver", daemon=True)
        self._parameters = parameters
        self._listener = listener
        self._clock_ns = clock_ns
        self._stopping = threading.Event()
        self._ears: list[_Ear] = []
        self._question: zmq.Socket[bytes] | None = None
        self._asked_ns = -_ASK_EVERY_NS
        self._trouble = ""
        self._cameras = (HEAD, *WRISTS[: parameters.wrists_in_frame])

    def stop(self) -> None:
        """End within a tenth of a second."""
        self._stopping.set()

    def run(self) -> None:
        """Receive until `stop`."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            if self._parameters.format != "teleimager":
                self._ears = [self._ear(context, self._classic)]
            while not self._stopping.is_set():
                self._ask_if_due(context)
                self._poll(context)
                self._mend(context)
                self._watch_silence()
                self._listener.tick()
        finally:
            context.destroy(linger=0)

    def _poll(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Wait for something to arrive, and take all of it."""
        poller = zmq.Poller()
        for ear in self._ears:
            poller.register(ear.socket, zmq.POLLIN)
            poller.register(ear.monitor, zmq.POLLIN)
        if self._question is not None:
            poller.register(self._question, zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        for ear in self._ears:
            if ear.socket in ready:
                self._hear(ear)
            if ear.monitor in ready:
                self._connection_changed(ear)
        if self._question is not None and self._question in ready:
            self._answered(context, self._question.recv())

    def _connection_changed(self, ear: _Ear) -> None:
        if recv_monitor_message(ear.monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            ear.open_anew_ns = None
            return
        ear.open_anew_ns = self._clock_ns() + _OPEN_ANEW_NS
        self._listener.cut_off(ear.source, self._largest_message)

    def _mend(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Replace the sockets whose connection has broken and that have not found back by themselves."""
        now_ns = self._clock_ns()
        for ear in self._ears:
            if ear.open_anew_ns is not None and now_ns >= ear.open_anew_ns:
                ear.close()
                ear.socket, ear.monitor = self._connected(context, ear.source)
                ear.open_anew_ns = None

    def _hear(self, ear: _Ear) -> None:
        """Take what is queued, but not for ever: others want to be heard as well."""
        for _ in range(_QUEUED_FRAMES):
            try:
                parts = ear.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            ear.heard_ns = self._clock_ns()
            if ear.is_silent or not ear.has_spoken:
                ear.is_silent, ear.has_spoken = False, True
                self._listener.speaks(ear.source)
            self._listener.frame(ear.source, parts, ear.heard_ns)

    def _watch_silence(self) -> None:
        now_ns = self._clock_ns()
        for ear in self._ears:
            quiet_ns = now_ns - ear.heard_ns
            patience_s = self._parameters.silent_after if ear.has_spoken else self._parameters.first_frame_within
            if not ear.is_silent and quiet_ns > patience_s * NS_PER_S:
                ear.is_silent = True
                self._listener.silent(ear.source, quiet_ns / NS_PER_S)

    # teleimager's configuration.

    def _ask_if_due(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Ask while nobody delivers: at the start, and when all have fallen silent (the server may have changed)."""
        if self._parameters.format == "image_server":
            return
        now_ns = self._clock_ns()
        if any(
            ear.has_spoken and now_ns - ear.heard_ns < self._parameters.silent_after * NS_PER_S for ear in self._ears
        ):
            self._close_question()
        elif now_ns - self._asked_ns >= _ASK_EVERY_NS:
            if self._question is not None and self._parameters.format == "teleimager" and not self._ears:
                self._complain(f"no answer from {self._config_address}; is teleimager running on the robot?")
            self._close_question()
            self._question = context.socket(zmq.REQ)
            self._question.setsockopt(zmq.LINGER, 0)
            self._question.setsockopt(zmq.MAXMSGSIZE, MAX_ANSWER_BYTES)
            self._question.connect(self._config_address)
            self._question.send(REQUEST)
            self._asked_ns = now_ns
            if self._parameters.format == "auto" and all(ear.source != self._classic for ear in self._ears):
                self._ears.append(self._ear(context, self._classic))  # a robot may come back with the other server

    @property
    def _classic(self) -> Source:
        return Source(f"tcp://{self._parameters.host}:{self._parameters.port}")

    @property
    def _config_address(self) -> str:
        return f"tcp://{self._parameters.host}:{self._parameters.config_port}"

    def _close_question(self) -> None:
        if self._question is not None:
            self._question.close()
            self._question = None

    def _answered(self, context: zmq.Context[zmq.Socket[bytes]], answer: bytes) -> None:
        """Listen to the streams that the configuration names, if they are others than before."""
        self._close_question()
        try:
            sources = tuple(self._source(stream) for stream in streams_of(answer, self._cameras))
        except BadConfigurationError as error:
            self._complain(str(error))
            return
        self._trouble = ""
        kept = [ear for ear in self._ears if ear.source in sources]
        for ear in self._ears:
            if ear not in kept:
                ear.close()
        known = [ear.source for ear in kept]
        self._ears = kept + [self._ear(context, source) for source in sources if source not in known]

    def _source(self, stream: Stream) -> Source:
        return Source(f"tcp://{self._parameters.host}:{stream.port}", stream.camera, True, stream.is_binocular)

    def _ear(self, context: zmq.Context[zmq.Socket[bytes]], source: Source) -> _Ear:
        return _Ear(source, *self._connected(context, source), self._clock_ns())

    def _connected(
        self, context: zmq.Context[zmq.Socket[bytes]], source: Source
    ) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """A socket that listens to `source`, and its monitor."""
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, _QUEUED_FRAMES)
        socket.setsockopt(zmq.MAXMSGSIZE, self._largest_message)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        # ZeroMQ says nothing of a message that it does not take; that it has closed the connection can be heard.
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(source.address)
        return socket, monitor

    @property
    def _largest_message(self) -> int:
        """Bytes; ZeroMQ closes the connection on more."""
        return _OVERSIZE_FACTOR * self._parameters.max_frame_bytes

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._listener.trouble(trouble)
