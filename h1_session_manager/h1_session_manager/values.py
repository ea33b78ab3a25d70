# SPDX-License-Identifier: Apache-2.0
"""What the engine gets and what it asks for, as plain values: its whole surface.

Stamps are session time in ns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from h1_training_node.message_numbers import ArmMode, Connection, Level, RecorderState, SyncState, Verdict

# --- what it gets ---


@dataclass(frozen=True)
class Arm:
    """The newest `arm_status`. `since_ns`: when the mode was entered; `clearance`: m, of the parts named `closest`."""

    stamp_ns: int
    mode: ArmMode
    since_ns: int
    reason: str = ""
    acknowledge_needed: bool = False
    fault: str = ""
    transition: bool = False
    max_temperature: int = 0
    state_rate: float = 0.0
    weight: float = 0.0
    crc_errors: int = 0
    refused_actions: int = 0
    release_countdown: float = 0.0
    clearance: float = 1.0
    closest: str = ""


@dataclass(frozen=True)
class Guard:
    """The arm guard is there; `active`: it commands the arms in the driver's place."""

    active: bool = False


@dataclass(frozen=True)
class StreamStatus:
    """One stream as the recorder sees it: Hz, s since it last said something new (-1: never), messages lost, and of a
    camera the size of its images, e.g. `640x480`.
    """

    name: str
    rate: float
    age: float
    drops: int = 0
    verdict: Verdict = Verdict.FRESH
    image_size: str = ""


@dataclass(frozen=True)
class Recorder:
    """The newest `recorder/status`."""

    stamp_ns: int
    state: RecorderState
    episode_id: str = ""
    policy_frames: int = 0
    human_frames: int = 0
    streams: tuple[StreamStatus, ...] = ()
    machine_is_slow: bool = False
    bytes_free: int = 0
    seconds_left: float = -1.0
    save_progress: float = 0.0
    last_path: str = ""
    last_error: str = ""


@dataclass(frozen=True)
class Policy:
    """The newest `policy/status`."""

    stamp_ns: int
    connection: Connection
    epoch: int = -1
    chunk_ready: bool = False
    done: bool = False
    latency_ms: float = 0.0
    reason: str = ""
    server: str = ""
    inferences: int = 0
    failures: int = 0
    checkpoint: str = ""
    metadata_digest: str = ""
    metadata_change: str = ""
    warm_up_reason: str = ""
    first_inference_ms: float = math.nan
    first_action_distance_rad: float = math.nan


@dataclass(frozen=True)
class Hand:
    """The newest state of one hand."""

    stamp_ns: int
    reason: str = ""
    error: bool = False
    max_temperature: int = 0


@dataclass(frozen=True)
class Polled:
    """A reply to a poll for new weights; `error` is empty if it was a good one.

    Attributes:
        is_unsupported: the server is there, but reports no training at all.
        phase, progress, reason, checkpoint: as in `TrainingStatus`; empty or NaN where the server does not say.
        curve: of each epoch, oldest first: its number, share of successes 0..1, of how many episodes.
    """

    ready: bool = False
    epoch: int = -1
    error: str = ""
    is_unsupported: bool = False
    phase: str = ""
    progress: float = math.nan
    reason: str = ""
    checkpoint: str = ""
    curve: tuple[tuple[int, float, int], ...] = ()


@dataclass(frozen=True)
class Synced:
    """How an upload ended; `reason` is empty if every file was verified. Nobody waits for one in the `background`."""

    files: int = 0
    reason: str = ""
    background: bool = False


@dataclass(frozen=True)
class Reached:
    """Whether the upload's target can be reached; `reason` is empty if it can."""

    reason: str = ""


@dataclass(frozen=True)
class Unverified:
    """Epochs with episodes on disk that are not known to be at the target: of an earlier session, or recovered."""

    epochs: frozenset[int]


@dataclass(frozen=True)
class ReleaseAnnounced:
    """Arm driver or arm guard is about to release the arms, whoever asked for it."""


CHECKING = "checking"
"""Stands in `SyncProgress.file` where the share of a file stands that is being sent."""


@dataclass(frozen=True)
class SyncProgress:
    """How far an upload is: share of all in 0..1, bytes, bytes/s, s (-1: not known)."""

    state: SyncState
    file: str = ""
    progress: float = 0.0
    bytes_sent: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float = -1.0
    files_owed: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Reply:
    """A service's answer, or that there was none in time."""

    accepted: bool
    reason: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What the session says to a person's request."""

    success: bool
    message: str


# --- what it asks for ---


@dataclass(frozen=True)
class Call:
    """Call `service` with `fields`; the reply comes back by `id`. Not sent any more after `timeout_ns`."""

    id: int
    service: str
    fields: Mapping[str, Any]
    timeout_ns: int


@dataclass(frozen=True)
class Say:
    """Lines for the operator's terminal. With `prompt`, the last one is where the cursor waits."""

    lines: tuple[str, ...]
    prompt: str = ""
    replaces_prompt: bool = False


@dataclass(frozen=True)
class ReportEvent:
    """An event for `session/event`."""

    level: Level
    reason: str
    detail: str


@dataclass(frozen=True)
class Poll:
    """Ask the policy server for its training status."""


@dataclass(frozen=True)
class Sync:
    """Upload and verify all episodes; at low priority if nobody waits for it."""

    background: bool = False


@dataclass(frozen=True)
class Probe:
    """Find out whether the upload's target can be reached."""


@dataclass(frozen=True)
class Remember:
    """Write the session's memory to its file."""

    text: str


@dataclass(frozen=True)
class PublishStop:
    """Publish on the topic `emergency_stop`: who, why."""

    why: str


@dataclass(frozen=True)
class Bell:
    """The session needs the person."""


@dataclass(frozen=True)
class SayAloud:
    """Say `text` aloud. What is `urgent` is heard by the terminal's bell where there is no voice."""

    text: str
    urgent: bool = False


@dataclass(frozen=True)
class Exit:
    """The session is over."""

    status: int


Command = Call | Say | ReportEvent | Poll | Sync | Probe | Remember | PublishStop | Bell | SayAloud | Exit


@dataclass(frozen=True)
class View:
    """What `session/state` carries. `key_...`: of each of `keys`, in the same order."""

    state: str
    since_ns: int
    epoch: int
    episode: int
    episode_id: str
    prompt: str
    doing: str = ""
    outcome: str = ""
    keys: tuple[str, ...] = ()
    key_labels: tuple[str, ...] = ()
    key_services: tuple[str, ...] = ()
    key_moves: tuple[bool, ...] = ()
    key_twice: tuple[bool, ...] = ()
    countdown_s: float = 0.0
    reason: str = ""
