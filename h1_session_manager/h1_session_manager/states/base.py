# SPDX-License-Identifier: Apache-2.0
"""What every state is made of: its rows of the table, its lines, what is done on entry, and what it demands itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from h1_session_manager.context import Context
from h1_session_manager.steps import Fire, Next, Steps, stay
from h1_session_manager.table import EMERGENCY, Row, State
from h1_session_manager.words import in_words
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level


@dataclass(frozen=True)
class StateText:
    """What appears when a state is entered.

    Attributes:
        lines: printed, each on a line of its own.
        prompt: printed last, with the cursor behind it; empty if the state has none.
        question: the prompt in one line, for `session/state`.
    """

    lines: tuple[str, ...]
    prompt: str = ""
    question: str = ""


class BaseState(ABC):
    """One state of the session; `states/__init__.py` lists all.

    Args:
        context: what the states share.

    Attributes:
        name: of the state.
        arms: the arms' mode in it, for diagram and guide; a fault may hold them in DAMPING instead.
        needs_person: the bell rings when it is entered.
        rows: its rows of the table; the emergency stop's is added.
    """

    name: ClassVar[State]
    arms: ClassVar[str]
    needs_person: ClassVar[bool] = False
    rows: ClassVar[tuple[Row, ...]]

    def __init__(self, context: Context) -> None:
        self.context = context

    @abstractmethod
    def text(self) -> StateText:
        """Its lines and its question, as things stand."""

    def enter(self) -> Steps[Next]:
        """What is done when it is entered."""
        return self.idle()

    def idle(self) -> Steps[Next]:
        """What goes on in it while nobody asks for anything."""
        return stay()

    def demands(self) -> Fire | None:
        """Where it must go now, whatever is under way; looked at after every input."""
        return None

    def reason(self) -> str:
        """Why the session is here, or what stands in the way, for `session/state`."""
        return self.context.observed.fault or self.context.reason

    def emergency(self, _fire: Fire) -> None:
        """The episode that an emergency stop ends says so."""
        self.context.episode.end_reason = self.context.interrupted or "emergency_stop"

    def hold_after_deciding(self, why: str) -> Steps[None]:
        """DECIDING's keys say that the arms become stiff. From elsewhere a person may have made them compliant."""
        context = self.context
        if context.comes_from is State.DECIDING and (problem := (yield from context.arms.hold_if_free(why))):
            context.say(f"  The arms stay in damping mode: {problem}")
            context.event(Level.WARN, "hold_refused", problem)

    def acknowledging(self) -> str:
        """What the key that sets the arms in motion does first."""
        fault = self.context.observed.fault
        return f"acknowledge '{in_words(fault)}' and " if fault else ""


class LimitedState(BaseState):
    """A state with a time limit, which is announced before it is reached.

    Attributes:
        limited: what the limit ends, for the person.
        limit_trigger: what is fired then.
    """

    limited: ClassVar[str]
    limit_trigger: ClassVar[str]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._warned_since_ns = -1

    @abstractmethod
    def limit(self) -> tuple[int | None, float]:
        """Since when the time counts, ns (None: not yet), and how long it may be, s."""

    def reason(self) -> str:
        left_s = self._left_s()
        if left_s is not None and left_s <= self.context.config.limit_warning_s:
            return f"time limit in {math.ceil(left_s)} s"
        return super().reason()

    def demands(self) -> Fire | None:
        context, left_s = self.context, self._left_s()
        if left_s is None or context.doing:
            return None
        if left_s <= 0:
            context.say(f"  Longest {self.limited} reached")
            context.event(Level.WARN, "time_limit", f"longest {self.limited} reached")
            return Fire(self.limit_trigger, f"time limit of {self.limited} reached", "time_limit")
        if left_s <= context.config.limit_warning_s and self._warned_since_ns != context.since_ns:
            self._warned_since_ns = context.since_ns
            context.say(f"  Time limit in {math.ceil(left_s)} s")
        return None

    def _left_s(self) -> float | None:
        since_ns, limit_s = self.limit()
        return None if since_ns is None else max(0.0, limit_s - (self.context.observed.now_ns - since_ns) / NS_PER_S)


def emergency_row(state: type[BaseState]) -> Row:
    """The emergency stop of `state`. In WAITING `q` ends the session in good order; the stop has other ways there."""
    key = "" if any(row.key == "q" for row in state.rows) else "q"
    return Row(EMERGENCY, State.STOPPED, key, "emergency stop" if key else "", then=BaseState.emergency)
