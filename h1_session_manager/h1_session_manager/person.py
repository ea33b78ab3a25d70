"""What a person asks for, by key or service: taken, refused with what is possible, or counted as a slip."""

from __future__ import annotations

from h1_session_manager import lines
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.course import Course
from h1_session_manager.keys import Press
from h1_session_manager.outcome import Fire
from h1_session_manager.procedures import Procedures
from h1_session_manager.table import CANCEL, EMERGENCY, STOP_KEY, Row, State
from h1_session_manager.values import Answer

ENTER = "enter"
"""Typed out of habit behind an answer; it must not take back what the answer began."""


class Requests:
    """Answers every key and every call; none is met by silence."""

    def __init__(self, board: Blackboard, procedures: Procedures, course: Course) -> None:
        self._board = board
        self._guard = board.key_guard
        self._procedures = procedures
        self._course = course

    def available(self) -> tuple[Row, ...]:
        """The rows that a person can ask for now."""
        rows = self._board.table.rows()
        if self._board.doing:
            return tuple(row for row in rows if row.key and row.trigger == EMERGENCY)
        return tuple(row for row in rows if row.key and not self._procedures.obstacle(row))

    def on_key(self, key: str) -> None:
        """A key, in lower case."""
        board = self._board
        row = board.table.row_of_key(key)
        if key == STOP_KEY and (row is None or row.trigger == EMERGENCY or board.doing):
            self._stop(key, is_quit=row is not None and row.trigger != EMERGENCY)
            return
        if key == ENTER and self._guard.answered_lately(board.world.now_ns):
            board.say("  Enter is not needed: a key counts by itself")
            return
        if board.cancellable:
            self._guard.saw(key, board.world.now_ns)
            self._cancel(f"key '{key}'")
            return
        if row is None:
            self._guard.saw(key, board.world.now_ns)
            board.say(f"  '{key}' does nothing in {board.table.state.value}: {lines.possible(self.available())}")
            return
        if board.doing or self._procedures.obstacle(row):
            self._guard.saw(key, board.world.now_ns)  # so that a held key does not count as soon as it could
        elif (press := self._guard.judge(row, board.world.now_ns)) is not Press.COUNTS:
            board.say(f"  {self._not_yet(row, press)}")
            return
        answer = self._request(row)
        if not answer.success:
            board.say(f"  {answer.message}")

    def _stop(self, key: str, *, is_quit: bool) -> None:
        board = self._board
        held = self._guard.is_held(key, board.world.now_ns)
        self._guard.saw(key, board.world.now_ns)
        if is_quit and held:
            board.say(f"  {board.doing}; press '{key}' again for an emergency stop")
        elif not self._course.stop(f"emergency stop: key '{key}'"):
            board.say(f"  '{key}' does nothing more: the session is ending, the arms are being given back")

    @staticmethod
    def _not_yet(row: Row, press: Press) -> str:
        if press is Press.ONCE_MORE:
            return f"Press '{row.key}' once more to {row.says}"
        return f"'{row.key}' was held or pressed too early: let go, and press it again in a second"

    def on_service(self, trigger: str) -> Answer:
        """A call of `session_manager/<trigger>`."""
        board = self._board
        if trigger == EMERGENCY:
            stopped = self._course.stop("emergency stop: service")
            return Answer(stopped, f"the session is {'in ' + board.table.state.value if stopped else 'ending'}")
        row = board.table.row(trigger)
        if board.cancellable and (row is None or row.trigger != "stop"):
            self._cancel(f"service '{trigger}'")
            return Answer(trigger == CANCEL, f"the announced motion was taken back; {self._state_and_possible()}")
        if row is None or not row.key:
            return Answer(False, f"'{trigger}' is not possible; {self._state_and_possible()}")
        return self._request(row)

    def _state_and_possible(self) -> str:
        board = self._board
        names = ", ".join(row.trigger for row in self.available()) or EMERGENCY
        return f"state {board.table.state.value}; possible: {names}"

    def _request(self, row: Row) -> Answer:
        """Begin what `row` says, if that can be done now."""
        board = self._board
        if board.doing:
            return Answer(False, f"{board.doing}: please wait; {self._state_and_possible()}")
        if obstacle := self._procedures.obstacle(row):
            return Answer(False, obstacle)
        begun = self._procedures.begin(row)
        if begun.steps is not None:
            self._course.do(begun.doing, begun.steps)
            board.cancellable = row.motion and row.dest is not None
        elif begun.fire is not None:
            self._course.fire(begun.fire)
        return Answer(True, begun.doing or row.says)

    def _cancel(self, by: str) -> None:
        board = self._board
        if board.table.state is State.EXECUTING:  # the episode has begun: compliant arms, and the person decides
            self._course.fire(Fire("stop", f"taken back by {by}"))
            return
        self._guard.rearm(board.world.now_ns)
        board.say_and_ask_again(f"  Taken back by {by}: the arms stay")
        self._course.do("taking the motion back", self._procedures.taken_back())
