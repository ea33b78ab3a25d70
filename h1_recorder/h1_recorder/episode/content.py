# SPDX-License-Identifier: Apache-2.0
"""What goes into an episode file, computed from its journal: arrays by their path, images, events, attributes.

`docs/episode_format.md` is the layout; `episode_file` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.images import FrameSource, Freshness, with_jpegs
from h1_recorder.episode.info import EpisodeEnd, EpisodeInfo, package_versions
from h1_recorder.episode.timeline import Rows, dummy_cameras, make_rows
from h1_recorder.episode.tracks import ARM_JOINTS, Bools, Int64, Tracks, decode_tracks
from h1_recorder.recorder.journal_file import JournalFile
from h1_recorder.recorder.streams import HANDS
from h1_training_node.arm_joints import ARM_JOINT_NAMES
from h1_training_node.cameras import CAMERAS
from h1_training_node.session_end import noted_reason

JOINT_NAMES = ARM_JOINT_NAMES
CUT_REASON = "journal_cut"
"""end_reason of a journal that was never finished."""

_GIVEN_ATTRIBUTES: dict[str, Any] = {"limits": {}, "payload": {}, "serials": {}, "config_sha256": ""}
"""Attributes that recorder/start is expected to give, and what stands in the file if it does not."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Content:
    """An episode, ready to be written.

    Attributes:
        arrays: by path within the file; T rows each.
        images: for each camera its JPEGs, and (T,) which of them each row shows.
        events, gaps: JSON lines.
        attributes: of the file.
    """

    arrays: Mapping[str, Array]
    images: Mapping[str, tuple[FrameSource, Int64]]
    events: list[str]
    gaps: list[str]
    attributes: Mapping[str, Any]

    @property
    def length(self) -> int:
        """Rows."""
        return len(self.arrays["phase"])


def make_content(journal: JournalFile, *, outcome: str | None = None, allow_dummies: bool | None = None) -> Content:
    """The episode that a journal is.

    Args:
        journal: as read.
        outcome: instead of the one that the journal ends with.
        allow_dummies: instead of what the journal says, for its recovery.

    Raises:
        NoRowsError: it has no moment that is a row.
    """
    info = journal.info
    end = journal.end or _cut_end(journal)
    tracks = with_jpegs(decode_tracks(journal))
    allowed = info.allow_dummy_cameras if allow_dummies is None else allow_dummies
    dummies = dummy_cameras(tracks, silent_at_start=info.dummy_cameras, allowed=allowed)
    rows = make_rows(tracks, fps=info.fps, dummies=dummies)
    images = {name: (FrameSource(name, tracks.cameras[name]), rows.cameras[name]) for name in CAMERAS}
    events = _event_lines(tracks, rows, journal, dummies, end.end_reason)
    arrays = _arrays(tracks, rows)
    attributes = _attributes(info, end, outcome or end.outcome, tracks, rows, arrays)
    for name, (source, index) in images.items():
        freshness = Freshness(rows.tick, arrays[f"stamps/{name}"], source.same_as_before(index), info.camera_fps)
        attributes[f"stale_frames_{name}"] = int(freshness.stale.sum())
        attributes[f"dummy_frames_{name}"] = int((index < 0).sum())
        attributes[f"repeated_frames_{name}"] = int(freshness.repeated.sum())
        attributes[f"jpeg_source_{name}"] = source.source
    attributes |= {"event_count": len(events), "gap_count": len(rows.gaps)}
    attributes["lost_messages"] = json.dumps({**tracks.lost, **journal.drops})
    return Content(arrays, images, events, [json.dumps(asdict(gap)) for gap in rows.gaps], attributes)


def _cut_end(journal: JournalFile) -> EpisodeEnd:
    """The end of a journal that has none: whoever saw its session end may have noted why."""
    last_ns = max((stream.log_ns[-1] for stream in journal.streams.values() if stream.log_ns), default=0)
    reason = noted_reason(journal.path.parent, last_ns) or CUT_REASON
    return EpisodeEnd(reason, "unlabeled", last_ns, dict(journal.drops))


