"""What the operator is told while it records: rate, age and losses of every stream, phase and frames so far.

A few bytes of each message are looked at, by the layout that the journal's schemas give; the message itself is never
decoded here. The frames are an estimate: the file counts them exactly.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from h1_recorder.episode.tracks import MODE_DAMPING, MODE_HOLD, MODE_POLICY
from h1_recorder.recorder.cdr import CdrError, Layout, stamp_ns
from h1_recorder.recorder.definitions import DefinitionError, Field, parse_schema, short_name
from h1_recorder.recorder.streams import ARM_STATUS, SESSION_STATE

STATE_WINDOW_NS, IMAGE_WINDOW_NS = 1_000_000_000, 500_000_000
"""Over how long a rate is taken; a camera that slows down is to be seen within half a second."""
_MOST_BETWEEN_NS = 100_000_000
_ENCAPSULATION = 4
_HEAD, _SEQ = struct.Struct("<iII"), struct.Struct("<Q")
_ARM = struct.Struct("<QB3xiII")
_ARM_FIELDS = (
    Field("mode", "uint8", None),
    Field("mode_since", "builtin_interfaces/Time", None),
    Field("reason", "string", None),
)
"""Behind `seq` of an arm_status, and how it is packed: they are read fifty times a second."""
_LAST_NEEDED = {ARM_STATUS: "reason", SESSION_STATE: "state"}


@dataclass
class StreamMonitor:
    """Counts the messages of one stream.

    Attributes:
        window_ns: over which the rate is taken.
        last_ns: when the newest that said something new arrived; 0 = never.
        count: those since start.
        lost: gaps in `seq` since start.
        repeats: messages since `last_ns` that only said the same again.
    """

    window_ns: int = STATE_WINDOW_NS
    last_ns: int = 0
    count: int = 0
    lost: int = 0
    repeats: int = 0
    _seq: int | None = None
    _history: deque[tuple[int, int]] = field(default_factory=deque)

    def saw(self, now_ns: int, seq: int | None, *, again: bool = False) -> None:
        """One message; `again` if it is the one before once more."""
        if again:
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

    def rate(self, now_ns: int) -> float:
        """Hz over the last `window_ns`, or a little more; call it regularly."""
        self._history.append((now_ns, self.count))
        while len(self._history) > 2 and now_ns - self._history[1][0] >= self.window_ns:
            self._history.popleft()
        then_ns, then_count = self._history[0]
        return (self.count - then_count) * 1e9 / (now_ns - then_ns) if now_ns > then_ns else 0.0

    def age_s(self, now_ns: int) -> float:
        """Seconds since the newest message that said something new; -1 = never one."""
        return (now_ns - self.last_ns) / 1e9 if self.last_ns else -1.0


class Peek:
    """Reads stamp and `seq` of a stream's messages, and for two streams a little more.

    Args:
        name: of the stream.
        schema: its `ros2msg` definition.
        type_name: its type.
    """

    def __init__(self, name: str, schema: str, type_name: str) -> None:
        fields = parse_schema(schema, type_name)[short_name(type_name)]
        self._has_header = bool(fields) and fields[0] == Field("header", "std_msgs/Header", None)
        self._has_seq = self._has_header and len(fields) > 1 and fields[1] == Field("seq", "uint64", None)
        self._is_arm = name == ARM_STATUS and self._has_seq and fields[2:5] == _ARM_FIELDS
        decoded = name in _LAST_NEEDED and not self._is_arm
        self._layout = Layout(schema, type_name, _LAST_NEEDED[name]) if decoded else None

    def read(self, raw: bytes) -> dict[str, Any]:
        """`stamp` in ns and what else there is; empty if the type has no header or the message is broken."""
        if not self._has_header:
            return {}
        try:
            if self._layout is None:
                return self._stamp_and_seq(raw)
            values = self._layout.decode(raw)
        except (CdrError, struct.error, IndexError):
            return {}
        values["stamp"] = stamp_ns(values)
        return values

    def _stamp_and_seq(self, raw: bytes) -> dict[str, Any]:
        """The same by hand, a third of the time: encapsulation, stamp, frame_id, then `seq` aligned to 8."""
        if raw[1] != 1:
            return {}  # not little-endian CDR; the journal has it all the same
        sec, nanosec, length = _HEAD.unpack_from(raw, _ENCAPSULATION)
        values: dict[str, Any] = {"stamp": sec * 1_000_000_000 + nanosec}
        if self._has_seq:
            end = _HEAD.size + length
            at = _ENCAPSULATION + end + -end % 8
            if self._is_arm:
                seq, mode, _, _, length = _ARM.unpack_from(raw, at)
                reason = raw[at + _ARM.size : at + _ARM.size + length - 1].decode("utf-8", "replace")
                return {**values, "seq": seq, "mode": mode, "reason": reason}
            values["seq"] = _SEQ.unpack_from(raw, at)[0]
        return values


def make_peek(name: str, schema: str, type_name: str) -> Peek | None:
    """A peek, or None for a type that cannot be read; it is journaled all the same."""
    try:
        return Peek(name, schema, type_name)
    except (CdrError, DefinitionError):
        return None


class PhaseEstimate:
    """Follows session/state and arm_status, and estimates how many rows there will be.

    Attributes:
        phase: "policy", "human" or "" for no rows now.
        state: of the session, as last heard.
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
        """session/state said so."""
        self.state = state
        if state not in ("EXECUTING", "DAMPING"):
            self.phase = ""

    def on_arm(self, stamp: int, mode: int, reason: str) -> None:
        """arm_status said so."""
        if self.phase:
            self._ns[self.phase] += min(max(0, stamp - self._arm_ns), _MOST_BETWEEN_NS)
        self._arm_ns = stamp
        follows = mode == MODE_POLICY or (mode == MODE_HOLD and reason == "stale_action" and self._ns["policy"] > 0)
        if self.state == "EXECUTING" and follows:
            self.phase = "policy"
        elif self.state == "DAMPING" and mode == MODE_DAMPING:
            self.phase = "human"
        else:
            self.phase = ""

    def frames(self, phase: str) -> int:
        """Rows of a phase so far, about."""
        return round(self._ns[phase] * self._fps / 1e9)
