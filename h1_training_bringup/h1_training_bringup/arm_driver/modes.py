# SPDX-License-Identifier: Apache-2.0
"""The words that the arm driver's parts exchange: modes, answers to requests, notices for people."""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.message_numbers import ArmMode, Level

STIFF = (ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY)
"""Modes in which the arms are held to a commanded position."""


@dataclass(frozen=True)
class Notice:
    """Something that a person should read: `reason` in snake_case, `detail` one line."""

    level: Level
    reason: str
    detail: str


def release_warning(seconds: float) -> Notice:
    """The warning `seconds` before arm control is released."""
    text = f"in {seconds:.0f} s the arms return to the robot's own controller, which moves them: stand clear"
    return Notice(Level.WARN, "release_warning", text)


@dataclass(frozen=True)
class RequestResult:
    """Whether a request is accepted; if not, `reason` is `name: what is so, and what to do`."""

    accepted: bool
    reason: str = ""


ACCEPTED = RequestResult(True)
NOT_RELEASED_BLIND = RequestResult(
    False,
    "robot_lost: nobody would see where the arms go; bring the robot's state back first; Ctrl+C ends the session",
)


def refused(reason: str) -> RequestResult:
    """The answer to a request that is not possible now."""
    return RequestResult(False, reason)
