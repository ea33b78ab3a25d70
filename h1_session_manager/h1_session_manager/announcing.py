"""Before the arms move by themselves: said, spoken, counted down."""

from __future__ import annotations

from h1_session_manager import lines
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.values import Speak
from h1_training_node.clock import NS_PER_S


def countdown(board: Blackboard, what: str) -> Steps[None]:
    """Announce `what`, on the screen and aloud, and wait for as long as that says."""
    seconds = board.config.motion_countdown_s
    if seconds > 0:
        board.say_without_prompt(lines.countdown(seconds, what))
        board.desk.emit(Speak(f"{what.rstrip(',')} in {seconds:g} seconds."))
        board.announced_ns = board.world.now_ns + int(seconds * NS_PER_S)
        yield Wait(lambda: False, seconds)
    board.announced_ns = None
