"""STOPPED, and every way in which a session ends: the episode closed, the arms given back, the status told."""

from __future__ import annotations

from collections.abc import Callable

from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Outcome, Quit
from h1_session_manager.procedure import Steps, Wait, stay
from h1_training_node.clock import NS_PER_S
from h1_training_node.process import EXIT_EXPLAINED

_ENDING_S = 12.0
"""What an ending by signal may take in all; the runner kills after 14.5 s."""
_GUARD_S = 8.0
"""The arm guard's warning and ramp, 3 s each by default, and some: it does not say when it is done."""
_BY_GUARD = (
    "The arm guard gives the arms back to the robot's own controller: stand clear. 'q' does not stop that, "
    "the robot's own stop does. Start the session anew"
)
_STAND_CLEAR = "  The arms return to the robot's own controller: stand clear"


class Ending:
    """The procedures of the end.

    Args:
        board: of the session.
        close_episode: closes an open episode, within so many seconds, and says what has become of it.
    """

    def __init__(self, board: Blackboard, close_episode: Callable[[float | None], Steps[str]]) -> None:
        self._board = board
        self._close_episode = close_episode

    def enter_stopped(self) -> Steps[Outcome]:
        """Close the episode; then a person decides when the arms are given back."""
        yield from self._close_episode(None)
        return (yield from stay())

    def give_back(self) -> Steps[Outcome]:
        """Give the arms back and end. What stops that on the way is told; it goes on only by another key."""
        board = self._board
        problem, until_ns = "", board.world.now_ns
        driver_lives = not board.arms.driver_is_silent
        if board.arms.guard_has_them() or not (driver_lives or board.world.arms_are_given_back):
            reply = yield from board.desk.call("arm_guard/release", {})
            begun = reply.accepted or reply.reason.startswith("releasing")
            if begun:
                board.speak_of_release()
                board.guard_gives_back = True
                board.revision += 1
                until_ns = board.world.now_ns + int(_GUARD_S * NS_PER_S)
            problem = _BY_GUARD if begun else reply.reason
            if driver_lives and not begun:
                return board.refused(problem)
        elif problem := (yield from board.arms.release(self._announce)):
            return board.refused(problem)
        if problem:
            board.say_without_prompt(f"  {problem}")
        yield from self._close_episode(None)
        yield Wait(lambda: False, max(0.0, (until_ns - board.world.now_ns) / NS_PER_S))
        if board.memory.owed:
            board.say(f"  Not uploaded yet: epoch {', '.join(map(str, sorted(board.memory.owed)))}")
        board.say_without_prompt("  Session ended" if not problem else "  Session ended without the arm driver")
        return Quit(EXIT_EXPLAINED if problem else 0)

    def end_interrupted(self) -> Steps[Outcome]:
        """After a signal: the arms are in damping mode; save while they are given back, all within a bound."""
        board = self._board
        until_ns = board.world.now_ns + int(_ENDING_S * NS_PER_S)
        driver_lives = not board.arms.driver_is_silent
        if driver_lives and not board.world.arms_are_given_back:
            self._announce()
            yield from board.desk.call("arm_driver/release", {}, 1.0)  # refused if it is ending by itself: as well
        yield from self._close_episode((until_ns - board.world.now_ns) / NS_PER_S)
        if driver_lives:
            left_s = max(0.0, (until_ns - board.world.now_ns) / NS_PER_S)
            yield Wait(lambda: board.world.arms_are_given_back or board.arms.driver_is_silent, left_s)
        board.say_without_prompt("  Session interrupted")
        return Quit(130)

    def _announce(self) -> None:
        self._board.say_without_prompt(_STAND_CLEAR)
        self._board.speak_of_release()
