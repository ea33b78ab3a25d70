# SPDX-License-Identifier: Apache-2.0
"""Where messages come in: handed to the journal if one is open, counted, and looked at for a few bytes.

The journal has each at once. Counted and looked at they are some thirty at a time, before anybody asks: one by one
each finds the processor's caches cold, and costs five times as much. `take` and `received` are for any thread, the
open journal's among them; everything else is for the node's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from h1_recorder.recorder.definitions import MessageError
from h1_recorder.recorder.journal import Arrival, Channel, Journal
from h1_recorder.recorder.peek import Peek, is_same_image, read_image
from h1_recorder.recorder.streams import ARM_STATUS, EXPECTED_HZ, Stream
from h1_recorder.recorder.verdicts import CameraEvents, Event, StreamMonitor
from h1_training_node.cameras import ABSENT_NS, CAMERAS, jpeg_size
from h1_training_node.message_numbers import ArmMode, Verdict

_MOST_BETWEEN_NS = 100_000_000
_HEAD_BYTES = 1024
"""Of a JPEG, with its frame header as a rule."""


class PhaseEstimate:
    """Follows session/state and arm_status, and estimates how many rows there will be; the file counts them exactly.

    Args:
        fps: rows per second.

    Attributes:
        phase: "policy", "human" or "" for no rows now.
        state: of the session, as last received.
    """

    def __init__(self, fps: int) -> None:
        self._fps = fps
        self.phase = ""
        self.state = ""
        self._arm_ns = 0
        self._ns = {"policy": 0, "human": 0}

    def restart(self) -> None:
        """A new episode begins."""
        self._ns = {"policy": 0, "human": 0}

    def on_state(self, state: str) -> None:
        """session/state says so."""
        self.state = state
        if state not in ("EXECUTING", "DAMPING"):
            self.phase = ""

    def on_arm(self, stamp_ns: int, mode: int, reason: str) -> None:
        """arm_status says so."""
        if self.phase:
            self._ns[self.phase] += min(max(0, stamp_ns - self._arm_ns), _MOST_BETWEEN_NS)
        self._arm_ns = stamp_ns
        stale = mode == ArmMode.HOLD and reason == "stale_action" and self._ns["policy"] > 0
        if self.state == "EXECUTING" and (mode == ArmMode.POLICY or stale):
            self.phase = "policy"
        elif self.state == "DAMPING" and mode == ArmMode.DAMPING:
            self.phase = "human"
        else:
            self.phase = ""

    def frames(self, phase: str) -> int:
        """Rows of a phase so far, about."""
        return round(self._ns[phase] * self._fps / 1e9)


@dataclass(frozen=True)
class Figures:
    """Of every stream, in the same order; as in h1_training_msgs/msg/RecorderStatus, by the same names."""

    streams: list[str]
    rates: list[float]
    ages: list[float]
    verdicts: list[int]
    image_sizes: list[str]
    drops: list[int]
    machine_is_slow: bool


@dataclass
class _Source:
    stream: Stream
    channel: Channel
    peek: Peek
    monitor: StreamMonitor
    last: tuple[int, bytes] | None = None  # log_ns, raw
    measured: bytes = b""


class Intake:
    """The streams that are subscribed, and the open journal.

    Args:
        fps: rows per second, for the estimate of frames.
        camera_fps: images per second that a camera should deliver.
        now_ns: the session clock.

    Attributes:
        journal: that is open.
        take: has all that has come until now `received`; set by whoever subscribes.
    """

    def __init__(self, fps: int, camera_fps: float, now_ns: Callable[[], int]) -> None:
        self._now_ns, self._camera_fps = now_ns, camera_fps
        self._sources: dict[str, _Source] = {}
        self._arrived: list[Arrival] = []
        self._receiving = threading.Lock()
        self._monitors: dict[str, StreamMonitor] = {}
        self._camera_events = CameraEvents(self._monitors)
        self._estimate = PhaseEstimate(fps)
        self.journal: Journal | None = None
        self.take: Callable[[], None] = lambda: None

    def add_stream(self, stream: Stream, channel: Channel) -> None:
        """A stream is subscribed from now on; its definition goes into every journal, an open one included."""
        monitor = StreamMonitor(stream, self._camera_fps if stream.image else EXPECTED_HZ.get(stream.name, 0.0))
        peek = Peek(stream.name, channel.schema, channel.type)
        self._sources[stream.name] = _Source(stream, channel, peek, monitor)
        self._monitors[stream.name] = monitor
        if self.journal is not None:
            self.journal.add_channel(channel)

    def set_offered_qos(self, name: str, offered_qos: str) -> None:
        """What the publishers of a stream offer, for journals opened from now on."""
        source = self._sources[name]
        source.channel = replace(source.channel, offered_qos=offered_qos)

    def received(self, arrived: list[Arrival]) -> None:
        """Messages as they came off the wire, in order."""
        with self._receiving:
            self._arrived += arrived
            if self.journal is not None:
                self.journal.append(arrived)

    @property
    def estimate(self) -> PhaseEstimate:
        """Of all that has come until now."""
        self._look()
        return self._estimate

    def sample(self, *, recording: bool) -> list[Event]:
        """Judge every stream; returns what is worth an event. To be called about ten times a second.

        Without an open journal nothing else takes what comes; nor with one that the disk holds up.
        """
        if self.journal is None or self.journal.bytes_waiting:
            self.take()
        self._look()
        now_ns = self._now_ns()
        for monitor in self._monitors.values():
            monitor.sample(now_ns)
        return self._camera_events.sample(now_ns, recording=recording)

    def _look(self) -> None:
        """At all that has come since the last time."""
        with self._receiving:
            arrived, self._arrived = self._arrived, []
        for log_ns, name, raw in arrived:
            source = self._sources[name]
            seq, repeated = None, False
            if source.stream.image:
                repeated = source.last is not None and is_same_image(raw, source.last[1])
            elif source.peek.has_seq:
                stamp_ns, seq, text, mode, measured = source.peek.read(raw)
                repeated = bool(measured) and measured == source.measured
                source.measured = measured
                if mode is not None:
                    self._estimate.on_arm(log_ns if stamp_ns is None else stamp_ns, mode, text or "")
                elif text is not None:
                    self._estimate.on_state(text)
            source.monitor.received(log_ns, seq, repeated=repeated)
            source.last = (log_ns, raw)

    def channels(self) -> tuple[Channel, ...]:
        """Of all streams."""
        return tuple(source.channel for source in self._sources.values())

    def streams(self) -> tuple[Stream, ...]:
        """All that are subscribed."""
        return tuple(source.stream for source in self._sources.values())

    def open(self, journal: Journal) -> None:
        """Record into `journal` from now on, beginning with each fresh stream's newest message.

        With those the journal knows everything from its first moment on, and the first row waits for nothing.
        """
        self.take()
        self._look()
        now_ns = self._now_ns()
        newest = [(log_ns, name, raw) for log_ns, name, raw in self._newest() if now_ns - log_ns < ABSENT_NS]
        with self._receiving:
            journal.append([*sorted(newest, key=lambda entry: entry[0]), *self._arrived])
            self.journal = journal
        self._estimate.restart()

    def _newest(self) -> list[Arrival]:
        """The newest message of each stream that has one."""
        return [(source.last[0], name, source.last[1]) for name, source in self._sources.items() if source.last]

    def close(self) -> Journal | None:
        """Record what has come until now, and no more; returns the journal that was open."""
        self.take()
        with self._receiving:
            journal, self.journal = self.journal, None
        return journal

    def having(self, verdict: Verdict, names: tuple[str, ...] = (ARM_STATUS, *CAMERAS)) -> tuple[str, ...]:
        """Those of `names` on which this is the verdict at this moment; one that is not subscribed is ABSENT."""
        self._look()
        now_ns = self._now_ns()
        return tuple(
            name
            for name in names
            if (self._monitors[name].present(now_ns) if name in self._monitors else Verdict.ABSENT) == verdict
        )

    def figures(self, now_ns: int) -> Figures:
        """At `now_ns`. What only repeats counts for neither rate nor age."""
        self._look()
        overflow = self.journal.drops if self.journal is not None else {}
        monitors = self._monitors.values()
        return Figures(
            streams=list(self._monitors),
            rates=[monitor.rate() for monitor in monitors],
            ages=[monitor.age_s(now_ns) for monitor in monitors],
            verdicts=[int(monitor.verdict) for monitor in monitors],
            image_sizes=[_image_size(source) for source in self._sources.values()],
            drops=[monitor.lost + overflow.get(name, 0) for name, monitor in self._monitors.items()],
            machine_is_slow=self._camera_events.machine_is_slow,
        )


def _image_size(source: _Source) -> str:
    """WIDTHxHEIGHT of the newest image; empty if there is none, or none that can be read."""
    if not source.stream.image or source.last is None:
        return ""
    try:
        data = read_image(source.last[1]).data
        size = jpeg_size(bytes(data[:_HEAD_BYTES])) or jpeg_size(bytes(data))
    except MessageError:
        return ""
    return f"{size[0]}x{size[1]}" if size else ""
