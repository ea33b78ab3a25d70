"""The numbers of our messages that the cores of several packages speak of; a test holds them against the messages."""

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
