"""From a journal's messages to columns: what each stream said, and when, in the order of its own time.

Messages that cannot be decoded, or whose stamp is not of this session's clock, are left out and counted: a row must
not be decided by them, and a single one must not cost the episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.recorder.cdr import CdrError, Layout, stamp_ns
from h1_recorder.recorder.definitions import DefinitionError
from h1_recorder.recorder.journal_file import JournalFile, Recorded
from h1_recorder.recorder.streams import ARM_STATUS, CAMERAS, HANDS, POLICY_ACTION, SESSION_EVENT, SESSION_STATE, Dating

ARM_JOINTS = 14
HAND_JOINTS = 12
MODE_HOLD, MODE_POLICY, MODE_DAMPING = 1, 3, 4
"""Of h1_training_msgs/msg/ArmStatus; written here, so that the dataset tools run where nothing else is installed."""

FOREIGN_CLOCK_NS = 60 * 1_000_000_000
"""A stamp further than this from the message's reception is not of the session clock."""

_OTHER_IMAGES = (b"\x89PNG", b"II*\0", b"MM\0*")
"""First bytes of what compressed_image_transport sends besides JPEG: PNG and TIFF."""

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ArmTrack:
    """arm_status: N messages. Joint columns are (N, 14) float32; rad, rad/s, N·m."""

    stamp: Int64
    mode: npt.NDArray[np.uint8]
    reason: list[str]
    forced: Bools
    q: Float32
    dq: Float32
    tau: Float32
    q_command: Float32
    kp: Float32
    kd: Float32


@dataclass(frozen=True)
class StateTrack:
    """session/state: N messages."""

    stamp: Int64
    state: list[str]


@dataclass(frozen=True)
class ActionTrack:
    """policy/action: N messages; positions (N, 14) or (N, 26) float32, rad, hands 0 closed .. 1 open."""

    stamp: Int64
    positions: Float32


@dataclass(frozen=True)
class HandTrack:
    """The state of one hand: N messages; columns (N, 6) float32, 0 closed .. 1 open."""

    stamp: Int64
    angle: Float32
    command: Float32


@dataclass(frozen=True)
class CameraTrack:
    """Images of one camera: N of them, as received, each with its format string."""

    time: Int64
    data: list[memoryview]
    format: list[str]


@dataclass(frozen=True)
class Tracks:
    """Everything that rows are made of.

    Attributes:
        arm, state, action: as named.
        hands: by `left` and `right`.
        cameras: by the names of `CAMERAS`; a camera that delivered nothing has an empty track.
        events: session/event, decoded, by stamp.
        bad: messages left out, by stream.
        lost: gaps in `seq`, by stream.
        bad_reasons: of each stream's first message that was left out, why.
    """

    arm: ArmTrack
    state: StateTrack
    action: ActionTrack
    hands: Mapping[str, HandTrack]
    cameras: Mapping[str, CameraTrack]
    events: list[dict[str, Any]]
    bad: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    bad_reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Messages:
    """Decoded messages of one stream in the order of their time; those of equal time as received."""

    time: Int64
    values: list[dict[str, Any]]

    def column(self, name: str, dtype: Any, width: int) -> Any:
        """The fixed array `name` of every message: (N, width)."""
        return np.array([value[name] for value in self.values], dtype).reshape(len(self.values), width)

    def scalars(self, name: str, dtype: Any) -> Any:
        return np.array([value[name] for value in self.values], dtype)


class _Decoding:
    """Decodes streams of one journal, and counts what it leaves out."""

    def __init__(self, journal: JournalFile) -> None:
        self._journal = journal
        self._dating = {stream.name: stream.dating for stream in journal.info.streams}
        self.bad: Counter[str] = Counter()
        self.bad_reasons: dict[str, str] = {}
        self.lost: dict[str, int] = {}

    def messages(self, name: str, *, check: Callable[[dict[str, Any]], str] | None = None) -> _Messages:
        """All good messages of a stream; `check` names what is wrong with one, or returns an empty string."""
        recorded = self._journal.streams.get(name)
        if recorded is None or not recorded.data:
            return _Messages(np.empty(0, np.int64), [])
        try:
            layout = Layout(recorded.schema, recorded.type)
        except (CdrError, DefinitionError) as error:
            self._leave_out(name, str(error), len(recorded.data))
            return _Messages(np.empty(0, np.int64), [])
        times, values = self._decode(recorded, layout, check)
        self.lost[name] = _sequence_gaps([value["seq"] for value in values if "seq" in value])
        order = np.argsort(np.array(times, np.int64), kind="stable")
        return _Messages(np.array(times, np.int64)[order], [values[i] for i in order])

    def _decode(
        self, recorded: Recorded, layout: Layout, check: Callable[[dict[str, Any]], str] | None
    ) -> tuple[list[int], list[dict[str, Any]]]:
        by_stamp = self._dating.get(recorded.name, Dating.STAMP) == Dating.STAMP
        times, values = [], []
        for log_ns, raw in zip(recorded.log_ns, recorded.data, strict=True):
            try:
                value = layout.decode(raw)
                time = stamp_ns(value) if by_stamp else log_ns
            except (CdrError, KeyError) as error:
                self._leave_out(recorded.name, str(error))
                continue
            reason = check(value) if check else ""
            if abs(time - log_ns) > FOREIGN_CLOCK_NS or abs(log_ns - self._journal.info.started_ns) > 86_400 * 10**9:
                reason = f"stamped {(time - log_ns) / 1e9:+.0f} s off its reception: not of this session's clock"
            if reason:
                self._leave_out(recorded.name, reason)
                continue
            times.append(time)
            values.append(value)
        return times, values

    def _leave_out(self, name: str, reason: str, count: int = 1) -> None:
        self.bad[name] += count
        self.bad_reasons.setdefault(name, reason)


