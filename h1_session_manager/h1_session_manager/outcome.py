"""How a procedure ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fire:
    """Follow `trigger` of the table.

    Attributes:
        trigger: of a row of the present state.
        reason: why, for the person.
        code: why, in snake_case: an episode's `end_reason`.
    """

    trigger: str
    reason: str = ""
    code: str = ""


@dataclass(frozen=True)
class Quit:
    """The session is over; `status` is the process's."""

    status: int


Outcome = Fire | Quit | None
