"""STOPPED, and every way in which a session ends: the episode closed, the arms given back, the status told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from h1_session_manager.outcome import Outcome, Quit
from h1_session_manager.procedure import NS_PER_S, Steps, Wait
from h1_training_node.process import EXIT_EXPLAINED

if TYPE_CHECKING:
    from h1_session_manager.session import Session

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
        session: the session.
        close_episode: closes an open episode, within so many seconds, and says what has become of it.
    """

    def __init__(self, session: Session, close_episode: Callable[[float | None], Steps[str]]) -> None:
        self._s = session
        self._close_episode = close_episode

    def enter_stopped(self) -> Steps[Outcome]:
        yield from self._close_episode(None)
        yield Wait(lambda: False, None)
        return None

    def give_back(self) -> Steps[Outcome]:
        """Give the arms back and end. What stops that on the way is told; it goes on only by another key."""
        s = self._s
        problem, until_ns = "", s.world.now_ns
        driver_lives = s.world.age_s("arm") <= s.config.arm_timeout_s
        if s.arms.guard_has_them() or not (driver_lives or s.world.arms_are_given_back):
            reply = yield from s.desk.call("arm_guard/release", {})
            begun = reply.accepted or reply.reason.startswith("releasing")
            if begun:
                s.speak_of_release()
                s.guard_gives_back = True
                s.revision += 1
                until_ns = s.world.now_ns + int(_GUARD_S * NS_PER_S)
            problem = _BY_GUARD if begun else reply.reason
            if driver_lives and not begun:
                return s.refused(problem)
        elif problem := (yield from s.arms.release(self._announce)):
            return s.refused(problem)
        if problem:
            s.say_without_prompt(f"  {problem}")
        yield from self._close_episode(None)
        yield Wait(lambda: False, max(0.0, (until_ns - s.world.now_ns) / NS_PER_S))
        if s.memory.owed:
            s.say(f"  Not uploaded yet: epoch {', '.join(map(str, sorted(s.memory.owed)))}")
        s.say_without_prompt("  Session ended" if not problem else "  Session ended without the arm driver")
        return Quit(EXIT_EXPLAINED if problem else 0)

    def end_interrupted(self) -> Steps[Outcome]:
        """After a signal: the arms are in damping mode; save while they are given back, all within a bound."""
        s = self._s
        until_ns = s.world.now_ns + int(_ENDING_S * NS_PER_S)
        driver_lives = s.world.age_s("arm") <= s.config.arm_timeout_s
        if driver_lives and not s.world.arms_are_given_back:
            self._announce()
            yield from s.desk.call("arm_driver/release", {}, 1.0)  # refused if it is ending by itself: as well
        yield from self._close_episode((until_ns - s.world.now_ns) / NS_PER_S)
        if driver_lives:
            left_s = max(0.0, (until_ns - s.world.now_ns) / NS_PER_S)
            yield Wait(lambda: s.world.arms_are_given_back or s.world.age_s("arm") > s.config.arm_timeout_s, left_s)
        s.say_without_prompt("  Session interrupted")
        return Quit(130)

    def _announce(self) -> None:
        self._s.say_without_prompt(_STAND_CLEAR)
        self._s.speak_of_release()