def _arrays(tracks: Tracks, rows: Rows) -> dict[str, Array]:
    human = rows.human
    measured = tracks.arm.q[rows.arm]
    applied = np.where(human[:, None], measured, tracks.arm.q_command[rows.arm])
    arrays: dict[str, Array] = {
        "observations/qpos": measured,
        "observations/qvel": tracks.arm.dq[rows.arm],
        "observations/effort": tracks.arm.tau[rows.arm],
        "action": _action(tracks, rows, applied, slice(0, ARM_JOINTS)),
        "applied_action": applied,
        "phase": np.where(human, b"human", b"policy").astype("S10"),
        "segment": rows.segment.astype(np.int32),
        "stamps/tick": rows.tick,
        "stamps/qpos": tracks.arm.stamp[rows.arm],
        "stamps/action": _stamps(tracks.action.stamp, rows.action),
    }
    for name, index in rows.cameras.items():
        arrays[f"stamps/{name}"] = _stamps(tracks.cameras[name].time, index)
    if any(len(hand.stamp) for hand in tracks.hands.values()):
        arrays["observations/hand_qpos"] = _hands(tracks, rows, "angle")
    if tracks.action.positions.shape[1] > ARM_JOINTS:
        commanded = _hands(tracks, rows, "command")
        arrays["hand_action"] = _action(tracks, rows, commanded, slice(ARM_JOINTS, None))
        arrays["hand_command"] = commanded
    return arrays


def _action(tracks: Tracks, rows: Rows, before_first: Array, part: slice) -> Array:
    """(T, n) what the policy put out; zeros in human rows, `before_first` until a run's first action."""
    action = np.zeros_like(before_first)
    waiting = ~rows.human & (rows.action < 0)
    action[waiting] = before_first[waiting]
    known = rows.action >= 0
    action[known] = tracks.action.positions[rows.action[known], part]
    return action


def _stamps(stamps: Int64, index: Int64) -> Int64:
    """(T,) the stamps that `index` points at; -1 for none."""
    return np.where(index >= 0, stamps[index], -1) if len(stamps) else np.full(len(index), -1, np.int64)


def _hands(tracks: Tracks, rows: Rows, column: str) -> Array:
    """(T, 12) float32, left 6 then right 6; NaN where a hand has said nothing, or nothing any more."""
    halves = []
    for side in HANDS:
        values, index = getattr(tracks.hands[side], column), rows.hands[side]
        half = np.full((len(index), 6), np.nan, np.float32)
        half[index >= 0] = values[index[index >= 0]]
        halves.append(half)
    return np.concatenate(halves, axis=1)


def _attributes(
    info: EpisodeInfo, end: EpisodeEnd, outcome: str, tracks: Tracks, rows: Rows, arrays: Mapping[str, Array]
) -> dict[str, Any]:
    human = int(rows.human.sum())
    first_policy = rows.arm[int(np.argmax(~rows.human))]
    gains = {"kp": tracks.arm.kp[first_policy].tolist(), "kd": tracks.arm.kd[first_policy].tolist()}
    given = {**_GIVEN_ATTRIBUTES, "gains": gains, **info.attributes}
    given["versions"] = {**_as_dict(given.get("versions")), **info.versions, "written_by": package_versions()}
    own = {
        "episode_length": len(rows.tick),
        "fps": info.fps,
        "timestamp": datetime.fromtimestamp(info.started_ns / 1e9, UTC).isoformat(),
        "policy_frames": len(rows.tick) - human,
        "human_frames": human,
        "outcome": outcome,
        "advantage": outcome == "success",
        "end_reason": end.end_reason,
        "epoch": info.epoch,
        "episode": info.episode,
        "task": info.task,
        "prompt": info.prompt,
        "camera_fps": info.camera_fps,
        "interventions": interventions(rows.human),
        "duplicate_rows": int(duplicates(arrays).sum()),
        "measured_fps": measured_fps(arrays["stamps/qpos"], rows.segment),
        "joint_names": json.dumps(JOINT_NAMES),
        "episode_uuid": info.uuid,
        "format_version": info.format_version,
    }
    return {_attribute(name): _attribute(value) for name, value in {**given, **own}.items() if name}


