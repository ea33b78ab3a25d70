"""WAITING: ask the policy server until it has new weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager import lines
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.values import Poll, Polled, Say
from h1_training_node.message_numbers import Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session

_POLLER_S = 20.0
"""The poller itself gives up after 5 s to connect and 5 s to read."""


class Waiting:
    """The procedure of WAITING, and how an epoch is taken up."""

    def __init__(self, session: Session) -> None:
        self._s = session
        self._error = ""
        self._told_lower: int | None = None

    def poll(self) -> Steps[Outcome]:
        """Poll until there are new weights."""
        s = self._s
        while True:
            s.world.polled = None
            s.desk.emit(Poll())
            polled = (yield Wait(lambda: s.world.polled, _POLLER_S)) or Polled(error="the poller gave no answer")
            self._tell_error(polled.error)
            if not polled.error and polled.ready and polled.epoch > s.last_seen:
                s.offered = polled.epoch
                return Fire("new_weights")
            self._look_at_lower(polled)
            yield Wait(lambda: False, s.config.poll_interval)

    def take_epoch(self) -> None:
        """The epoch on offer is in work from now on."""
        s = self._s
        self._told_lower = None
        s.epoch = s.last_seen = s.offered
        s.lower_epoch = None
        s.fresh_weights = True
        existing = s.count_episodes(s.epoch)
        s.number = existing + 1
        if existing:
            s.say(f"  Epoch {s.epoch} was begun before: {existing} episodes exist, the next is episode {s.number}")

    def _tell_error(self, error: str) -> None:
        """Once per change, not per poll."""
        s = self._s
        if error == self._error:
            return
        if error:
            s.say(lines.poll_failed(error))
            s.tell(Level.WARN, "poll_failed", error)
        else:
            s.say("  The policy server answers again")
            s.tell(Level.INFO, "poll_answered", "the policy server answers again")
        self._error = s.reason = error
        s.revision += 1

    def _look_at_lower(self, polled: Polled) -> None:
        s = self._s
        is_lower = not polled.error and polled.ready and polled.epoch < s.last_seen
        s.lower_epoch = polled.epoch if is_lower else None
        if is_lower and self._told_lower != polled.epoch:
            line, ask = lines.lower_epoch(polled.epoch, s.last_seen)
            s.desk.emit(Say((line, f"  {ask}")))
            s.tell(Level.WARN, "epoch_below_last", line.strip())
            s.revision += 1
        self._told_lower = s.lower_epoch
        if is_lower:
            s.offered = polled.epoch
