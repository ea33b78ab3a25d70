# SPDX-License-Identifier: Apache-2.0
"""WAITING: ask the policy server until it has new weights; one that reports no training is used as it is."""

from __future__ import annotations

from h1_session_manager.context import Context
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.states.stopped import release_arms
from h1_session_manager.steps import Fire, Next, Steps, Wait
from h1_session_manager.table import Row, State
from h1_session_manager.values import Poll, Polled
from h1_session_manager.words import curve_in_words, training_in_words
from h1_training_node.message_numbers import Level

_POLLER_S = 20.0
"""The poller itself stops after 5 s to connect and 5 s to read."""
_QUIT = "Press 'q' to end the session (the arms return to the robot's own controller: stand clear)"


class Waiting(BaseState):
    """The arms hold; the policy server trains, or has nothing new."""

    name = State.WAITING
    arms = "HOLD"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._served_epoch = context.config.policy_epoch
        self._reports_training = context.config.training_status != "none"
        self._error = ""
        self._training = self._said_training = self._said_curve = ""
        self._reported_lower: int | None = None

    def text(self) -> StateText:
        if self._reports_training:
            return StateText(("[WAITING] Polling policy server for new weights...", f"  {_QUIT}"), "", _QUIT)
        ask = f"Press 'y' to start epoch {self._served_epoch} with the weights that are served"
        first = f"[WAITING] This server reports no training; epoch {self._served_epoch} is used"
        return StateText((first, f"  {ask}", f"  {_QUIT}"), "", f"{ask}, 'q' to end the session")

    def reason(self) -> str:
        return super().reason() or self._training

    def enter(self) -> Steps[Next]:
        self.context.on_offer = None
        return self.idle()

    def idle(self) -> Steps[Next]:
        """Poll until there are new weights."""
        context = self.context
        while True:
            if context.config.training_status == "none":
                found = self._look_at_served()
            else:
                context.observed.polled = None
                context.emit(Poll())
                no_answer = Polled(error="the poller did not answer")
                found = self._look_at((yield Wait(lambda: context.observed.polled, _POLLER_S)) or no_answer)
            if found is not None:
                return found
            yield Wait(self._has_other_weights, context.config.poll_interval_s)

    def _look_at(self, polled: Polled) -> Fire | None:
        """What a reply leads to."""
        context = self.context
        if polled.is_unsupported and context.config.training_status == "auto":
            self._report_error("")
            self._set_reports_training(False)
            return self._look_at_served()
        advice = "; set policy_server.training_status to none for a server that reports no training"
        self._report_error(f"{polled.error}{advice}" if polled.is_unsupported else polled.error)
        if polled.error:
            self._offer(None)
            return None
        self._set_reports_training(True)
        self._report_training(polled)
        is_first = context.config.start_immediately and context.epoch < 0
        if polled.ready and (polled.epoch > context.last_seen or is_first):
            context.offered = polled.epoch
            return Fire("new_weights")
        self._look_at_lower(polled)
        return None

    def _look_at_served(self) -> Fire | None:
        """A server that reports no training: its weights are on offer; other ones than before are new weights."""
        context = self.context
        if self._has_other_weights():
            self._served_epoch = context.epoch + 1
            policy = context.observed.policy
            assert policy is not None
            context.say(f"  The server has other weights than before: {policy.metadata_change or policy.checkpoint}")
            context.offered = self._served_epoch
            return Fire("new_weights")
        if context.config.start_immediately and context.epoch < 0:
            context.offered = self._served_epoch
            return Fire("new_weights")
        self._offer(self._served_epoch)
        return None

    def _has_other_weights(self) -> bool:
        """Whether a server that reports no training shows it by its metadata: it came back with others."""
        policy, served = self.context.observed.policy, self.context.served
        if self._reports_training or self.context.epoch < 0 or policy is None:
            return False
        return bool(served) and policy.metadata_digest not in ("", served)

    def _set_reports_training(self, reports: bool) -> None:
        """Whether it does has shown now; said once, when it differs from what was taken for granted."""
        if reports == self._reports_training:
            return
        self._reports_training = reports
        context, text = self.context, self.text()
        said = "the policy server reports its training" if reports else text.lines[0].partition("] ")[2]
        context.say(f"  {said[0].upper()}{said[1:]}", *(() if reports else text.lines[1:2]))
        context.event(Level.INFO, "training_status", said)
        context.revision += 1

    def _offer(self, epoch: int | None) -> None:
        """`epoch` needs a person's 'y'; None: nothing does."""
        context = self.context
        if context.on_offer != epoch:
            context.on_offer = epoch
            context.revision += 1
        if epoch is not None:
            context.offered = epoch

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

    def _report_training(self, polled: Polled) -> None:
        """What the server says of its training: a line when phase or reason change, progress in `session/state`."""
        doing = training_in_words(polled.phase, polled.progress)
        training = ": ".join(part for part in (doing, polled.reason) if part)
        if training != self._training:
            self._training = training
            self.context.revision += 1
        if (said := f"{polled.phase}: {polled.reason}") != self._said_training:
            self._said_training = said
            if training:
                self.context.say(f"  Policy server: {training}")
        if (curve := curve_in_words(polled.curve)) != self._said_curve:
            self._said_curve = curve
            if curve:
                self.context.say(f"  Policy server: {curve}")

    def _look_at_lower(self, polled: Polled) -> None:
        context = self.context
        is_lower = polled.ready and polled.epoch < context.last_seen
        if is_lower and self._reported_lower != polled.epoch:
            line = f"The server offers epoch {polled.epoch}, below the last one seen, {context.last_seen}"
            line += ": an older checkpoint?"
            context.say(f"  {line}", f"  Press 'y' to accept epoch {polled.epoch} all the same")
            context.event(Level.WARN, "epoch_below_last", line)
        self._reported_lower = polled.epoch if is_lower else None
        self._offer(self._reported_lower)

    # --- what a person may ask for ---

    def nothing_on_offer(self) -> str:
        if self.context.on_offer is not None:
            return ""
        return "there is no lower epoch to accept; still polling for new weights"

    def take_epoch(self, _fire: Fire) -> None:
        """The epoch on offer is in work from now on."""
        context = self.context
        self._reported_lower = None
        context.epoch = context.last_seen = context.offered
        context.fresh_weights = True
        context.note_served()
        context.number = context.next_index(context.epoch)
        if context.number:
            context.say(f"  Epoch {context.epoch} was begun before; the next is episode {context.number}")

    def quit(self) -> Steps[Next]:
        return release_arms(self.context)

    rows = (
        Row("new_weights", State.READY, then=take_epoch),
        Row("accept", State.READY, "y", "start the epoch on offer", refuses=nothing_on_offer, then=take_epoch),
        Row("quit", None, "q", "end the session (the arms return to the robot's own controller)",
            doing="ending the session", begin=quit),
    )  # fmt: skip