def _attribute(value: Any) -> Any:
    """A value that HDF5 can hold as an attribute: itself if it is simple, else JSON."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()  # C strings end at a zero
    if isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else json.dumps(value)


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {} if value is None else {"session": value}


def stretches(*columns: Array) -> list[tuple[int, int]]:
    """First row and row after the last of each unbroken stretch in which none of the (T,) `columns` changes."""
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(columns[0])]
    return [(first, last) for first, last in pairwise(edges) if first < last]


def interventions(human: Bools) -> int:
    """How often a person took over, in (T,) whether a row is of phase `human`."""
    return int((human & ~np.concatenate([[False], human[:-1]])).sum())


def duplicates(arrays: Mapping[str, Array]) -> Bools:
    """(T,) rows that say of the robot what the row before them said: the same message, or the same values bit by bit.

    Args:
        arrays: by path within the file.
    """
    same = np.diff(arrays["stamps/qpos"]) == 0
    measured = [arrays[f"observations/{name}"].view(np.uint32) for name in ("qpos", "qvel", "effort")]
    identical = np.logical_and.reduce([(values[1:] == values[:-1]).all(axis=1) for values in measured])
    return np.array([False, *(same | identical)], np.bool_)[: len(arrays["stamps/qpos"])]


def measured_fps(stamps: Int64, segment: Array) -> float:
    """How many different arm states a second the rows are made of, over all segments.

    Args:
        stamps: (T,) ns, of each row's arm state.
        segment: (T,).
    """
    states, span_ns = 0, 0
    for number in np.unique(segment):
        distinct = np.unique(stamps[segment == number])
        states += len(distinct) - 1
        span_ns += int(distinct[-1] - distinct[0])
    return states * 1e9 / span_ns if span_ns else 0.0


def _event_lines(tracks: Tracks, rows: Rows, journal: JournalFile, dummies: tuple[str, ...], reason: str) -> list[str]:
    """Events of the session and of this conversion as JSON, repeats merged with a count, by their first stamp."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in [*tracks.events, *_own_events(tracks, rows, journal, dummies, reason)]:
        key = (event["source"], event["level"], event["reason"], event["detail"])
        first = merged.setdefault(key, {**event, "count": 0})
        first["count"] += 1
        first["last_stamp"] = event["stamp"]
    return [json.dumps(event) for event in sorted(merged.values(), key=lambda event: int(event["stamp"]))]


def _own_events(
    tracks: Tracks, rows: Rows, journal: JournalFile, dummies: tuple[str, ...], reason: str
) -> list[dict[str, Any]]:
    def event(stamp: int, level: int, reason: str, detail: str) -> dict[str, Any]:
        return {"stamp": stamp, "source": "recorder", "level": level, "reason": reason, "detail": detail}

    start, end = int(rows.tick[0]), int(rows.tick[-1])
    events = [event(start, 1, "dummy_camera", f"{name}: grey images until it delivers") for name in dummies]
    holds = np.flatnonzero(rows.holding & ~np.concatenate([[False], rows.holding[:-1]]))
    for first in holds:
        length = int(np.argmin(np.append(rows.holding[first:], False)))
        detail = f"{length} rows in HOLD with the last action"
        events.append(event(int(rows.tick[first]), 1, "stale_action_rows", detail))
    events += [
        event(end, 1, "messages_unusable", f"{name}: {count} left out; the first: {tracks.bad_reasons[name]}")
        for name, count in tracks.bad.items()
    ]
    events += [event(end, 1, "messages_lost", f"{name}: {count} by gaps in seq") for name, count in tracks.lost.items()]
    events += [
        event(end, 2, "queue_overflow", f"{name}: {count} dropped by the recorder, the disk was too slow")
        for name, count in journal.drops.items()
    ]
    if journal.end is None:
        left = journal.size - journal.whole_bytes
        why = "" if reason == CUT_REASON else f" ({reason})"
        detail = f"the journal was cut{why}; {left} bytes of its last record are lost"
        events.append(event(end, 2, CUT_REASON, detail))
    return events
