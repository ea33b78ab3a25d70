"""What may happen at any time, whatever the session is doing: stops, faults, limits, a recorder that gives up."""

from __future__ import annotations

import math

from h1_session_manager.arms import WHO
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.execution import Execution
from h1_session_manager.outcome import Fire
from h1_session_manager.table import EMERGENCY, State
from h1_session_manager.values import RecorderState, Reply
from h1_session_manager.world import DRIVER_HUNG, GUARD_TOOK_OVER
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

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

    def __init__(self, board: Blackboard, execution: Execution) -> None:
        self._board = board
        self._execution = execution
        self._fault = ""
        self._label_error = ""
        self._warned_since_ns = -1

    def look(self) -> Fire | None:
        """What the world demands now; None if nothing."""
        board = self._board
        state = board.table.state
        self._tell_fault()
        self._tell_label_failure()
        if state is State.STOPPED:
            return None
        if why := board.arms.stopped_by():
            return Fire(EMERGENCY, _STOPS.get(why, f"emergency stop of the arms: {why}"))
        if state in (State.EXECUTING, State.LABELING) and (why := board.arms.forced(board.arms_mark_ns)):
            return Fire("arm_fault", why, why if why.isidentifier() else "arm_fault")
        if state is State.EXECUTING and (why := board.episode.closed_by_recorder()):
            return Fire("finish", f"recorder: {why}", "recorder_closed")
        return self._limit(state)

    def reason_shown(self) -> str:
        """The reason in `session/state`: why this state, or what stands in the way."""
        board = self._board
        state = board.table.state
        if state is State.READY:
            return board.preflight().reason
        if state is State.SAVING and board.world.recorder is not None:
            recorder = board.world.recorder
            return f"saving, {recorder.save_progress:.0%}" if recorder.state is RecorderState.SAVING else board.reason
        if state is State.EXECUTING and self._execution.waits_for:
            return self._execution.waits_for
        left_s = self._left_s(state)
        if left_s is not None and left_s <= board.config.limit_warning_s:
            return f"time limit in {math.ceil(left_s)} s"
        return board.world.fault or board.reason

    def _left_s(self, state: State) -> float | None:
        """Seconds until the time limit of `state`; None if there is none."""
        board = self._board
        since_ns: int | None = None
        limit_s = 0.0
        if state is State.EXECUTING:
            since_ns, limit_s = self._execution.policy_since_ns, board.config.max_execution_s
        elif state is State.DAMPING:
            since_ns, limit_s = board.since_ns, board.config.max_damping_s
        if since_ns is None:
            return None
        return max(0.0, limit_s - (board.world.now_ns - since_ns) / NS_PER_S)

    def _limit(self, state: State) -> Fire | None:
        board = self._board
        left_s = self._left_s(state)
        if left_s is None or board.doing:
            return None
        if left_s <= 0:
            what = "execution" if state is State.EXECUTING else "guidance by hand"
            board.say(f"  Longest {what} reached")
            board.tell(Level.WARN, "time_limit", f"longest {what} reached")
            reason = f"time limit of {what} reached"
            return Fire("finish" if state is State.EXECUTING else "end", reason, "time_limit")
        if left_s <= board.config.limit_warning_s and self._warned_since_ns != board.since_ns:
            self._warned_since_ns = board.since_ns
            board.say(f"  Time limit in {math.ceil(left_s)} s")
        return None

    def _tell_label_failure(self) -> None:
        """The recorder accepts a label at once; whether it got into the file shows later."""
        board, recorder, error = self._board, self._board.world.recorder, ""
        if recorder is not None and recorder.state is RecorderState.SAVED and recorder.episode_id == board.episode.id:
            error = recorder.last_error
        if error and error != self._label_error:
            again = "; press 'g' or 'b' again" if board.table.state is State.DECIDING else ""
            board.say(f"  The label was not written: {error}{again}")
            board.tell(Level.ERROR, "label_failed", f"{board.episode.id}: {error}")
        self._label_error = error

    def _tell_fault(self) -> None:
        """A fault is said once, when it comes."""
        board = self._board
        fault = board.world.fault
        if fault == self._fault:
            return
        self._fault = fault
        board.revision += 1
        if not fault or board.table.state is State.STOPPED:  # STOPPED has said already why the arms are in damping mode
            return
        mode = board.world.arm_mode
        where = _WHERE.get(mode, _DAMPING) if mode is not None else _DAMPING
        board.say(f"  {where}: {fault}")
        if board.table.state in (State.EXECUTING, State.LABELING):
            return
        if mode is ArmMode.HOLD:
            self._make_compliant(fault)
        if summary := board.screen().summary:
            board.say(f"  {summary}")

    def _make_compliant(self, fault: str) -> None:
        """Arms that hold under a fault press against what blocks them; a person may be it."""
        board = self._board
        board.say("  They are put into damping mode")
        fields = {"who": WHO, "why": fault, "mode": int(ArmMode.DAMPING), "expected_mode": int(ArmMode.HOLD)}
        board.desk.post("arm_driver/set_mode", fields, self._on_compliant, board.world.now_ns)

    def _on_compliant(self, reply: Reply) -> None:
        if not reply.accepted:
            self._board.say(f"  The arms are not in damping mode: {reply.reason}", "  Press 'q' for an emergency stop")
            self._board.tell(Level.ERROR, "damping_refused", reply.reason)
