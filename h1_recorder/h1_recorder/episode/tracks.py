# SPDX-License-Identifier: Apache-2.0
"""From a journal's messages to columns: what each stream said, and when, in the order of its own time.

Messages that cannot be decoded, or whose stamp is not of this session's clock, are left out and counted: a row must
not be decided by them, and a single one must not cost the episode.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.recorder.definitions import DefinitionError, MessageError, decoder, schema_text, stamp_ns
from h1_recorder.recorder.journal_file import JournalFile, Recorded
from h1_recorder.recorder.peek import RawImage, read_image
from h1_recorder.recorder.streams import (
    ARM_STATUS,
    HANDS,
    POLICY_ACTION,
    SESSION_EVENT,
    SESSION_STATE,
    STATE_STREAMS,
)
from h1_training_node.arm_joints import beyond_range
from h1_training_node.cameras import CAMERAS, Dating
from h1_training_node.clock import NS_PER_S

ARM_JOINTS = 14
HAND_JOINTS = 12
FOREIGN_CLOCK_NS = 60 * NS_PER_S
"""A stamp further than this from the message's reception is not of the session clock."""

LONGEST_NS = 24 * 3600 * NS_PER_S
"""No message is further than this from the start of its episode, and no episode longer."""

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


Check = Callable[[Any], str]
"""Names what is wrong with a decoded message, or returns an empty string."""


@dataclass
class _Messages:
    """Decoded messages of one stream in the order of their time; those of equal time as received."""

    time: Int64
    values: list[Any]

    def column(self, name: str, dtype: Any, width: int) -> Any:
        """The fixed array `name` of every message: (N, width)."""
        return np.array([getattr(value, name) for value in self.values], dtype).reshape(len(self.values), width)

    def scalars(self, name: str, dtype: Any) -> Any:
        return np.array([getattr(value, name) for value in self.values], dtype)


class _Decoding:
    """Decodes streams of one journal, and counts what it leaves out."""

    def __init__(self, journal: JournalFile) -> None:
        self._journal = journal
        self._dating = {stream.name: stream.dating for stream in journal.info.streams}
        self.bad: Counter[str] = Counter()
        self.bad_reasons: dict[str, str] = {}
        self.lost: dict[str, int] = {}

    def messages(self, name: str, *, check: Check | None = None) -> _Messages:
        """All good messages of a stream."""
        recorded = self._journal.streams.get(name)
        if recorded is None or not recorded.data:
            return _Messages(np.empty(0, np.int64), [])
        try:
            found = decoder(recorded.schema, recorded.type)
        except DefinitionError as error:
            self.leave_out(name, str(error), len(recorded.data))
            return _Messages(np.empty(0, np.int64), [])
        return self._decode(recorded, found.decode, stamp_ns, check)

    def images(self, name: str) -> _Messages:
        """All good images of a camera, as `RawImage`; each is a view into the journal."""
        recorded = self._journal.streams.get(name)
        if recorded is None or not recorded.data:
            return _Messages(np.empty(0, np.int64), [])
        return self._decode(recorded, read_image, lambda image: image.stamp_ns, _check_image)

    def _decode(
        self,
        recorded: Recorded,
        decode: Callable[[memoryview], Any],
        stamp: Callable[[Any], int],
        check: Check | None,
    ) -> _Messages:
        by_stamp = self._dating.get(recorded.name, Dating.STAMP) == Dating.STAMP
        times, values, numbers, undecodable = [], [], [], 0
        for log_ns, raw in zip(recorded.log_ns, recorded.data, strict=True):
            try:
                value = decode(raw)
                time = stamp(value) if by_stamp else log_ns
                reason = check(value) if check else ""
            except (MessageError, AttributeError) as error:
                self.leave_out(recorded.name, str(error))
                undecodable += 1
                continue
            if hasattr(value, "seq"):
                numbers.append(value.seq)
            if abs(time - log_ns) > FOREIGN_CLOCK_NS:
                reason = f"stamped {(time - log_ns) / 1e9:+.0f} s off its reception: not of this session's clock"
            elif abs(log_ns - self._journal.info.started_ns) > LONGEST_NS:
                reason = f"received {(log_ns - self._journal.info.started_ns) / 3.6e12:+.0f} h off its episode's start"
            if reason:
                self.leave_out(recorded.name, reason)
                continue
            times.append(time)
            values.append(value)
        self.lost[recorded.name] = max(0, _sequence_gaps(numbers) - undecodable)
        order = np.argsort(np.array(times, np.int64), kind="stable")
        return _Messages(np.array(times, np.int64)[order], [values[i] for i in order])

    def leave_out(self, name: str, reason: str, count: int = 1) -> None:
        """Count messages of a stream that are not used."""
        self.bad[name] += count
        self.bad_reasons.setdefault(name, reason)


