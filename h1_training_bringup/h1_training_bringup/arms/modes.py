"""The words that the arm driver's parts exchange: modes, answers to requests, notices for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Mode(IntEnum):
    """What the arms do; the numbers are ArmStatus.MODE_*."""

    RELEASED = 0
    HOLD = 1
    HOME = 2
    POLICY = 3
    DAMPING = 4


STIFF = (Mode.HOLD, Mode.HOME, Mode.POLICY)
"""Modes in which the arms are held to a commanded position."""


class Level(IntEnum):
    """How much a notice matters; the numbers are Event.*."""

    INFO = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Notice:
    """Something that a person should read: `reason` in snake_case, `detail` one line."""

    level: Level
    reason: str
    detail: str


@dataclass(frozen=True)
class Answer:
    """Whether a request is accepted; if not, `reason` is `name: what is so, and what to do`."""

    accepted: bool
    reason: str = ""


ACCEPTED = Answer(True)


def refused(reason: str) -> Answer:
    """The answer to a request that is not possible now."""
    return Answer(False, reason)