def _sequence_gaps(seq: list[int]) -> int:
    """Messages missing between the numbers received; a publisher that began anew is no gap."""
    return sum(later - earlier - 1 for earlier, later in pairwise(seq) if later > earlier + 1)


def is_jpeg(data: bytes | memoryview) -> bool:
    """Whether these bytes begin as a JPEG does."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


def decode_tracks(journal: JournalFile) -> Tracks:
    """All columns that rows are made of, from a journal that was read."""
    decoding = _Decoding(journal)
    return Tracks(
        arm=_arm_track(decoding.messages(ARM_STATUS, check=_check_arm)),
        state=_state_track(decoding.messages(SESSION_STATE)),
        action=_action_track(decoding),
        hands={side: _hand_track(decoding.messages(f"hands/{side}/state")) for side in HANDS},
        cameras={camera: _camera_track(decoding.messages(camera, check=_check_image)) for camera in CAMERAS},
        events=_events(decoding.messages(SESSION_EVENT)),
        bad=decoding.bad,
        lost={name: count for name, count in decoding.lost.items() if count},
        bad_reasons=decoding.bad_reasons,
    )


def _check_arm(value: dict[str, Any]) -> str:
    return "" if all(np.isfinite(value["q"])) else "a measured joint position is not finite"


def _check_image(value: dict[str, Any]) -> str:
    head = bytes(value["data"][:4])
    return "" if is_jpeg(head) or head in _OTHER_IMAGES else f"begins with {head.hex(' ') or 'nothing'}: not an image"


def _arm_track(messages: _Messages) -> ArmTrack:
    joints = {
        name: messages.column(source, np.float32, ARM_JOINTS)
        for name, source in {"q": "q", "dq": "dq", "tau": "tau_est", "q_command": "q_command"}.items()
    }
    return ArmTrack(
        stamp=messages.time,
        mode=messages.scalars("mode", np.uint8),
        reason=[value["reason"] for value in messages.values],
        forced=messages.scalars("acknowledge_needed", np.bool_),
        kp=messages.column("kp", np.float32, ARM_JOINTS),
        kd=messages.column("kd", np.float32, ARM_JOINTS),
        **joints,
    )


def _state_track(messages: _Messages) -> StateTrack:
    return StateTrack(messages.time, [value["state"] for value in messages.values])


def _action_track(decoding: _Decoding) -> ActionTrack:
    """Actions of the length that most of this episode's have; others were refused whole by the arm driver."""
    lengths = (ARM_JOINTS, ARM_JOINTS + HAND_JOINTS)

    def check(value: dict[str, Any]) -> str:
        positions = value["positions"]
        if len(positions) not in lengths:
            return f"an action of {len(positions)} values; expected 14 or 26"
        return "" if np.isfinite(positions).all() else "an action that is not finite"

    messages = decoding.messages(POLICY_ACTION, check=check)
    width = max((len(value["positions"]) for value in messages.values), default=ARM_JOINTS)
    positions = np.zeros((len(messages.values), width), np.float32)
    for row, value in zip(positions, messages.values, strict=True):
        row[: len(value["positions"])] = value["positions"]
    return ActionTrack(messages.time, positions)


def _hand_track(messages: _Messages) -> HandTrack:
    return HandTrack(messages.time, messages.column("angle", np.float32, 6), messages.column("command", np.float32, 6))


def _camera_track(messages: _Messages) -> CameraTrack:
    return CameraTrack(
        messages.time, [value["data"] for value in messages.values], [value["format"] for value in messages.values]
    )


def _events(messages: _Messages) -> list[dict[str, Any]]:
    names = ("source", "level", "reason", "detail")
    return [
        {"stamp": int(time), **{name: value[name] for name in names}}
        for time, value in zip(messages.time, messages.values, strict=True)
    ]
