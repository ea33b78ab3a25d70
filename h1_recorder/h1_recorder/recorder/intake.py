"""Where messages come in: counted, looked at for a few bytes, and handed to the journal if one is open."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from h1_recorder.recorder.journal import Channel, Journal
from h1_recorder.recorder.monitor import IMAGE_WINDOW_NS, STATE_WINDOW_NS, Peek, PhaseEstimate, StreamMonitor, make_peek
from h1_recorder.recorder.streams import ARM_STATUS, CAMERAS, SESSION_STATE, Stream

FRESH_NS = 1_000_000_000
"""A stream without a message for this long is silent."""

FROZEN_NS = 300_000_000
"""A camera whose pictures have been one and the same for this long is frozen; no sensor repeats itself bit by bit."""

_TAIL = 64
_STRINGS = 12
"""Behind encapsulation and stamp: two strings, then the picture."""
_LENGTH = struct.Struct("<I")


@dataclass
class _Source:
    stream: Stream
    channel: Channel
    peek: Peek | None
    monitor: StreamMonitor
    last: tuple[int, int, int, bytes] | None = None  # log_ns, publish_ns, sequence, raw


class Intake:
    """The streams that are subscribed, and the open journal.

    Args:
        fps: rows per second, for the estimate of frames.
        now_ns: the session clock.
    """

    def __init__(self, fps: int, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._sources: dict[str, _Source] = {}
        self.journal: Journal | None = None
        self.estimate = PhaseEstimate(fps)

    def add_stream(self, stream: Stream, channel: Channel) -> None:
        """A stream is subscribed from now on; its definition goes into every journal, an open one included."""
        monitor = StreamMonitor(IMAGE_WINDOW_NS if stream.image else STATE_WINDOW_NS)
        peek = make_peek(stream.name, channel.schema, channel.type)
        self._sources[stream.name] = _Source(stream, channel, peek, monitor)
        if self.journal is not None:
            self.journal.add_channel(channel)

    def set_offered_qos(self, name: str, offered_qos: str) -> None:
        """What the publishers of a stream offer, for journals opened from now on."""
        source = self._sources[name]
        source.channel = replace(source.channel, offered_qos=offered_qos)

    def received(self, name: str, raw: bytes) -> None:
        """One message as it came off the wire."""
        now_ns = self._now_ns()
        source = self._sources[name]
        values = source.peek.read(raw) if source.peek else {}
        stamp, seq = values.get("stamp", now_ns), values.get("seq")
        again = source.stream.image and source.last is not None and is_same_picture(raw, source.last[3])
        source.monitor.saw(now_ns, seq, again=again)
        source.last = (now_ns, stamp, seq or 0, raw)
        if name == ARM_STATUS and "mode" in values:
            self.estimate.on_arm(stamp, values["mode"], values["reason"])
        elif name == SESSION_STATE and "state" in values:
            self.estimate.on_state(values["state"])
        if self.journal is not None:
            self.journal.append(name, raw, now_ns, publish_ns=stamp, sequence=seq or 0)

    def channels(self) -> tuple[Channel, ...]:
        """Of all streams."""
        return tuple(source.channel for source in self._sources.values())

    def streams(self) -> tuple[Stream, ...]:
        """All that are subscribed."""
        return tuple(source.stream for source in self._sources.values())

    def open(self, journal: Journal) -> None:
        """Record into `journal` from now on, beginning with each fresh stream's newest message.

        With those the journal knows the world from its first moment on, and the first row waits for nothing.
        """
        now_ns = self._now_ns()
        newest = [(source.last, name) for name, source in self._sources.items() if source.last is not None]
        for (log_ns, publish_ns, sequence, raw), name in sorted(newest, key=lambda entry: entry[0][0]):
            if now_ns - log_ns < FRESH_NS:
                journal.append(name, raw, log_ns, publish_ns=publish_ns, sequence=sequence)
        self.journal = journal
        self.estimate.restart()

    def close(self) -> Journal | None:
        """Record no more; returns the journal that was open."""
        journal, self.journal = self.journal, None
        return journal

    def silent(self, names: tuple[str, ...] = (ARM_STATUS, *CAMERAS), *, within_ns: int = FRESH_NS) -> tuple[str, ...]:
        """Those of `names` that delivered nothing new within the last second, or `within_ns`."""
        now_ns = self._now_ns()
        return tuple(
            name
            for name in names
            if name not in self._sources or now_ns - self._sources[name].monitor.last_ns > within_ns
        )

    def frozen(self) -> tuple[str, ...]:
        """Cameras that go on delivering one and the same picture."""
        now_ns = self._now_ns()
        monitors = {name: source.monitor for name, source in self._sources.items() if source.monitor.repeats > 1}
        return tuple(name for name, monitor in monitors.items() if now_ns - monitor.last_ns > FROZEN_NS)

    def figures(self, now_ns: int) -> tuple[list[str], list[float], list[float], list[int]]:
        """At `now_ns`: names, rates in Hz, ages in s, and messages lost (gaps in seq, overflow), stream by stream.

        A picture that is the one before again counts for neither rate nor age.
        """
        overflow = self.journal.drops if self.journal is not None else {}
        names = list(self._sources)
        monitors = [source.monitor for source in self._sources.values()]
        return (
            names,
            [monitor.rate(now_ns) for monitor in monitors],
            [monitor.age_s(now_ns) for monitor in monitors],
            [monitor.lost + overflow.get(name, 0) for name, monitor in zip(names, monitors, strict=True)],
        )


def is_same_picture(raw: bytes, before: bytes) -> bool:
    """Whether two serialized images hold the same picture; costs a microsecond unless they do.

    Only the pictures are compared: the bytes between the strings before them are whatever was in the sender's memory.
    """
    if len(raw) != len(before) or raw[-_TAIL:] != before[-_TAIL:]:
        return False
    start = _picture_start(raw)
    return start > 0 and start == _picture_start(before) and raw[start:] == before[start:]


def _picture_start(raw: bytes) -> int:
    """Where the picture begins in a serialized CompressedImage (little-endian CDR); 0 if it is none."""
    at = _STRINGS
    try:
        for _ in ("frame_id", "format"):
            at += 4 + _LENGTH.unpack_from(raw, at)[0]
            at += -at % 4
        return at + 4 if raw[1] == 1 and at + 4 <= len(raw) else 0
    except (struct.error, IndexError):
        return 0
