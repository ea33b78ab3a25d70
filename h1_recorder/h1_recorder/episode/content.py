"""What goes into an episode file, computed from its journal: arrays by their path, pictures, events, attributes.

`docs/episode_format.md` is the layout; `episode_file` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.images import FrameSource, with_jpegs
from h1_recorder.episode.info import EpisodeEnd, EpisodeInfo, package_versions
from h1_recorder.episode.timeline import Rows, dummy_cameras, make_rows
from h1_recorder.episode.tracks import ARM_JOINTS, Int64, Tracks, decode_tracks
from h1_recorder.recorder.journal_file import JournalFile
from h1_recorder.recorder.streams import HANDS
from h1_training_node.cameras import CAMERAS

JOINT_NAMES = tuple(
    f"{side}_{joint}_joint"
    for side in HANDS
    for joint in ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
)
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
    end = journal.end or EpisodeEnd(CUT_REASON, "unlabeled", _last_ns(journal), dict(journal.drops))
    tracks = with_jpegs(decode_tracks(journal))
    allowed = info.allow_dummy_cameras if allow_dummies is None else allow_dummies
    dummies = dummy_cameras(tracks, silent_at_start=info.dummy_cameras, allowed=allowed)
    rows = make_rows(tracks, fps=info.fps, camera_fps=info.camera_fps, dummies=dummies)
    images = {name: (FrameSource(name, tracks.cameras[name]), rows.cameras[name]) for name in CAMERAS}
    events = _event_lines(tracks, rows, journal, dummies)
    arrays = _arrays(tracks, rows)
    attributes = _attributes(info, end, outcome or end.outcome, tracks, rows, arrays)
    for name, (source, index) in images.items():
        attributes[f"stale_frames_{name}"] = rows.stale_frames[name]
        attributes[f"dummy_frames_{name}"] = int((index < 0).sum())
        attributes[f"repeated_frames_{name}"] = source.repeated(index)
        attributes[f"jpeg_source_{name}"] = source.source
    attributes |= {"event_count": len(events), "gap_count": len(rows.gaps)}
    attributes["lost_messages"] = json.dumps({**tracks.lost, **journal.drops})
    return Content(arrays, images, events, [json.dumps(asdict(gap)) for gap in rows.gaps], attributes)


def _last_ns(journal: JournalFile) -> int:
    return max((stream.log_ns[-1] for stream in journal.streams.values() if stream.log_ns), default=0)


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
    """(T, 12) float32, left 6 then right 6; NaN before a hand's first message, or if it has none."""
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
        "interventions": int((rows.human & ~np.concatenate([[False], rows.human[:-1]])).sum()),
        "duplicate_rows": int((np.diff(arrays["stamps/qpos"]) == 0).sum()),
        "measured_fps": _measured_fps(arrays["stamps/qpos"], rows.segment),
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


def _measured_fps(stamps: Int64, segment: Int64) -> float:
    """How many different arm states a second the rows are made of, over all segments."""
    states, span_ns = 0, 0
    for number in np.unique(segment):
        distinct = np.unique(stamps[segment == number])
        states += len(distinct) - 1
        span_ns += int(distinct[-1] - distinct[0])
    return states * 1e9 / span_ns if span_ns else 0.0


def _event_lines(tracks: Tracks, rows: Rows, journal: JournalFile, dummies: tuple[str, ...]) -> list[str]:
    """Events of the session and of this conversion as JSON, repeats merged with a count, by their first stamp."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in [*tracks.events, *_own_events(tracks, rows, journal, dummies)]:
        key = (event["source"], event["level"], event["reason"], event["detail"])
        first = merged.setdefault(key, {**event, "count": 0})
        first["count"] += 1
        first["last_stamp"] = event["stamp"]
    return [json.dumps(event) for event in sorted(merged.values(), key=lambda event: int(event["stamp"]))]


def _own_events(tracks: Tracks, rows: Rows, journal: JournalFile, dummies: tuple[str, ...]) -> list[dict[str, Any]]:
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
        events.append(event(end, 2, CUT_REASON, f"the journal was cut; {left} bytes of its last record are lost"))
    return events
