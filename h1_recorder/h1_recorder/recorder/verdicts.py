# SPDX-License-Identifier: Apache-2.0
"""The one verdict on each stream, by what its messages hold: FRESH, LATE, FROZEN or ABSENT; all other nodes read it.

| verdict | when |
|---|---|
| ABSENT | no message for `ABSENT_NS`, or never one |
| FROZEN | messages come, but for `LATE_NS` they only repeat: an image its bytes, the arms their measured values |
| LATE | nothing new for `LATE_NS`, or five periods if longer; a camera also below `MIN_RATE_SHARE` of its rate |
| FRESH | none of these for `RECOVERED_NS`: a stream that comes and goes is not fresh in between |

A stream that only has something to say now and then (a key, an event, an action) is FRESH once it has said anything.
When all cameras are LATE and yet deliver, it is the computer that is slow, and that is what is reported.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from h1_recorder.recorder.streams import Stream
from h1_training_node.cameras import ABSENT_NS, LATE_NS
from h1_training_node.message_numbers import Level, Verdict

MIN_RATE_SHARE = 2 / 3
"""Of the rate that a camera should have."""
RECOVERED_NS = 1_000_000_000
_PERIODS = 5
_STATE_WINDOW_NS, _IMAGE_WINDOW_NS = 1_000_000_000, 500_000_000
"""Over how long a rate is taken; a camera that slows down is to be seen within half a second."""
_REPORTED_AFTER_NS = 250_000_000
"""A camera is reported as late when it has been so for this long: a pause of a third of a second is no fault of it."""
_MACHINE_AFTER_NS = 1_500_000_000
"""All late for so long, and none of them absent: by then a hub or a cable that failed has made them so."""

Event = tuple[Level, str, str]


@dataclass
class StreamMonitor:
    """Counts the messages of one stream, and judges it. `sample` is to be called about ten times a second.

    Attributes:
        stream: which.
        hz: about how many messages a second it should have; 0 = it comes when there is something to say.
        last_ns: when the newest message that said something new arrived; 0 = never.
        last_any_ns: when the newest message arrived; 0 = never.
        count: messages that said something new, since start.
        lost: gaps in `seq` since start.
        repeats: messages since `last_ns` that only said the same again.
        verdict: at the last `sample`.
    """

    stream: Stream
    hz: float = 0.0
    last_ns: int = 0
    last_any_ns: int = 0
    count: int = 0
    lost: int = 0
    repeats: int = 0
    verdict: Verdict = Verdict.ABSENT
    _seq: int | None = None
    _bad_ns: int | None = None
    _history: deque[tuple[int, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._window_ns = _IMAGE_WINDOW_NS if self.stream.image else _STATE_WINDOW_NS
        self._late_ns = max(LATE_NS, _PERIODS * 1e9 / self.hz) if self.hz else LATE_NS
        self._absent_ns = max(ABSENT_NS, self._late_ns)

    def received(self, now_ns: int, seq: int | None, *, repeated: bool = False) -> None:
        """One message; `repeated` if it says only what the one before it said."""
        self.last_any_ns = now_ns
        if repeated:
            self.repeats += 1
        else:
            self.last_ns = now_ns
            self.count += 1
            self.repeats = 0
        if seq is None:
            return
        if self._seq is not None and seq > self._seq + 1:
            self.lost += seq - self._seq - 1
        self._seq = seq

    def sample(self, now_ns: int) -> None:
        """Take note of the rate, and judge."""
        history = self._history
        history.append((now_ns, self.count))
        while len(history) > 2 and now_ns - history[1][0] >= self._window_ns:
            history.popleft()
        found = self.present(now_ns)
        if found != Verdict.FRESH:
            if self.last_any_ns:
                self._bad_ns = now_ns
            self.verdict = found
        elif self._bad_ns is None or now_ns - self._bad_ns >= RECOVERED_NS:
            self.verdict = found

    def rate(self) -> float:
        """Hz of new messages over the last window, a second or for cameras half of one, or a little more."""
        if len(self._history) < 2:
            return 0.0
        (then_ns, then), (now_ns, now) = self._history[0], self._history[-1]
        return (now - then) * 1e9 / (now_ns - then_ns) if now_ns > then_ns else 0.0

    def age_s(self, now_ns: int) -> float:
        """Seconds since the newest message that said something new; -1 = never one."""
        return (now_ns - self.last_ns) / 1e9 if self.last_ns else -1.0

    def present(self, now_ns: int) -> Verdict:
        """The verdict at this moment, without memory."""
        if not self.last_any_ns:
            return Verdict.ABSENT
        if not self.hz:
            return Verdict.FRESH
        if now_ns - self.last_any_ns > self._absent_ns:
            return Verdict.ABSENT
        if now_ns - self.last_ns > self._late_ns:
            return Verdict.FROZEN if self.repeats > 1 else Verdict.LATE
        return Verdict.LATE if self.stream.image and self._is_slow() else Verdict.FRESH

    def _is_slow(self) -> bool:
        """A whole window was counted, and too few came in it."""
        if len(self._history) < 2 or not self._history[0][1]:
            return False
        span_ns = self._history[-1][0] - self._history[0][0]
        return span_ns >= self._window_ns and self.rate() < MIN_RATE_SHARE * self.hz


@dataclass
class _Seen:
    """A camera as it was sampled last: what is wrong with it, since when, and whether that was dealt with."""

    fault: str = ""
    since_ns: int = 0
    is_noted: bool = False
    is_reported: bool = False


class CameraEvents:
    """What is worth an event about the cameras, once each, while it happens.

    Args:
        monitors: of the streams, by name; those of cameras may come later.

    Attributes:
        machine_is_slow: all cameras are late at once, and yet deliver.
    """

    def __init__(self, monitors: Mapping[str, StreamMonitor]) -> None:
        self._monitors = monitors
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._all_late_ns: int | None = None
        self.machine_is_slow = False

    def sample(self, now_ns: int, *, recording: bool) -> list[Event]:
        """What is new: level, reason and one line each. That a camera is late is reported while recording only.

        One that was late when recording began is not reported: it was refused, or is known as a dummy.
        """
        events = self._machine(now_ns)
        for name, monitor in self._monitors.items():
            if monitor.stream.image:
                events += self._camera(name, monitor, now_ns, recording)
        return events

    def _machine(self, now_ns: int) -> list[Event]:
        cameras = [monitor for monitor in self._monitors.values() if monitor.stream.image and monitor.last_any_ns]
        if len(cameras) < 2 or any(camera.verdict != Verdict.LATE for camera in cameras):
            was_slow, self.machine_is_slow, self._all_late_ns = self.machine_is_slow, False, None
            return [(Level.INFO, "machine_recovered", "not all cameras are late any more")] if was_slow else []
        if any(camera.present(now_ns) != Verdict.LATE for camera in cameras):
            self._all_late_ns = None
        elif self._all_late_ns is None:
            self._all_late_ns = now_ns
        if self.machine_is_slow or not self._all_late_ns or now_ns - self._all_late_ns < _MACHINE_AFTER_NS:
            return []
        self.machine_is_slow = True
        what = "all cameras are late at once: this computer is too busy or too slow"
        return [(Level.WARN, "machine_slow", f"{what}; close other programs, or lower the cameras' rate")]

    def _camera(self, name: str, monitor: StreamMonitor, now_ns: int, recording: bool) -> list[Event]:
        seen, verdict = self._seen[name], monitor.verdict
        fault = "" if verdict == Verdict.FRESH else "frozen" if verdict == Verdict.FROZEN else "late"
        if fault != seen.fault:
            seen.fault, seen.since_ns, seen.is_noted = fault, now_ns, False
        if not fault:
            was_reported, seen.is_reported = seen.is_reported, False
            return [(Level.INFO, "camera_back", f"{name} delivers new images again")] if was_reported else []
        wait_ns = _REPORTED_AFTER_NS if self._all_late_ns is None else _MACHINE_AFTER_NS
        if seen.is_noted or (recording and verdict == Verdict.LATE and now_ns - seen.since_ns < wait_ns):
            return []
        seen.is_noted = True
        if fault == "late" and (self.machine_is_slow or not recording):
            return []
        seen.is_reported = True
        return [_about(name, fault, monitor, now_ns)]


def _about(name: str, fault: str, monitor: StreamMonitor, now_ns: int) -> Event:
    age_s = monitor.age_s(now_ns)
    if fault == "frozen":
        what = f"{name} repeats the same image since {age_s:.1f} s; check the camera, or restart its node"
        return Level.WARN, "camera_frozen", what
    if age_s * 1e9 > LATE_NS or not monitor.last_any_ns:
        return Level.WARN, "camera_silent", f"{name} delivers no images any more; check its cable and its node"
    return Level.WARN, "camera_slow", f"{name} delivers only {monitor.rate():.1f} images/s; check its link and its node"
