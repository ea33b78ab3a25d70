"""WAITING: ask the policy server until it has new weights."""

from __future__ import annotations

from h1_session_manager.context import Context, counted
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.states.stopped import release_arms
from h1_session_manager.steps import Fire, Next, Steps, Wait, pause
from h1_session_manager.table import Row, State
from h1_session_manager.values import Poll, Polled
from h1_training_node.message_numbers import Level

_POLLER_S = 20.0
"""The poller itself stops after 5 s to connect and 5 s to read."""


class Waiting(BaseState):
    """The arms hold; the policy server trains, or has nothing new."""

    name = State.WAITING
    arms = "HOLD"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._error = ""
        self._reported_lower: int | None = None

    def text(self) -> StateText:
        quit_line = "Press 'q' to end the session (the arms return to the robot's own controller: stand clear)"
        return StateText(("[WAITING] Polling policy server for new weights...", f"  {quit_line}"), "", quit_line)

    def idle(self) -> Steps[Next]:
        """Poll until there are new weights."""
        context = self.context
        while True:
            context.observed.polled = None
            context.emit(Poll())
            polled = (yield Wait(lambda: context.observed.polled, _POLLER_S)) or Polled(
                error="the poller did not answer"
            )
            self._report_error(polled.error)
            if not polled.error and polled.ready and polled.epoch > context.last_seen:
                context.offered = polled.epoch
                return Fire("new_weights")
            self._look_at_lower(polled)
            yield from pause(context.config.poll_interval_s)

    def _report_error(self, error: str) -> None:
        """Once per change, not per poll."""
        context = self.context
        if error == self._error:
            return
        if error:
            context.say(f"Failed to poll training status: {error}")
            context.event(Level.WARN, "poll_failed", error)
        else:
            context.say("  The policy server answers again")
            context.event(Level.INFO, "poll_answered", "the policy server answers again")
        self._error = context.reason = error
        context.revision += 1

    def _look_at_lower(self, polled: Polled) -> None:
        context = self.context
        is_lower = not polled.error and polled.ready and polled.epoch < context.last_seen
        context.lower_epoch = polled.epoch if is_lower else None
        if is_lower and self._reported_lower != polled.epoch:
            line = f"The server offers epoch {polled.epoch}, below the last one seen, {context.last_seen}"
            line += ": an older checkpoint?"
            context.say(f"  {line}", f"  Press 'y' to accept epoch {polled.epoch} all the same")
            context.event(Level.WARN, "epoch_below_last", line)
            context.revision += 1
        self._reported_lower = context.lower_epoch
        if is_lower:
            context.offered = polled.epoch

    # --- what a person may ask for ---

    def no_lower_epoch(self) -> str:
        is_offered = self.context.lower_epoch is not None
        return "" if is_offered else "there is no lower epoch to accept; still polling for new weights"

    def take_epoch(self, _fire: Fire) -> None:
        """The epoch on offer is in work from now on."""
        context = self.context
        self._reported_lower = None
        context.epoch = context.last_seen = context.offered
        context.lower_epoch = None
        context.fresh_weights = True
        existing = context.count_episodes(context.epoch)
        context.number = existing + 1
        if existing:
            exist = f"{counted(existing, 'episode')} exist{'s' if existing == 1 else ''}"
            context.say(f"  Epoch {context.epoch} was begun before: {exist}, the next is episode {context.number}")

    def quit(self) -> Steps[Next]:
        return release_arms(self.context)

    rows = (
        Row("new_weights", State.READY, then=take_epoch),
        Row("accept", State.READY, "y", "accept an epoch below the last one", refuses=no_lower_epoch, then=take_epoch),
        Row("quit", None, "q", "end the session (the arms return to the robot's own controller)",
            doing="ending the session", begin=quit),
    )  # fmt: skip
