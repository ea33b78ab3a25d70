# SPDX-License-Identifier: Apache-2.0
"""READY: the checks before an episode are listed until they are good, then the episode is begun."""

from __future__ import annotations

from h1_session_manager.episode import EpisodeState
from h1_session_manager.preflight import Preflight
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.steps import Fire, Next, Steps, Wait, pause
from h1_session_manager.table import Row, State, When
from h1_session_manager.values import Probe
from h1_session_manager.words import in_words
from h1_training_node.message_numbers import ArmMode, RecorderState

_PREFLIGHT_GRACE_S = 3.0
_SETTLE_S = 1.0


class Ready(BaseState):
    """The arms hold; an episode may begin once nothing stands in the way."""

    name = State.READY
    arms = "HOLD"
    needs_person = True

    def text(self) -> StateText:
        context, fault = self.context, self.context.observed.fault
        first = f"[READY] Epoch {context.epoch}, episode {context.number}"
        if context.fresh_weights:
            first = "[READY] New weights available!"
        moves = f"'y' {f'acknowledges {in_words(fault)!r}, then ' if fault else ''}moves the arms: "
        moves += "home first, then the policy. Stand clear"
        ask = f"Press 'y' to start epoch {context.epoch}, 'n' to skip"
        owed = ("  'n' uploads what is owed first",) if context.memory.owed else ()
        return StateText((first, f"  {moves}", *owed), f"  {ask}: ", f"{ask} ({moves})")

    def reason(self) -> str:
        return self.context.preflight().reason

    def enter(self) -> Steps[Next]:
        """Hold the arms, leave nothing open from before, and show the checks."""
        context = self.context
        yield from self.hold_after_deciding("ready")
        if context.config.rsync_target:
            context.observed.target = None
            context.emit(Probe())
        recorder = context.observed.recorder
        if recorder is not None and recorder.state is RecorderState.RECORDING and not context.episode.is_open:
            context.say(f"  The recorder still had {recorder.episode_id} open; it is being closed")
            fields = {"episode_id": recorder.episode_id, "end_reason": "left_open", "outcome": "unlabeled"}
            yield from context.calls.call("recorder/finish", fields)
        return (yield from self.idle())

    def idle(self) -> Steps[Next]:
        """Say how the checks stand, once they are good or time is up, and again when that has changed for good."""
        context = self.context
        yield Wait(lambda: not context.preflight().problems, _PREFLIGHT_GRACE_S)
        known: tuple[str, ...] | None = None
        while True:
            checks = context.preflight()
            if (subjects := _subjects(checks)) != known:
                self._say(checks)
                known = subjects
            yield Wait(lambda known=known: _subjects(context.preflight()) != known, None)  # type: ignore[misc]
            yield from pause(_SETTLE_S)

    def _say(self, checks: Preflight) -> None:
        context = self.context
        if checks.problems:
            context.say(*(f"  Not ready: {problem}" for problem in checks.problems))
        else:
            context.say(checks.cameras, *([f"  Images: {checks.images}"] if checks.images else []))
        if checks.warnings:
            context.say(*(f"  Warning: {warning}" for warning in checks.warnings))
        context.revision += 1

    # --- what a person may ask for ---

    def not_ready(self) -> str:
        reason = self.context.preflight().reason
        return f"Not ready: {reason}" if reason else ""

    def start(self) -> Steps[Next]:
        """Announce the motion, open the episode, send the arms home."""
        context, arms, episode = self.context, self.context.arms, self.context.episode
        if problem := (yield from arms.settle("start")) or context.preflight().reason:
            return context.refused(problem)
        yield from context.countdown("The arms move home, then the policy moves them,")
        if problem := arms.not_holding() or context.preflight().reason:
            return context.refused(problem)
        if problem := (yield from episode.start(context.epoch, context.number, context.preflight().dummies)):
            return context.refused(f"recorder: {problem}")
        context.number = episode.index  # the recorder's word, whatever has come into the folder meanwhile
        context.cancellable = False
        context.arms_mark_ns = context.observed.arms_since_ns
        if problem := (yield from arms.ask(ArmMode.HOME, "start")):
            undone = yield from episode.discard("the arms did not start")
            episode.state = EpisodeState.FAILED if undone else EpisodeState.DISCARDED
            return context.refused(problem)
        return Fire("start")

    def begun(self, _fire: Fire) -> None:
        self.context.note_served()
        self.context.episode.reset_labels()

    def skipped(self, _fire: Fire) -> None:
        """An epoch with episodes to upload is finished by that upload."""
        context = self.context
        if context.epoch not in context.memory.owed:
            context.remember(context.memory.with_finished(context.epoch, "skipped"))

    rows = (
        Row("start", State.EXECUTING, "y", "start the episode (the arms move)", motion=True,
            doing="starting the episode", begin=start, refuses=not_ready, then=begun),
        Row("skip", State.WAITING, "n", "skip", when=When.NOT_OWED, then=skipped),
        Row("skip", State.SYNCING, "n", "skip and upload what is owed", when=When.OWED, then=skipped),
    )  # fmt: skip


def _subjects(checks: Preflight) -> tuple[str, ...]:
    """What the problems and warnings are about; ages and figures in them change all the time. With dummies: which."""
    subjects = tuple(problem.partition(":")[0] for problem in (*checks.problems, *checks.warnings))
    return subjects if checks.problems else (checks.cameras, *subjects)
