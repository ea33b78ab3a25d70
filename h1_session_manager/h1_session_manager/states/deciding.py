# SPDX-License-Identifier: Apache-2.0
"""DECIDING: another episode, or the upload; the saved episode is marked or discarded."""

from __future__ import annotations

from h1_session_manager.episode import EpisodeState
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.states.damping import DISCARDED
from h1_session_manager.steps import Fire
from h1_session_manager.table import Row, State
from h1_session_manager.values import Reply


class Deciding(BaseState):
    """The arms stay compliant until a key says that they become stiff."""

    name = State.DECIDING
    arms = "DAMPING"
    needs_person = True

    def text(self) -> StateText:
        lines = [
            "[DECIDING] What's next?",
            "  Press 'y' to start another epoch",
            "  Press 'n' to finish training session",
            "  The arms become stiff, where they are, with 'y' and 'n'",
        ]
        if self.context.episode.state is EpisodeState.SAVED:
            lines.append("  Press 'g' / 'b' to mark the episode as success / failure, 'x' twice to discard it")
        ask = "Press 'y' to start another epoch, 'n' to finish training session (the arms become stiff)"
        return StateText(tuple(lines), "", ask)

    # --- what a person may ask for ---

    def no_episode(self) -> str:
        is_saved = self.context.episode.state is EpisodeState.SAVED
        return "" if is_saved else "there is no saved episode to mark or discard"

    def another(self, _fire: Fire) -> None:
        """The labels are final, the next episode has its own number."""
        context = self.context
        context.number = context.next_index(context.epoch)
        context.upload_later()
        context.fresh_weights = False

    def good(self) -> None:
        self._mark("success")

    def bad(self) -> None:
        self._mark("failure")

    def _mark(self, outcome: str) -> None:
        def marked(reply: Reply) -> None:
            if reply.accepted:
                self.context.episode.outcome = outcome
            self.context.say(f"  Marked as {outcome}" if reply.accepted else f"  Not marked: {reply.reason}")

        self.context.episode.post_label(outcome, marked)

    def discard(self) -> None:
        def discarded(reply: Reply) -> None:
            if reply.accepted:
                self.context.episode.state = EpisodeState.DISCARDED
            self.context.say(DISCARDED if reply.accepted else f"  Not discarded: {reply.reason}")

        self.context.episode.post_discard("operator", discarded)

    rows = (
        Row("another", State.READY, "y", "start another epoch", then=another),
        Row("finish", State.SYNCING, "n", "finish training session"),
        Row("good", State.DECIDING, "g", "mark the episode as a success", begin=good, refuses=no_episode),
        Row("bad", State.DECIDING, "b", "mark the episode as a failure", begin=bad, refuses=no_episode),
        Row("discard", State.DECIDING, "x", "discard the episode", twice=True, begin=discard, refuses=no_episode),
    )
