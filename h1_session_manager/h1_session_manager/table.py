"""The session as data: one table of states and of what may leave them, driven by `transitions`.

Everything that depends on the state is looked up here: which keys and services do something, what leads where,
in which mode the arms are. The README's diagram is drawn from it (`diagram.py`), so that code, keys and picture
cannot disagree.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from transitions import Machine

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


ARMS: dict[State, str] = {
    State.STARTING: "RELEASED, then HOME",
    State.WAITING: "HOLD",
    State.READY: "HOLD",
    State.EXECUTING: "HOME, POLICY",
    State.LABELING: "HOLD",
    State.DAMPING: "DAMPING",
    State.SAVING: "DAMPING",
    State.DECIDING: "DAMPING",
    State.SYNCING: "HOLD",
    State.STOPPED: "DAMPING",
}
"""The arms' mode in each state; a fault may hold them in DAMPING instead."""

RECORDING = frozenset({State.EXECUTING, State.LABELING, State.DAMPING})
"""The states in which an episode's journal is open."""


class When(StrEnum):
    """Under which condition a row holds."""

    ALWAYS = ""
    OWED = "uploads owed"
    NOT_OWED = "nothing to upload"


@dataclass(frozen=True)
class Row:
    """One way out of a state, or one thing that a person may ask for in it.

    Attributes:
        trigger: its name; for what a person may ask, also the service `session_manager/<trigger>`.
        source: the state that it belongs to.
        dest: where it leads; the same state for what changes no state; None ends the session.
        key: the person's key; empty if only the program calls for it.
        says: what the key does, for the person.
        motion: the arms start to move by it; guarded against key repeat.
        twice: the key must be pressed twice.
        when: condition on which of several rows holds.
    """

    trigger: str
    source: State
    dest: State | None
    key: str = ""
    says: str = ""
    motion: bool = False
    twice: bool = False
    when: When = When.ALWAYS


EMERGENCY = "emergency_stop"
STOP_KEY = "q"
"""Of the emergency stop; in WAITING it ends the session in good order, and stops that if pressed again."""
CANCEL = "cancel"
"""Takes back an announced motion; any key does."""

ROWS: tuple[Row, ...] = (
    Row("start", State.STARTING, State.WAITING, "y", "take the arms and move to home position", motion=True),
    Row("new_weights", State.WAITING, State.READY),
    Row("accept", State.WAITING, State.READY, "y", "accept an epoch below the last one"),
    Row("quit", State.WAITING, None, "q", "end the session (the arms return to the robot's own controller)"),
    Row("start", State.READY, State.EXECUTING, "y", "start the episode (the arms move)", motion=True),
    Row("skip", State.READY, State.WAITING, "n", "skip", when=When.NOT_OWED),
    Row("skip", State.READY, State.SYNCING, "n", "skip and upload what is owed", when=When.OWED),
    Row("stop", State.EXECUTING, State.DAMPING, "s", "stop execution and enter damping mode"),
    Row("finish", State.EXECUTING, State.LABELING),
    Row("arm_fault", State.EXECUTING, State.DAMPING),
    Row("success", State.LABELING, State.DAMPING, "y", "it succeeded"),
    Row("failure", State.LABELING, State.DAMPING, "n", "it failed"),
    Row("arm_fault", State.LABELING, State.DAMPING),
    Row("end", State.DAMPING, State.SAVING, "e", "end epoch and save"),
    Row("resume", State.DAMPING, State.EXECUTING, "r", "resume the policy (the arms move)", motion=True),
    Row("discard", State.DAMPING, State.DECIDING, "x", "discard the episode", twice=True),
    Row("saved", State.SAVING, State.DECIDING),
    Row("save_failed", State.SAVING, State.DECIDING),
    Row("another", State.DECIDING, State.READY, "y", "start another epoch"),
    Row("finish", State.DECIDING, State.SYNCING, "n", "finish training session"),
    Row("good", State.DECIDING, State.DECIDING, "g", "mark the episode as a success"),
    Row("bad", State.DECIDING, State.DECIDING, "b", "mark the episode as a failure"),
    Row("discard", State.DECIDING, State.DECIDING, "x", "discard the episode", twice=True),
    Row("synced", State.SYNCING, State.WAITING),
    Row("retry", State.SYNCING, State.SYNCING, "y", "try the upload again"),
    Row("keep_local", State.SYNCING, State.WAITING, "n", "keep the data on this machine"),
    Row("release", State.STOPPED, None, "y", "give the arms back (the arms move)", motion=True),
    *(Row(EMERGENCY, state, State.STOPPED, STOP_KEY, "emergency stop") for state in State
      if state not in (State.WAITING, State.STOPPED)),
    # In WAITING `q` ends the session in good order; the stop is asked for by service, topic or the remote's button.
    Row(EMERGENCY, State.WAITING, State.STOPPED),
)  # fmt: skip

KEYS: tuple[str, ...] = tuple(dict.fromkeys(row.key for row in ROWS if row.key))
"""Every key that means something somewhere."""

SERVICES: tuple[str, ...] = (*dict.fromkeys(row.trigger for row in ROWS if row.key), CANCEL)
"""Every name that a person may call as `session_manager/<name>`."""

NEVER_GUARDED = frozenset({"s", "q"})
"""Keys that stop something are heard at any time."""


class Table:
    """The rows at work: the present state and what may leave it.

    Args:
        uploads_owed: tells whether data waits for its upload, on which `skip` depends.
    """

    def __init__(self, uploads_owed: Callable[[], bool]) -> None:
        self._owed = uploads_owed
        self.state: State = State.STARTING
        rows: list[dict[str, Any]] = [
            {"trigger": row.trigger, "source": row.source, "dest": row.dest, "conditions": self._condition(row)}
            for row in ROWS
            if row.dest is not None
        ]
        self._machine = Machine(
            model=self, states=State, initial=State.STARTING, transitions=rows, auto_transitions=False
        )  # fmt: skip

    def fire(self, trigger: str) -> State:
        """Follow `trigger` from the present state; returns the new one.

        Raises:
            transitions.MachineError: the table has no such row for this state.
        """
        self.trigger(trigger)  # type: ignore[attr-defined]  # added to its model by Machine
        return self.state

    def rows(self) -> tuple[Row, ...]:
        """The rows of the present state whose condition holds."""
        return tuple(row for row in ROWS if row.source is self.state and self._holds(row))

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
