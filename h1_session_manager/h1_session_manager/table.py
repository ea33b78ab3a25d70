# SPDX-License-Identifier: Apache-2.0
"""The session's table: what a state is, and what a row of it is; driven by `transitions`.

The rows themselves stand with their states (`states/`), each with what it does; the whole table is their union. Keys,
services, the README's diagram (`diagram.py`) and the operating guide's lists are all read from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from transitions import Machine

from h1_session_manager.steps import Next, Steps

# It narrates every transition at INFO; the session says what happened in its own words.
logging.getLogger("transitions").setLevel(logging.WARNING)


class State(StrEnum):
    """Where the session is; the value is what `session/state` carries."""

    STARTING = "STARTING"
    WAITING = "WAITING"
    READY = "READY"
    EXECUTING = "EXECUTING"
    LABELING = "LABELING"
    DAMPING = "DAMPING"
    SAVING = "SAVING"
    DECIDING = "DECIDING"
    SYNCING = "SYNCING"
    STOPPED = "STOPPED"


class When(StrEnum):
    """Under which condition a row holds."""

    ALWAYS = ""
    OWED = "uploads owed"
    NOT_OWED = "nothing to upload"


@dataclass(frozen=True)
class Row:
    """One way out of a state, or one thing that a person may ask for in it.

    The functions get the state's object (`states/base.py`).

    Attributes:
        trigger: its name; for what a person may ask, also the service `session_manager/<trigger>`.
        dest: where it leads; the same state for what changes no state; None ends the session.
        key: the person's key; empty if only the program calls for it.
        says: what the key does, for the person.
        motion: the arms start to move by it; guarded against key repeat.
        twice: the key must be pressed twice.
        when: condition on which of several rows holds.
        doing: what its steps do, for whoever has to wait for them.
        begin: what is done when a person asks for it; it returns the steps of what takes time. None: only the
            transition.
        refuses: why it cannot be done now; empty if it can.
        then: what follows from the transition, before `dest` is entered; also gets the `Fire`.
        source: the state that it belongs to, which the state itself fills in.
    """

    trigger: str
    dest: State | None
    key: str = ""
    says: str = ""
    motion: bool = False
    twice: bool = False
    when: When = When.ALWAYS
    doing: str = ""
    begin: Callable[[Any], Steps[Next] | None] | None = None
    refuses: Callable[[Any], str] | None = None
    then: Callable[[Any, Any], None] | None = None
    source: State = State.STARTING

    @property
    def label(self) -> str:
        """What the key does, in few words."""
        return self.says.partition(" (")[0]


EMERGENCY = "emergency_stop"
STOP_KEY = "q"
"""Of the emergency stop; in WAITING it ends the session in good order, and stops that if pressed again."""
CANCEL = "cancel"
"""Takes back an announced motion; any key does."""
CANCEL_ROW = Row(CANCEL, None, "any", "cancel")
STOP_ROW = Row(EMERGENCY, State.STOPPED, STOP_KEY, "emergency stop")
"""What a person may ask for while something is under way."""
NEVER_GUARDED = frozenset({"s", "q"})
"""Keys that stop something are heard at any time."""


def key_fields(rows: Iterable[Row]) -> dict[str, tuple[Any, ...]]:
    """The keys of `rows` and what each does, as `session/state` carries them."""
    listed = tuple(rows)
    return {
        "keys": tuple(row.key for row in listed),
        "key_labels": tuple(row.label for row in listed),
        "key_services": tuple(row.trigger for row in listed),
        "key_moves": tuple(row.motion for row in listed),
        "key_twice": tuple(row.twice for row in listed),
    }


class Table:
    """The rows at work: the present state and what may leave it.

    Args:
        rows: of all states.
        uploads_owed: whether data waits for its upload, on which `skip` depends.
    """

    def __init__(self, rows: tuple[Row, ...], uploads_owed: Callable[[], bool]) -> None:
        self._rows = rows
        self._owed = uploads_owed
        self.state: State = State.STARTING
        transitions: list[dict[str, Any]] = [
            {"trigger": row.trigger, "source": row.source, "dest": row.dest, "conditions": self._condition(row)}
            for row in rows
            if row.dest is not None
        ]
        self._machine = Machine(
            model=self, states=State, initial=State.STARTING, transitions=transitions, auto_transitions=False
        )

    def fire(self, trigger: str) -> State:
        """Follow `trigger` from the present state; returns the new one.

        Raises:
            transitions.MachineError: the table has no such row for this state.
        """
        self.trigger(trigger)  # type: ignore[attr-defined]  # added to its model by Machine
        return self.state

    def rows(self) -> tuple[Row, ...]:
        """The rows of the present state whose condition holds."""
        return tuple(row for row in self._rows if row.source is self.state and self._holds(row))

    def row(self, trigger: str) -> Row | None:
        """The row of the present state for `trigger`, or None."""
        return next((row for row in self.rows() if row.trigger == trigger), None)

    def row_of_key(self, key: str) -> Row | None:
        """The row of the present state for `key`, or None."""
        return next((row for row in self.rows() if key and row.key == key), None)

    def _holds(self, row: Row) -> bool:
        return row.when is When.ALWAYS or (row.when is When.OWED) == self._owed()

    def _condition(self, row: Row) -> list[Callable[[], bool]]:
        return [] if row.when is When.ALWAYS else [lambda: self._holds(row)]
