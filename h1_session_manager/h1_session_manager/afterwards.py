"""What is done about replies that nobody waits for any more."""

from __future__ import annotations

from h1_session_manager.blackboard import Blackboard
from h1_session_manager.procedure import Late
from h1_session_manager.values import Bell, Reply
from h1_training_node.message_numbers import ArmMode, Level


def settle(board: Blackboard, late: Late, reply: Reply) -> None:
    """What was done after all, though it was taken back or taken for lost: undone, or told to the person."""
    if not reply.accepted:
        return
    if late.service == "recorder/start":
        _discard(board, str(reply.fields.get("episode_id", "")))
    elif late.service == "arm_driver/set_mode" and late.is_overdue and late.fields["mode"] != ArmMode.DAMPING:
        mode = ArmMode(late.fields["mode"]).name
        text = f"arm_driver has answered after all: it brought the arms into {mode}; look at them before you go on"
        board.say(f"  {text}")
        board.desk.emit(Bell())
        board.tell(Level.WARN, "late_answer", text)


def _discard(board: Blackboard, episode_id: str) -> None:
    """An episode opened after all must not stay open."""
    if episode_id:
        fields = {"episode_id": episode_id, "why": "the start was taken back"}
        board.desk.post("recorder/discard", fields, lambda _reply: None, board.world.now_ns)
