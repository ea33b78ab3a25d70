# SPDX-License-Identifier: Apache-2.0
"""DAMPING: a person guides the compliant arms; then the episode ends, or the policy goes on from there."""

from __future__ import annotations

from h1_session_manager.preflight import policy_problem
from h1_session_manager.states.base import LimitedState, StateText
from h1_session_manager.steps import Fire, Next, Steps, Wait, stay
from h1_session_manager.table import Row, State
from h1_session_manager.words import in_words
from h1_training_node.message_numbers import ArmMode, Level

_AGAIN_S = 1.0
DISCARDED = "  Discarded (kept for a week in .discarded)"


class Damping(LimitedState):
    """The arms are compliant, gravity is carried; what the person does is recorded."""

    name = State.DAMPING
    arms = "DAMPING"
    limited = "guidance by hand"
    limit_trigger = "end"

    def text(self) -> StateText:
        if closed := self.context.episode.closed_by_recorder():
            return StateText((f"[DAMPING] NOT RECORDING: {closed}",), "", f"NOT RECORDING: {closed}")
        resume = f"Press 'r' to {self.acknowledging()}resume the policy from here (the arms move)"
        lines = [
            "[DAMPING] Robot in damping mode - adjust pose freely",
            "  Press 'e' to end epoch and save",
            f"  {resume}",
            "  Press 'x' twice to discard the episode",
        ]
        if self.context.reason:
            lines.append(f"  Reason: {in_words(self.context.reason)}")
        return StateText(tuple(lines), "", f"Press 'e' to end epoch and save. {resume}, 'x' twice to discard")

    def limit(self) -> tuple[int | None, float]:
        return self.context.since_ns, self.context.config.max_damping_s

    def demands(self) -> Fire | None:
        """Guidance that nobody records is not asked for: on to what the recorder has made of the episode."""
        context = self.context
        if context.doing or not (closed := context.episode.closed_by_recorder()):
            return super().demands()
        context.say(f"  NOT RECORDING: {closed}")
        context.event(Level.ERROR, "not_recording", closed)
        return Fire("end", f"not recording: {closed}", "recorder_closed")

    def enter(self) -> Steps[Next]:
        context = self.context
        said = ""
        while problem := (yield from context.arms.ask(ArmMode.DAMPING, context.reason or "requested")):
            if problem != said:
                context.report_stiff(problem)
                said = problem
            if (yield Wait(lambda: context.observed.arm_mode is ArmMode.DAMPING, _AGAIN_S)):
                break
        return (yield from stay())

    # --- what a person may ask for ---

    def cannot_resume(self) -> str:
        context, observed = self.context, self.context.observed
        if closed := context.episode.closed_by_recorder():
            return f"Cannot resume: {closed}; press 'e'"
        if observed.policy is None or observed.age_s("policy") > context.config.status_timeout_s:
            return "Cannot resume: policy_bridge is silent; does it run?"
        problem = policy_problem(observed.policy, context.epoch)
        return f"Cannot resume: {problem}" if problem else ""

    def resume(self) -> Steps[Next]:
        context = self.context
        problem = yield from context.arms.settle("resume")
        if not problem:
            yield from context.countdown("The policy moves the arms from here")
            problem = context.arms.not_holding() or self.cannot_resume()
        if not problem:
            context.arms_mark_ns = context.observed.arms_since_ns
            return Fire("resume")
        context.cancellable = False
        context.refused(problem)
        return (yield from context.undo_motion())

    def resumed(self, _fire: Fire) -> None:
        self.context.episode.reset_labels()

    def ended(self, fire: Fire) -> None:
        if fire.code:
            self.context.episode.end_reason = fire.code

    def discard(self) -> Steps[Next]:
        context = self.context
        if problem := (yield from context.episode.discard("operator")):
            return context.refused(f"Not discarded: {problem}")
        context.say(DISCARDED)
        return Fire("discard")

    rows = (
        Row("end", State.SAVING, "e", "end epoch and save", then=ended),
        Row("resume", State.EXECUTING, "r", "resume the policy (the arms move)", motion=True,
            doing="resuming the policy", begin=resume, refuses=cannot_resume, then=resumed),
        Row("discard", State.DECIDING, "x", "discard the episode", twice=True,
            doing="discarding the episode", begin=discard),
    )  # fmt: skip
