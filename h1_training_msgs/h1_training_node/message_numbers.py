# SPDX-License-Identifier: Apache-2.0
"""The numbers of our messages, for cores that import no message; a test compares them with the messages."""

from __future__ import annotations

from enum import IntEnum


class ArmMode(IntEnum):
    """What the arms do: `ArmStatus.MODE_*`."""

    RELEASED = 0
    HOLD = 1
    HOME = 2
    POLICY = 3
    DAMPING = 4


class Level(IntEnum):
    """How much an event matters to people: `Event.INFO` ..."""

    INFO = 0
    WARN = 1
    ERROR = 2


class RecorderState(IntEnum):
    """What the recorder does: `RecorderStatus.IDLE` ..."""

    IDLE = 0
    RECORDING = 1
    SAVING = 2
    SAVED = 3
    FAILED = 4


class Verdict(IntEnum):
    """The recorder's verdict on a stream, which all others read: `RecorderStatus.FRESH` ..."""

    FRESH = 0
    LATE = 1
    FROZEN = 2
    ABSENT = 3


class Connection(IntEnum):
    """The policy bridge's connection to its server: `PolicyStatus.DISCONNECTED` ..."""

    DISCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2
    REFUSED = 3


class SyncState(IntEnum):
    """The upload: `SyncProgress.IDLE` ..."""

    IDLE = 0
    RUNNING = 1
    VERIFYING = 2
    DONE = 3
    FAILED = 4
