"""What may happen at any time, whatever the session is doing: stops, faults, limits, a recorder that gives up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from h1_session_manager.arms import WHO
from h1_session_manager.outcome import Fire
from h1_session_manager.procedure import NS_PER_S
from h1_session_manager.table import EMERGENCY, State
from h1_session_manager.values import RecorderState, Reply
from h1_session_manager.world import DRIVER_HUNG, GUARD_TOOK_OVER
from h1_training_node.message_numbers import ArmMode, Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session


_STOPS = {
    GUARD_TOOK_OVER: "guard_took_over: the arm driver hangs or died; the arm guard holds the arms in damping",
    DRIVER_HUNG: "driver_hung: the arm driver stood still for too long; the arm guard gives the arms back in its place",
}

_DAMPING = "Arms in damping mode"
_WHERE = {
    ArmMode.HOLD: "The arms hold where they are",
    ArmMode.RELEASED: "The robot's own controller has the arms",
}
"""Where the arms are when a fault comes; every other mode is left for DAMPING."""


class Watch:
    """Looks at the world after every input."""

    def __init__(self, session: Session) -> None:
        self._s = session
        self._fault = ""
        self._label_error = ""
        self._warned_since_ns = -1

    def look(self) -> Fire | None:
        """What the world demands now; None if nothing."""
        s = self._s
        state = s.table.state
        self._tell_fault()
        self._tell_label_failure()
        if state is State.STOPPED:
            return None
        if why := s.arms.stopped_by():
            return Fire(EMERGENCY, _STOPS.get(why, f"emergency stop of the arms: {why}"))
        if state in (State.EXECUTING, State.LABELING) and (why := s.arms.forced(s.arms_mark_ns)):
            return Fire("arm_fault", why, why if why.isidentifier() else "arm_fault")
        if state is State.EXECUTING and (why := s.episode.closed_by_recorder()):
            return Fire("finish", f"recorder: {why}", "recorder_closed")
        return self._limit(state)

    def reason_shown(self) -> str:
        """The reason in `session/state`: why this state, or what stands in the way."""
        s = self._s
        state = s.table.state
        if state is State.READY:
            return s.preflight().reason
        if state is State.SAVING and s.world.recorder is not None:
            recorder = s.world.recorder
            return f"saving, {recorder.save_progress:.0%}" if recorder.state is RecorderState.SAVING else s.reason
        if state is State.EXECUTING and s.execution.waits_for:
            return s.execution.waits_for
        left_s = self._left_s(state)
        if left_s is not None and left_s <= s.config.limit_warning_s:
            return f"time limit in {math.ceil(left_s)} s"
        return s.world.fault or s.reason

    def _left_s(self, state: State) -> float | None:
        """Seconds until the time limit of `state`; None if there is none."""
        s = self._s
        since_ns: int | None = None
        limit_s = 0.0
        if state is State.EXECUTING:
            since_ns, limit_s = s.execution.policy_since_ns, s.config.max_execution
        elif state is State.DAMPING:
            since_ns, limit_s = s.since_ns, s.config.max_damping
        if since_ns is None or limit_s <= 0:
            return None
        return max(0.0, limit_s - (s.world.now_ns - since_ns) / NS_PER_S)

    def _limit(self, state: State) -> Fire | None:
        s = self._s
        left_s = self._left_s(state)
        if left_s is None or s.doing:
            return None
        if left_s <= 0:
            what = "execution" if state is State.EXECUTING else "guidance by hand"
            s.say(f"  Longest {what} reached")
            s.tell(Level.WARN, "time_limit", f"longest {what} reached")
            reason = f"time limit of {what} reached"
            return Fire("finish" if state is State.EXECUTING else "end", reason, "time_limit")
        if left_s <= s.config.limit_warning_s and self._warned_since_ns != s.since_ns:
            self._warned_since_ns = s.since_ns
            s.say(f"  Time limit in {math.ceil(left_s)} s")
        return None

    def _tell_label_failure(self) -> None:
        """The recorder accepts a label at once; whether it got into the file shows later."""
        s, recorder = self._s, self._s.world.recorder
        failed = recorder is not None and recorder.state is RecorderState.SAVED and recorder.episode_id == s.episode.id
        error = recorder.last_error if failed and recorder is not None else ""
        if error and error != self._label_error:
            again = "; press 'g' or 'b' again" if s.table.state is State.DECIDING else ""
            s.say(f"  The label was not written: {error}{again}")
            s.tell(Level.ERROR, "label_failed", f"{s.episode.id}: {error}")
        self._label_error = error

    def _tell_fault(self) -> None:
        """A fault is said once, when it comes."""
        s = self._s
        fault = s.world.fault
        if fault == self._fault:
            return
        self._fault = fault
        s.revision += 1
        if not fault or s.table.state is State.STOPPED:  # STOPPED has said already why the arms are in damping mode
            return
        mode = s.world.arm_mode
        where = _WHERE.get(mode, _DAMPING) if mode is not None else _DAMPING
        s.say(f"  {where}: {fault}")
        if s.table.state in (State.EXECUTING, State.LABELING):
            return
        if mode is ArmMode.HOLD:
            self._make_compliant(fault)
        if summary := s.screen().summary:
            s.say(f"  {summary}")

    def _make_compliant(self, fault: str) -> None:
        """Arms that hold under a fault press against what blocks them; a person may be it."""
        s = self._s
        s.say("  They are put into damping mode")
        fields = {"who": WHO, "why": fault, "mode": int(ArmMode.DAMPING), "expected_mode": int(ArmMode.HOLD)}
        s.desk.post("arm_driver/set_mode", fields, self._on_compliant, s.world.now_ns)

    def _on_compliant(self, reply: Reply) -> None:
        if not reply.accepted:
            self._s.say(f"  The arms are not in damping mode: {reply.reason}", "  Press 'q' for an emergency stop")
            self._s.tell(Level.ERROR, "damping_refused", reply.reason)