def _sequence_gaps(seq: list[int]) -> int:
    """Messages missing between the numbers received; a publisher that started again is no gap."""
    return sum(later - earlier - 1 for earlier, later in pairwise(seq) if later > earlier + 1)


def is_jpeg(data: bytes | memoryview) -> bool:
    """Whether these bytes begin as a JPEG does."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


def prepare() -> None:
    """Make the decoders that a journal of this installation needs, which takes a third of a minute's decoding."""
    for stream in STATE_STREAMS:
        with contextlib.suppress(DefinitionError):  # then its journals have none of it either
            decoder(schema_text(stream.type), stream.type)


def decode_tracks(journal: JournalFile) -> Tracks:
    """All columns that rows are made of, from a journal that was read."""
    decoding = _Decoding(journal)
    return Tracks(
        arm=_arm_track(decoding.messages(ARM_STATUS, check=_check_arm)),
        state=_state_track(decoding.messages(SESSION_STATE)),
        action=_action_track(decoding),
        hands={side: _hand_track(decoding.messages(f"hands/{side}/state")) for side in HANDS},
        cameras={camera: _camera_track(decoding.images(camera)) for camera in CAMERAS},
        events=_events(decoding.messages(SESSION_EVENT)),
        bad=decoding.bad,
        lost={name: count for name, count in decoding.lost.items() if count},
        bad_reasons=decoding.bad_reasons,
    )


def _check_arm(value: Any) -> str:
    for name in ("q", "dq", "tau_est", "q_command"):
        joints = getattr(value, name)
        if not math.isfinite(joints.dot(joints)) and not np.isfinite(joints).all():  # the first is a third of the time
            return f"'{name}' of a joint is not finite"
    return ""


def _check_image(image: RawImage) -> str:
    head = bytes(image.data[:4])
    return "" if is_jpeg(head) or head in _OTHER_IMAGES else f"begins with {head.hex(' ') or 'nothing'}: not an image"


def _arm_track(messages: _Messages) -> ArmTrack:
    joints = {
        name: messages.column(source, np.float32, ARM_JOINTS)
        for name, source in {"q": "q", "dq": "dq", "tau": "tau_est", "q_command": "q_command"}.items()
    }
    return ArmTrack(
        stamp=messages.time,
        mode=messages.scalars("mode", np.uint8),
        reason=[value.reason for value in messages.values],
        forced=messages.scalars("acknowledge_needed", np.bool_),
        kp=messages.column("kp", np.float32, ARM_JOINTS),
        kd=messages.column("kd", np.float32, ARM_JOINTS),
        **joints,
    )


def _state_track(messages: _Messages) -> StateTrack:
    return StateTrack(messages.time, [value.state for value in messages.values])


def _action_track(decoding: _Decoding) -> ActionTrack:
    """Actions of the length that most of this episode's have; others were refused whole by the arm driver."""
    lengths = (ARM_JOINTS, ARM_JOINTS + HAND_JOINTS)

    def check(value: Any) -> str:
        positions = value.positions
        if len(positions) not in lengths:
            return f"an action of {len(positions)} values; expected 14 or 26"
        if not np.isfinite(positions).all():
            return "an action that is not finite"
        beyond = beyond_range(positions[:ARM_JOINTS])
        return f"an action beyond the joints' range: {beyond}" if beyond else ""

    messages = decoding.messages(POLICY_ACTION, check=check)
    width = max(lengths, key=[len(value.positions) for value in messages.values].count)
    is_kept = np.array([len(value.positions) == width for value in messages.values], np.bool_)
    kept = [value.positions for value, its in zip(messages.values, is_kept, strict=True) if its]
    if others := len(is_kept) - len(kept):
        other = next(length for length in lengths if length != width)
        decoding.leave_out(POLICY_ACTION, f"an action of {other} values; most have {width}", others)
    return ActionTrack(messages.time[is_kept], np.array(kept, np.float32).reshape(len(kept), width))


def _hand_track(messages: _Messages) -> HandTrack:
    return HandTrack(messages.time, messages.column("angle", np.float32, 6), messages.column("command", np.float32, 6))


def _camera_track(messages: _Messages) -> CameraTrack:
    images = messages.values
    return CameraTrack(messages.time, [image.data for image in images], [image.format for image in images])


def _events(messages: _Messages) -> list[dict[str, Any]]:
    names = ("source", "level", "reason", "detail")
    return [
        {"stamp": int(time), **{name: getattr(value, name) for name in names}}
        for time, value in zip(messages.time, messages.values, strict=True)
    ]
