"""Before the arms move by themselves: said, spoken, counted down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager import lines
from h1_session_manager.procedure import NS_PER_S, Steps, Wait
from h1_session_manager.values import Speak

if TYPE_CHECKING:
    from h1_session_manager.session import Session


def countdown(session: Session, what: str) -> Steps[None]:
    """Announce `what`, on the screen and aloud, and wait for as long as that says."""
    seconds = session.config.motion_countdown
    if seconds > 0:
        session.say_without_prompt(lines.countdown(seconds, what))
        session.desk.emit(Speak(f"{what.rstrip(',')} in {seconds:g} seconds."))
        session.announced_ns = session.world.now_ns + int(seconds * NS_PER_S)
        yield Wait(lambda: False, seconds)
    session.announced_ns = None
