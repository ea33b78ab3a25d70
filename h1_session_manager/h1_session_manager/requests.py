# SPDX-License-Identifier: Apache-2.0
"""What a person asks for, by key or service: done, refused with what is possible, or counted as a slip.

A terminal knows no key release: a key that is held arrives as the same letter every 30 ms after a first pause of
up to 0.66 s. A press that follows the same letter within the guard is therefore a repeat.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from h1_session_manager.steps import Fire
from h1_session_manager.table import CANCEL, EMERGENCY, NEVER_GUARDED, STOP_KEY, Row, State
from h1_session_manager.values import Answer
from h1_training_node.clock import NS_PER_S

if TYPE_CHECKING:
    from h1_session_manager.context import Context
    from h1_session_manager.engine import Engine

ENTER = "enter"
"""Typed out of habit behind an answer; it must not cancel what the answer began."""
TWICE_WITHIN_S = 5.0
"""The second press of a key that must be pressed twice counts until then."""
HELD_GAP_S = 0.15
"""A held key comes every 30 ms once it repeats; a finger that hammers is slower than this."""


class Press(Enum):
    """What a press of a key amounts to."""

    COUNTS = "counts"
    GUARDED = "guarded"
    ONCE_MORE = "once more"


class KeyGuard:
    """Judges presses: guards against key repeat and against a slip of the finger. Times are ns.

    Args:
        guard_s: keys that start motion are ignored this long after a state was entered, and while they repeat.
    """

    def __init__(self, guard_s: float) -> None:
        self._guard_ns = int(guard_s * NS_PER_S)
        self._since_ns = 0
        self._last: dict[str, int] = {}
        self._armed: tuple[str, int] | None = None
        self._counted_ns: int | None = None

    def rearm(self, now_ns: int) -> None:
        """A state was entered, or a motion cancelled."""
        self._since_ns = now_ns
        self._armed = None

    def is_guarded(self, row: Row, now_ns: int) -> bool:
        """Whether the state is too young for the key of `row`."""
        return row.motion and row.key not in NEVER_GUARDED and now_ns - self._since_ns < self._guard_ns

    def judge(self, row: Row, now_ns: int) -> Press:
        """What this press of the key of `row` amounts to."""
        previous = self._last.get(row.key)
        repeats = previous is not None and now_ns - previous < self._guard_ns
        self._last[row.key] = now_ns
        armed, self._armed = self._armed, None
        if row.twice:
            return self._judge_twice(row, armed, repeats, now_ns)
        if row.motion and row.key not in NEVER_GUARDED and (repeats or self.is_guarded(row, now_ns)):
            return Press.GUARDED
        self._counted_ns = now_ns
        return Press.COUNTS

    def answered_lately(self, now_ns: int) -> bool:
        """Whether a key has counted within the guard."""
        return self._counted_ns is not None and now_ns - self._counted_ns < self._guard_ns

    def saw(self, key: str, now_ns: int) -> None:
        """A press that is used otherwise, for what follows to be known as its repeat."""
        self._armed = None
        self._last[key] = now_ns

    def is_held(self, key: str, now_ns: int) -> bool:
        """Whether `key` comes from a finger that has stayed on it: unlike a repeat, never one that presses again."""
        previous = self._last.get(key)
        return self.answered_lately(now_ns) or (previous is not None and now_ns - previous < HELD_GAP_S * NS_PER_S)

    def _judge_twice(self, row: Row, armed: tuple[str, int] | None, repeats: bool, now_ns: int) -> Press:
        if armed is None or armed[0] != row.key or now_ns - armed[1] > TWICE_WITHIN_S * NS_PER_S:
            self._armed = (row.key, now_ns)
            return Press.ONCE_MORE
        if repeats:
            self._armed = armed
            return Press.GUARDED
        return Press.COUNTS


class Requests:
    """Answers every key and every call; none is met by silence."""

    def __init__(self, context: Context, engine: Engine) -> None:
        self._context = context
        self._guard = context.key_guard
        self._engine = engine

    def available(self) -> tuple[Row, ...]:
        """The rows that a person can ask for now."""
        rows = self._context.table.rows()
        if self._context.doing:
            return tuple(row for row in rows if row.key and row.trigger == EMERGENCY)
        return tuple(row for row in rows if row.key and not self._obstacle(row))

    def on_key(self, key: str) -> None:
        """A key, in lower case."""
        context, now_ns = self._context, self._context.observed.now_ns
        row = context.table.row_of_key(key)
        if key == STOP_KEY and (row is None or row.trigger == EMERGENCY or context.doing):
            self._stop(key, is_quit=row is not None and row.trigger != EMERGENCY)
        elif key == ENTER and self._guard.answered_lately(now_ns):
            context.say("  Enter is not needed: a key counts by itself")
        elif context.cancellable:
            self._guard.saw(key, now_ns)
            self._cancel(f"key '{key}'")
        elif row is None:
            self._guard.saw(key, now_ns)
            context.say(f"  '{key}' is no key of {context.table.state.value}; keys: {_possible(self.available())}")
        else:
            self._on_key_of(row)

    def _on_key_of(self, row: Row) -> None:
        context, now_ns = self._context, self._context.observed.now_ns
        if context.doing or self._obstacle(row):
            self._guard.saw(row.key, now_ns)  # so that a held key does not count as soon as it could
        elif (press := self._guard.judge(row, now_ns)) is not Press.COUNTS:
            once_more = f"Press '{row.key}' once more to {row.says}"
            early = f"'{row.key}' was held or pressed too early: let go, and press it again in a second"
            context.say(f"  {once_more if press is Press.ONCE_MORE else early}")
            return
        answer = self._request(row)
        if not answer.success:
            context.say(f"  {answer.message}")

    def _stop(self, key: str, *, is_quit: bool) -> None:
        context, now_ns = self._context, self._context.observed.now_ns
        held = self._guard.is_held(key, now_ns)
        was_stopped = context.table.state is State.STOPPED and not context.doing
        self._guard.saw(key, now_ns)
        if is_quit and held:
            context.say(f"  {context.doing}; press '{key}' again for an emergency stop")
        elif not self._engine.stop(f"emergency stop: key '{key}'"):
            context.say(f"  '{key}' does nothing more: the session is ending, the arms are being released")
        elif was_stopped:
            context.say(f"  The arms were stopped already, and are once more; {context.state.text().question}")

    def on_service(self, trigger: str) -> Answer:
        """A call of `session_manager/<trigger>`."""
        context = self._context
        if trigger == EMERGENCY:
            stopped = self._engine.stop("emergency stop: service")
            return Answer(stopped, f"the session is {'in ' + context.table.state.value if stopped else 'ending'}")
        row = context.table.row(trigger)
        if context.cancellable and (row is None or row.trigger != "stop"):
            self._cancel(f"service '{trigger}'")
            return Answer(trigger == CANCEL, f"the announced motion was cancelled; {self._state_and_possible()}")
        if row is None or not row.key:
            return Answer(False, f"'{trigger}' is not possible; {self._state_and_possible()}")
        return self._request(row)

    def _state_and_possible(self) -> str:
        names = ", ".join(row.trigger for row in self.available()) or EMERGENCY
        return f"state {self._context.table.state.value}; possible: {names}"

    def _obstacle(self, row: Row) -> str:
        """Why what `row` says cannot be done now; empty if it can."""
        return row.refuses(self._context.state) if row.refuses is not None else ""

    def _request(self, row: Row) -> Answer:
        """Begin what `row` says, if that can be done now."""
        context = self._context
        if context.doing:
            return Answer(False, f"{context.doing}: please wait; {self._state_and_possible()}")
        if obstacle := self._obstacle(row):
            return Answer(False, obstacle)
        if row.begin is None:
            self._engine.fire(Fire(row.trigger))
        elif (steps := row.begin(context.state)) is not None:
            self._engine.do(row.doing, steps)
            context.cancellable = row.motion and row.dest is not None
        return Answer(True, row.doing or row.says)

    def _cancel(self, by: str) -> None:
        context = self._context
        if context.table.state is State.EXECUTING:  # the episode has begun: compliant arms, and the person decides
            self._engine.fire(Fire("stop", f"cancelled by {by}"))
            return
        self._guard.rearm(context.observed.now_ns)
        context.say_and_ask_again(f"  Cancelled by {by}: the arms stay")
        self._engine.do("cancelling the motion", context.undo_motion())


def _possible(rows: tuple[Row, ...]) -> str:
    """What a person may press, as a list."""
    keys = ", ".join(f"'{row.key}'{' twice' if row.twice else ''} {row.says}" for row in rows if row.key)
    return keys or "none now; 'q' is an emergency stop"
