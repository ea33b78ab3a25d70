# SPDX-License-Identifier: Apache-2.0
"""LABELING: the execution is over by itself; did it succeed?"""

from __future__ import annotations

from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.states.executing import arm_fault
from h1_session_manager.steps import Fire, Next, Steps, stay
from h1_session_manager.table import Row, State


class Labeling(BaseState):
    """The arms hold where the policy left them; the journal stays open, without rows."""

    name = State.LABELING
    arms = "HOLD"
    needs_person = True

    def text(self) -> StateText:
        why = f": {self.context.reason}" if self.context.reason else ""
        ask = "Did it succeed? Press 'y' for success, 'n' for failure (the arms then become compliant)"
        return StateText((f"[LABELING] Execution ended{why}",), f"  {ask}: ", ask)

    def demands(self) -> Fire | None:
        why = self.context.arms.forced(self.context.arms_mark_ns)
        return arm_fault(why) if why else None

    def enter(self) -> Steps[Next]:
        if problem := (yield from self.context.arms.hold("finish")):
            return Fire("arm_fault", problem, "hold_failed")
        return (yield from stay())

    def labelled(self, fire: Fire) -> None:
        self.context.episode.outcome = fire.trigger

    def fault(self, fire: Fire) -> None:
        self.context.episode.end_reason = fire.code or fire.trigger

    rows = (
        Row("success", State.DAMPING, "y", "it succeeded", then=labelled),
        Row("failure", State.DAMPING, "n", "it failed", then=labelled),
        Row("arm_fault", State.DAMPING, then=fault),
    )
