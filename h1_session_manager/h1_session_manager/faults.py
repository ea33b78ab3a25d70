# SPDX-License-Identifier: Apache-2.0
"""What may come at any time, whatever the session is doing: a stop of the arms, a fault, a label not written."""

from __future__ import annotations

from h1_session_manager.arm_control import WHO
from h1_session_manager.context import Context
from h1_session_manager.observed import DRIVER_HUNG, GUARD_TOOK_OVER
from h1_session_manager.steps import Fire
from h1_session_manager.table import EMERGENCY, State
from h1_session_manager.values import Reply
from h1_session_manager.words import in_words, meaning
from h1_training_node.message_numbers import ArmMode, Level, RecorderState

_STOPS = {
    GUARD_TOOK_OVER: "guard_took_over: the arm driver hangs or died; the arm guard holds the arms in damping",
    DRIVER_HUNG: "driver_hung: the arm driver stood still for too long; the arm guard releases the arms in its place",
}
_DAMPING = "Arms in damping mode"
_WHERE = {
    ArmMode.HOLD: "The arms hold where they are",
    ArmMode.RELEASED: "The robot's own controller has the arms",
}
"""Where the arms are when a fault comes; every other mode is left for DAMPING."""


class FaultReports:
    """Looks at what was observed after every input, and says each fault once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fault = ""
        self._label_error = ""

    def look(self) -> Fire | None:
        """Where the session must go now; None if nothing demands it."""
        context = self._context
        self._report_fault()
        self._report_label_failure()
        if context.table.state is State.STOPPED:
            return None
        if why := context.arms.stopped_by():
            return Fire(EMERGENCY, _STOPS.get(why, f"emergency stop of the arms: {in_words(why)}"))
        return context.state.demands()

    def _report_label_failure(self) -> None:
        """The recorder accepts a label at once; whether it got into the file shows later."""
        context, recorder, error = self._context, self._context.observed.recorder, ""
        if recorder is not None and recorder.state is RecorderState.SAVED and recorder.episode_id == context.episode.id:
            error = recorder.last_error
        if error and error != self._label_error:
            again = "; press 'g' or 'b' again" if context.table.state is State.DECIDING else ""
            context.say(f"  The label was not written: {error}{again}")
            context.event(Level.ERROR, "label_failed", f"{context.episode.id}: {error}")
        self._label_error = error

    def _report_fault(self) -> None:
        """A fault is said once, when it comes."""
        context = self._context
        fault = context.observed.fault
        if fault == self._fault:
            return
        self._fault = fault
        context.revision += 1
        if not fault or context.table.state is State.STOPPED:  # STOPPED has said already why the arms are in damping
            return
        mode = context.observed.arm_mode
        where = _WHERE.get(mode, _DAMPING) if mode is not None else _DAMPING
        context.say(f"  {where}: {in_words(fault)}", *([f"  {text}"] if (text := meaning(fault)) else []))
        if context.table.state in (State.EXECUTING, State.LABELING):
            return
        if mode is ArmMode.HOLD:
            self._make_compliant(fault)
        if question := context.state.text().question:
            context.say(f"  {question}")

    def _make_compliant(self, fault: str) -> None:
        """Arms that hold under a fault press against what blocks them; a person may be it."""
        context = self._context

        def answered(reply: Reply) -> None:
            if not reply.accepted:
                context.report_stiff(reply.reason)

        context.say("  They are put into damping mode")
        fields = {"who": WHO, "why": fault, "mode": int(ArmMode.DAMPING), "expected_mode": int(ArmMode.HOLD)}
        context.calls.post("arm_driver/set_mode", fields, answered, context.observed.now_ns)
