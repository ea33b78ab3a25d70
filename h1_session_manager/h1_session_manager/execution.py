"""EXECUTING: home, the first actions, the policy, and the policy again after a short silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.values import Connection
from h1_training_node.message_numbers import ArmMode, Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session

_ATTEMPTS = 5
_AGAIN_S = 0.2


class Execution:
    """The procedure of EXECUTING. `policy_since_ns`: when the policy got the arms in this entry; None: not yet."""

    def __init__(self, session: Session) -> None:
        self._s = session
        self.policy_since_ns: int | None = None

    def run(self) -> Steps[Outcome]:
        """From HOME (after READY) or HOLD (after DAMPING) until the policy is over."""
        s = self._s
        self.policy_since_ns = None
        if s.comes_from_ready and (problem := (yield from s.arms.arrive_home(s.arms_mark_ns))):
            return Fire("arm_fault", problem, "home_failed")
        timeout_s = s.config.first_chunk_timeout_s
        while True:
            hold_ns = s.world.arms_since_ns
            if problem := (yield from self._hand_over(hold_ns, timeout_s)):
                return Fire("finish", problem, "policy_lost")
            if self.policy_since_ns is None:
                self.policy_since_ns = s.world.now_ns
            code = yield Wait(self._over, None)
            if code != "stale_action":
                return Fire("finish", _said(code), code)
            s.say("  The policy went silent: the arms hold until it is back")
            s.tell(Level.WARN, "stale_action", "waiting for the policy to come back")
            timeout_s = s.config.policy_silence_timeout

    def _hand_over(self, hold_ns: int, timeout_s: float) -> Steps[str]:
        """From the HOLD entered at `hold_ns` to POLICY, once its first actions are there."""
        s = self._s
        problem = ""
        for _attempt in range(_ATTEMPTS):
            if not (yield Wait(lambda: self._chunk_is_ready(hold_ns), timeout_s)):
                return self._silence(timeout_s)
            problem = yield from s.arms.ask(ArmMode.POLICY, "chunk_ready")
            if not problem:
                entered = yield Wait(lambda: s.world.arms_since_ns > hold_ns, s.config.call_timeout_s)
                return "" if entered else "arm_driver accepted the policy but did not enter POLICY"
            yield Wait(lambda: False, _AGAIN_S)
        return f"arm_driver refuses the policy: {problem}"

    def _chunk_is_ready(self, hold_ns: int) -> bool:
        policy, arm = self._s.world.policy, self._s.world.arm
        if policy is None or arm is None or arm.mode is not ArmMode.HOLD or arm.since_ns != hold_ns:
            return False
        return policy.chunk_ready and policy.stamp_ns >= hold_ns

    def _over(self) -> str:
        """Why the policy does not move the arms any more; empty while it does."""
        arm, policy = self._s.world.arm, self._s.world.policy
        if arm is not None and arm.mode is ArmMode.HOLD:
            return arm.reason or "hold"
        if policy is not None and policy.done and self.policy_since_ns and policy.stamp_ns > self.policy_since_ns:
            return "policy_done"
        return ""

    def _silence(self, timeout_s: float) -> str:
        policy = self._s.world.policy
        text = f"no action from the policy within {timeout_s:g} s"
        if policy is None:
            return f"{text}: policy_bridge was never heard"
        if policy.connection is not Connection.CONNECTED:
            text += f" ({policy.connection.name.lower()})"
        return f"{text}: {policy.reason}" if policy.reason else text


def _said(code: str) -> str:
    return {"policy_done": "the policy says that it is done"}.get(code, f"the arms hold: {code}")
