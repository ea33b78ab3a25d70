"""WAITING: ask the policy server until it has new weights."""

from __future__ import annotations

from h1_session_manager import lines
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.values import Poll, Polled, Say
from h1_training_node.message_numbers import Level

_POLLER_S = 20.0
"""The poller itself gives up after 5 s to connect and 5 s to read."""


class Waiting:
    """The procedure of WAITING, and how an epoch is taken up."""

    def __init__(self, board: Blackboard) -> None:
        self._board = board
        self._error = ""
        self._told_lower: int | None = None

    def poll(self) -> Steps[Outcome]:
        """Poll until there are new weights."""
        board = self._board
        while True:
            board.world.polled = None
            board.desk.emit(Poll())
            polled = (yield Wait(lambda: board.world.polled, _POLLER_S)) or Polled(error="the poller gave no answer")
            self._tell_error(polled.error)
            if not polled.error and polled.ready and polled.epoch > board.last_seen:
                board.offered = polled.epoch
                return Fire("new_weights")
            self._look_at_lower(polled)
            yield Wait(lambda: False, board.config.poll_interval_s)

    def take_epoch(self) -> None:
        """The epoch on offer is in work from now on."""
        board = self._board
        self._told_lower = None
        board.epoch = board.last_seen = board.offered
        board.lower_epoch = None
        board.fresh_weights = True
        existing = board.count_episodes(board.epoch)
        board.number = existing + 1
        if existing:
            exist = f"{lines.counted(existing, 'episode')} exist{'s' if existing == 1 else ''}"
            board.say(f"  Epoch {board.epoch} was begun before: {exist}, the next is episode {board.number}")

    def _tell_error(self, error: str) -> None:
        """Once per change, not per poll."""
        board = self._board
        if error == self._error:
            return
        if error:
            board.say(lines.poll_failed(error))
            board.tell(Level.WARN, "poll_failed", error)
        else:
            board.say("  The policy server answers again")
            board.tell(Level.INFO, "poll_answered", "the policy server answers again")
        self._error = board.reason = error
        board.revision += 1

    def _look_at_lower(self, polled: Polled) -> None:
        board = self._board
        is_lower = not polled.error and polled.ready and polled.epoch < board.last_seen
        board.lower_epoch = polled.epoch if is_lower else None
        if is_lower and self._told_lower != polled.epoch:
            line, ask = lines.lower_epoch(polled.epoch, board.last_seen)
            board.desk.emit(Say((line, f"  {ask}")))
            board.tell(Level.WARN, "epoch_below_last", line.strip())
            board.revision += 1
        self._told_lower = board.lower_epoch
        if is_lower:
            board.offered = polled.epoch
