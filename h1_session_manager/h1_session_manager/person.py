"""What a person asks for, by key or service: taken, refused with what is possible, or counted as a slip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager import lines
from h1_session_manager.keys import KeyGuard, Press
from h1_session_manager.outcome import Fire
from h1_session_manager.procedures import Procedures
from h1_session_manager.table import CANCEL, EMERGENCY, STOP_KEY, Row, State
from h1_session_manager.values import Answer

if TYPE_CHECKING:
    from h1_session_manager.session import Session


ENTER = "enter"
"""Typed out of habit behind an answer; it must not take back what the answer began."""


class Requests:
    """Answers every key and every call; none is met by silence."""

    def __init__(self, session: Session, guard: KeyGuard, procedures: Procedures) -> None:
        self._s = session
        self._guard = guard
        self._procedures = procedures

    def on_key(self, key: str) -> None:
        """A key, in lower case."""
        s = self._s
        row = s.table.row_of_key(key)
        if key == STOP_KEY and (row is None or row.trigger == EMERGENCY or s.doing):
            self._stop(key, is_quit=row is not None and row.trigger != EMERGENCY)
            return
        if key == ENTER and self._guard.answered_lately(s.world.now_ns):
            s.say("  Enter is not needed: a key counts by itself")
            return
        if s.cancellable:
            self._guard.saw(key, s.world.now_ns)
            self._cancel(f"key '{key}'")
            return
        if row is None:
            self._guard.saw(key, s.world.now_ns)
            s.say(f"  '{key}' does nothing in {s.table.state.value}: {lines.possible(s.available())}")
            return
        if s.doing or self._procedures.obstacle(row):
            self._guard.saw(key, s.world.now_ns)  # so that a held key does not count as soon as it could
        elif (press := self._guard.judge(row, s.world.now_ns)) is not Press.COUNTS:
            s.say(f"  {self._not_yet(row, press)}")
            return
        answer = self._request(row)
        if not answer.success:
            s.say(f"  {answer.message}")

    def _stop(self, key: str, *, is_quit: bool) -> None:
        s = self._s
        held = self._guard.is_held(key, s.world.now_ns)
        self._guard.saw(key, s.world.now_ns)
        if is_quit and held:
            s.say(f"  {s.doing}; press '{key}' again for an emergency stop")
        elif not s.stop(f"emergency stop: key '{key}'"):
            s.say(f"  '{key}' does nothing more: the session is ending, the arms are being given back")

    @staticmethod
    def _not_yet(row: Row, press: Press) -> str:
        if press is Press.ONCE_MORE:
            return f"Press '{row.key}' once more to {row.says}"
        return f"'{row.key}' was held or pressed too early: let go, and press it again in a second"

    def on_service(self, trigger: str) -> Answer:
        """A call of `session_manager/<trigger>`."""
        s = self._s
        if trigger == EMERGENCY:
            stopped = s.stop("emergency stop: service")
            return Answer(stopped, f"the session is {'in ' + s.table.state.value if stopped else 'ending'}")
        row = s.table.row(trigger)
        if s.cancellable and (row is None or row.trigger != "stop"):
            self._cancel(f"service '{trigger}'")
            return Answer(trigger == CANCEL, f"the announced motion was taken back; {self._state_and_possible()}")
        if row is None or not row.key:
            return Answer(False, f"'{trigger}' is not possible; {self._state_and_possible()}")
        return self._request(row)

    def _state_and_possible(self) -> str:
        s = self._s
        names = ", ".join(row.trigger for row in s.available()) or EMERGENCY
        return f"state {s.table.state.value}; possible: {names}"

    def _request(self, row: Row) -> Answer:
        """Begin what `row` says, if that can be done now."""
        s = self._s
        if s.doing:
            return Answer(False, f"{s.doing}: please wait; {self._state_and_possible()}")
        if obstacle := self._procedures.obstacle(row):
            return Answer(False, obstacle)
        begun = self._procedures.begin(row)
        if begun.steps is not None:
            s.do(begun.doing, begun.steps)
            s.cancellable = row.motion and row.dest is not None
        elif begun.fire is not None:
            s.fire(begun.fire)
        return Answer(True, begun.doing or row.says)

    def _cancel(self, by: str) -> None:
        s = self._s
        if s.table.state is State.EXECUTING:  # the episode has begun: compliant arms, and the person decides
            s.fire(Fire("stop", f"taken back by {by}"))
            return
        self._guard.rearm(s.world.now_ns)
        s.say_and_ask_again(f"  Taken back by {by}: the arms stay")
        s.do("taking the motion back", self._procedures.taken_back())
