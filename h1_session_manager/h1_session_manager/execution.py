"""EXECUTING: home, the first actions, the policy, and the policy again after a short silence."""

from __future__ import annotations

from h1_session_manager.announcing import countdown
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.table import State
from h1_session_manager.values import Bell, Connection, Speak
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

_ATTEMPTS = 5
_AGAIN_S = 0.2
_TOLD_AFTER_S = 1.0
_FORGOTTEN_AFTER_S = 5.0
"""Arms that stood for longer are no longer expected to move: it is announced anew."""


class Execution:
    """The procedure of EXECUTING.

    Attributes:
        policy_since_ns: when the policy got the arms in this entry; None: not yet.
        waits_for: what the arms stand still for, and that they will move; empty if they do not, or not for long.
    """

    def __init__(self, board: Blackboard) -> None:
        self._board = board
        self.policy_since_ns: int | None = None
        self.waits_for = ""

    def run(self) -> Steps[Outcome]:
        """From HOME (after READY) or HOLD (after DAMPING) until the policy is over."""
        board = self._board
        self.policy_since_ns, self.waits_for = None, ""
        if board.comes_from is State.READY and (problem := (yield from board.arms.arrive_home(board.arms_mark_ns))):
            return Fire("arm_fault", problem, "home_failed")
        timeout_s = board.config.first_chunk_timeout_s
        while True:
            hold_ns = board.world.arms_since_ns
            if problem := (yield from self._hand_over(hold_ns, timeout_s)):
                return Fire("finish", problem, "policy_lost")
            if self.policy_since_ns is None:
                self.policy_since_ns = board.world.now_ns
            code = yield Wait(self._over, None)
            if code != "stale_action":
                return Fire("finish", _said(code), code)
            board.say("  The policy went silent: the arms hold until it is back")
            board.tell(Level.WARN, "stale_action", "waiting for the policy to come back")
            timeout_s = board.config.policy_silence_timeout_s

    def _hand_over(self, hold_ns: int, timeout_s: float) -> Steps[str]:
        """From the HOLD entered at `hold_ns` to POLICY, once its first actions are there."""
        board = self._board
        problem = ""
        for _attempt in range(_ATTEMPTS):
            if not (yield from self._await_actions(hold_ns, timeout_s)):
                return self._silence(timeout_s)
            if not self._chunk_is_ready(hold_ns):
                problem = "its actions were withdrawn"  # while they were announced
                continue
            problem = yield from board.arms.ask(ArmMode.POLICY, "chunk_ready")
            if not problem:
                entered = yield Wait(lambda: board.world.arms_since_ns > hold_ns, board.config.call_timeout_s)
                return "" if entered else "arm_driver accepted the policy but did not enter POLICY"
            yield Wait(lambda: False, _AGAIN_S)
        return f"arm_driver refuses the policy: {problem}"

    def _await_actions(self, hold_ns: int, timeout_s: float) -> Steps[bool]:
        """Until there are actions for the HOLD of `hold_ns`; arms that stood for long do not start unannounced."""
        board, began_ns = self._board, self._board.world.now_ns
        told_s = min(_TOLD_AFTER_S, timeout_s)
        if (yield Wait(lambda: self._chunk_is_ready(hold_ns), told_s)):
            return True
        if timeout_s <= told_s:
            return False
        which = "next" if self.policy_since_ns else "first"
        text = f"The arms hold and wait for the policy's {which} actions; they will move without a further key"
        self._shows(text)
        board.say(f"  {text}")
        board.desk.emit(Speak(f"{text}."))
        ready = yield Wait(lambda: self._chunk_is_ready(hold_ns), timeout_s - told_s)
        self._shows("")
        if ready and board.world.now_ns - began_ns > _FORGOTTEN_AFTER_S * NS_PER_S:
            yield from self._announce()
        return bool(ready)

    def _announce(self) -> Steps[None]:
        """The countdown once more. Any key ends the execution with compliant arms, as 's' does."""
        board = self._board
        board.desk.emit(Bell())
        board.cancellable = True
        yield from countdown(board, "The policy moves the arms")
        board.cancellable = False

    def _shows(self, text: str) -> None:
        self.waits_for = text
        self._board.revision += 1

    def _chunk_is_ready(self, hold_ns: int) -> bool:
        policy, arm = self._board.world.policy, self._board.world.arm
        if policy is None or arm is None or arm.mode is not ArmMode.HOLD or arm.since_ns != hold_ns:
            return False
        return policy.chunk_ready and policy.stamp_ns >= hold_ns

    def _over(self) -> str:
        """Why the policy does not move the arms any more; empty while it does."""
        arm, policy = self._board.world.arm, self._board.world.policy
        if arm is not None and arm.mode is ArmMode.HOLD:
            return arm.reason or "hold"
        if policy is not None and policy.done and self.policy_since_ns and policy.stamp_ns > self.policy_since_ns:
            return "policy_done"
        return ""

    def _silence(self, timeout_s: float) -> str:
        policy = self._board.world.policy
        text = f"no action from the policy within {timeout_s:g} s"
        if policy is None:
            return f"{text}: policy_bridge was never heard"
        if policy.connection is not Connection.CONNECTED:
            text += f" ({policy.connection.name.lower()})"
        return f"{text}: {policy.reason}" if policy.reason else text


def _said(code: str) -> str:
    return {"policy_done": "the policy says that it is done"}.get(code, f"the arms hold: {code}")
