# SPDX-License-Identifier: Apache-2.0
"""STOPPED, and every way in which a session ends: the episode closed, the arms released, the exit status."""

from __future__ import annotations

from h1_session_manager.context import Context
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.states.saving import close_episode
from h1_session_manager.steps import Next, Quit, Steps, Wait, pause, stay
from h1_session_manager.table import Row, State
from h1_training_node.clock import NS_PER_S
from h1_training_node.process import EXIT_EXPLAINED

_ENDING_S = 12.0
"""What an ending by signal may take in all; the runner kills after 14.5 s."""
_GUARD_S = 8.0
"""The arm guard's warning and ramp, 3 s each by default, and some: it does not say when it is done."""
_BY_GUARD = (
    "The arm guard releases the arms to the robot's own controller: stand clear. 'q' does not stop that, "
    "the robot's own stop does. Start the session again"
)


class Stopped(BaseState):
    """The arms are compliant until a person confirms the release."""

    name = State.STOPPED
    arms = "DAMPING"
    needs_person = True

    def text(self) -> StateText:
        context, observed = self.context, self.context.observed
        if context.interrupted:
            return StateText((f"[STOPPED] {context.reason}",), "", "The session is ending")
        ask = "Press 'y' to end the session; the robot's own controller has the arms"
        if observed.arm is not None and not observed.arms_are_released:
            ask = "Press 'y' to release: arms return to the robot's own controller: stand clear"
        return StateText((f"[STOPPED] {context.reason or 'Emergency stop'}",), f"  {ask}: ", ask)

    def enter(self) -> Steps[Next]:
        """Close the episode; then a person decides when the arms are released."""
        yield from close_episode(self.context)
        return (yield from stay())

    def release(self) -> Steps[Next]:
        return release_arms(self.context)

    rows = (
        Row("release", None, "y", "release the arms (they move)", motion=True,
            doing="releasing the arms", begin=release),
    )  # fmt: skip


def release_arms(context: Context) -> Steps[Next]:
    """Release the arms and end. What stops that on the way is reported; it goes on only by another key."""
    arms, observed = context.arms, context.observed
    problem, until_ns = "", observed.now_ns
    driver_lives = not arms.driver_is_silent
    if arms.guard_has_them() or not (driver_lives or observed.arms_are_released):
        reply = yield from context.calls.call("arm_guard/release", {})
        begun = reply.accepted or reply.reason.startswith("releasing")
        if begun:
            context.announce_release()
            context.guard_releases = True
            context.revision += 1
            until_ns = observed.now_ns + int(_GUARD_S * NS_PER_S)
        problem = _BY_GUARD if begun else reply.reason
        if driver_lives and not begun:
            return context.refused(problem)
    elif problem := (yield from arms.release(lambda: _announce(context))):
        return context.refused(problem)
    if problem:
        context.say_without_prompt(f"  {problem}")
    yield from close_episode(context)
    yield from pause(max(0.0, (until_ns - observed.now_ns) / NS_PER_S))
    if context.memory.owed:
        context.say(f"  Not uploaded yet: epoch {', '.join(map(str, sorted(context.memory.owed)))}")
    context.say_without_prompt("  Session ended" if not problem else "  Session ended without the arm driver")
    return Quit(EXIT_EXPLAINED if problem else 0)


def end_interrupted(context: Context) -> Steps[Next]:
    """After a signal: the arms are in damping mode; save while they are released, all within a bound."""
    arms, observed = context.arms, context.observed
    until_ns = observed.now_ns + int(_ENDING_S * NS_PER_S)
    driver_lives = not arms.driver_is_silent and "arm_driver" not in observed.lost
    if driver_lives and not observed.arms_are_released:
        _announce(context)
        yield from context.calls.call("arm_driver/release", {}, 1.0)  # refused if it is ending by itself: as well
    yield from close_episode(context, (until_ns - observed.now_ns) / NS_PER_S)
    if driver_lives:
        left_s = max(0.0, (until_ns - observed.now_ns) / NS_PER_S)
        yield Wait(lambda: observed.arms_are_released or arms.driver_is_silent, left_s)
    context.say_without_prompt("  Session interrupted")
    return Quit(130)


def _announce(context: Context) -> None:
    seconds = context.config.release_warning_s
    context.say_without_prompt(f"  The arms return to the robot's own controller in {seconds:g} s: stand clear")
    context.announce_release()
