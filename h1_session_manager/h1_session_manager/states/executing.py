# SPDX-License-Identifier: Apache-2.0
"""EXECUTING: home, the first actions, the policy, and the policy again after a short silence."""

from __future__ import annotations

from h1_session_manager.context import Context
from h1_session_manager.states.base import LimitedState, StateText
from h1_session_manager.steps import Fire, Next, Steps, Wait, pause
from h1_session_manager.table import Row, State
from h1_session_manager.values import Bell, SayAloud
from h1_session_manager.words import MEANINGS, in_words
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Connection, Level

_ATTEMPTS = 5
_AGAIN_S = 0.2
_SAID_AFTER_S = 1.0
_FORGOTTEN_AFTER_S = 5.0
"""Arms that stood for longer are no longer expected to move: it is announced again."""


class Executing(LimitedState):
    """The arms go home, then follow the policy.

    Attributes:
        policy_since_ns: when the policy got the arms in this entry; None: not yet.
        waits_for: what the arms stand still for, and that they will move; empty if they do not, or not for long.
    """

    name = State.EXECUTING
    arms = "HOME, POLICY"
    limited = "execution"
    limit_trigger = "finish"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.policy_since_ns: int | None = None
        self.waits_for = ""

    def text(self) -> StateText:
        ask = "Press 's' to stop execution and enter damping mode"
        first = f"[EXECUTING] Running policy (epoch {self.context.epoch})"
        return StateText((first, f"  {ask}", "  Press 'q' for an emergency stop"), "", ask)

    def limit(self) -> tuple[int | None, float]:
        return self.policy_since_ns, self.context.config.max_execution_s

    def reason(self) -> str:
        return self.waits_for or super().reason()

    def demands(self) -> Fire | None:
        context = self.context
        if why := context.arms.forced(context.arms_mark_ns):
            return arm_fault(why)
        if why := context.episode.closed_by_recorder():
            return Fire("finish", f"recorder: {why}", "recorder_closed")
        return super().demands()

    def enter(self) -> Steps[Next]:
        """From HOME (after READY) or HOLD (after DAMPING) until the policy is over."""
        context = self.context
        self.policy_since_ns, self.waits_for = None, ""
        from_ready = context.comes_from is State.READY
        if from_ready and (problem := (yield from context.arms.arrive_home(context.arms_mark_ns))):
            return Fire("arm_fault", problem, "home_failed")
        timeout_s = context.config.first_chunk_timeout_s
        while True:
            hold_ns = context.observed.arms_since_ns
            if problem := (yield from self._hand_over(hold_ns, timeout_s)):
                return Fire("finish", problem, "policy_lost")
            if self.policy_since_ns is None:
                self.policy_since_ns = context.observed.now_ns
            code = yield Wait(self._over, None)
            if code != "stale_action":
                return Fire("finish", _said(code), code)
            context.say("  The policy went silent: the arms hold until it is back")
            context.event(Level.WARN, "stale_action", "waiting for the policy to come back")
            timeout_s = context.config.policy_silence_timeout_s

    def _hand_over(self, hold_ns: int, timeout_s: float) -> Steps[str]:
        """From the HOLD entered at `hold_ns` to POLICY, once its first actions are there."""
        context = self.context
        problem = ""
        for _attempt in range(_ATTEMPTS):
            if not (yield from self._await_actions(hold_ns, timeout_s)):
                return self._silence(timeout_s)
            if not self._chunk_is_ready(hold_ns):
                problem = "its actions were withdrawn"  # while they were announced
                continue
            problem = yield from context.arms.ask(ArmMode.POLICY, "chunk_ready")
            if not problem:
                entered = yield Wait(lambda: context.observed.arms_since_ns > hold_ns, context.config.call_timeout_s)
                return "" if entered else "arm_driver accepted the policy but did not enter POLICY"
            yield from pause(_AGAIN_S)
        return f"arm_driver refuses the policy: {problem}"

    def _await_actions(self, hold_ns: int, timeout_s: float) -> Steps[bool]:
        """Until there are actions for the HOLD of `hold_ns`; arms that stood for long do not start unannounced."""
        context, began_ns = self.context, self.context.observed.now_ns
        said_s = min(_SAID_AFTER_S, timeout_s)
        if (yield Wait(lambda: self._chunk_is_ready(hold_ns), said_s)):
            return True
        if timeout_s <= said_s:
            return False
        which = "next" if self.policy_since_ns else "first"
        text = f"The arms hold and wait for the policy's {which} actions; they will move without a further key"
        self._set_waits_for(text)
        context.say(f"  {text}")
        context.emit(SayAloud(f"{text}."))
        ready = yield Wait(lambda: self._chunk_is_ready(hold_ns), timeout_s - said_s)
        self._set_waits_for("")
        if ready and context.observed.now_ns - began_ns > _FORGOTTEN_AFTER_S * NS_PER_S:
            # The countdown once more. Any key ends the execution with compliant arms, as 's' does.
            context.emit(Bell())
            context.cancellable = True
            yield from context.countdown("The policy moves the arms")
            context.cancellable = False
        return bool(ready)

    def _set_waits_for(self, text: str) -> None:
        self.waits_for = text
        self.context.revision += 1

    def _chunk_is_ready(self, hold_ns: int) -> bool:
        policy, arm = self.context.observed.policy, self.context.observed.arm
        if policy is None or arm is None or arm.mode is not ArmMode.HOLD or arm.since_ns != hold_ns:
            return False
        return policy.chunk_ready and policy.stamp_ns >= hold_ns

    def _over(self) -> str:
        """Why the policy does not move the arms any more; empty while it does."""
        arm, policy = self.context.observed.arm, self.context.observed.policy
        if arm is not None and arm.mode is ArmMode.HOLD:
            return arm.reason or "hold"
        if policy is not None and policy.done and self.policy_since_ns and policy.stamp_ns > self.policy_since_ns:
            return "policy_done"
        return ""

    def _silence(self, timeout_s: float) -> str:
        policy = self.context.observed.policy
        text = f"no action from the policy within {timeout_s:g} s"
        if policy is None:
            return f"{text}: policy_bridge was never heard"
        if policy.connection is not Connection.CONNECTED:
            text += f" ({policy.connection.name.lower()})"
        return f"{text}: {policy.reason}" if policy.reason else text

    # --- what follows from leaving it ---

    def stopped(self, _fire: Fire) -> None:
        self.context.episode.end_reason = "operator"

    def ended(self, fire: Fire) -> None:
        self.context.episode.end_reason = fire.code or fire.trigger

    rows = (
        Row("stop", State.DAMPING, "s", "stop execution and enter damping mode", then=stopped),
        Row("finish", State.LABELING, then=ended),
        Row("arm_fault", State.DAMPING, then=ended),
    )


def arm_fault(why: str) -> Fire:
    """The arms were taken from the session."""
    return Fire("arm_fault", why, why if why.isidentifier() else "arm_fault")


def _said(code: str) -> str:
    if code == "policy_done":
        return "the policy says that it is done"
    return f"the arms hold: {in_words(code)}{': ' if code in MEANINGS else ''}{MEANINGS.get(code, '')}"
