"""READY: the checks before an episode are shown until they are good, then the episode is begun."""

from __future__ import annotations

from h1_session_manager.announcing import countdown
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.episode import Phase
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.preflight import Preflight
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.table import State
from h1_session_manager.values import Probe, RecorderState
from h1_training_node.message_numbers import ArmMode, Level

_PREFLIGHT_GRACE_S = 3.0
_SETTLE_S = 1.0


class Ready:
    """The procedures of READY."""

    def __init__(self, board: Blackboard) -> None:
        self._board = board

    def run(self) -> Steps[Outcome]:
        """Hold the arms, leave nothing open from before, and show the checks."""
        board = self._board
        # From elsewhere a person may have brought the arms into damping mode, by hand: 'y' makes them stiff.
        if board.comes_from is State.DECIDING and (problem := (yield from board.arms.hold_if_free("ready"))):
            board.say(f"  The arms stay in damping mode: {problem}")
            board.tell(Level.WARN, "hold_refused", problem)
        if board.config.rsync_target:
            board.world.target = None
            board.desk.emit(Probe())
        recorder = board.world.recorder
        if recorder is not None and recorder.state is RecorderState.RECORDING and not board.episode.is_open:
            board.say(f"  The recorder still had {recorder.episode_id} open; it is being closed")
            fields = {"episode_id": recorder.episode_id, "end_reason": "left_open", "outcome": "unlabeled"}
            yield from board.desk.call("recorder/finish", fields)
        return (yield from self.watch_preflight())

    def watch_preflight(self) -> Steps[Outcome]:
        """Say how the checks stand, once they are good or time is up, and again when that has changed for good."""
        board = self._board
        yield Wait(lambda: not board.preflight().problems, _PREFLIGHT_GRACE_S)
        known: tuple[str, ...] | None = None
        while True:
            checks = board.preflight()
            if (about := _about(checks)) != known:
                self._say(checks)
                known = about
            yield Wait(lambda known=known: _about(board.preflight()) != known, None)  # type: ignore[misc]
            yield Wait(lambda: False, _SETTLE_S)

    def _say(self, checks: Preflight) -> None:
        board = self._board
        if checks.problems:
            board.say(*(f"  Not ready: {problem}" for problem in checks.problems))
        else:
            board.say(checks.cameras)
        if checks.warnings:
            board.say(*(f"  Warning: {warning}" for warning in checks.warnings))
        board.revision += 1

    def start(self) -> Steps[Outcome]:
        """Announce the motion, open the episode, send the arms home."""
        board = self._board
        if problem := (yield from board.arms.settle("start")) or board.preflight().reason:
            return board.refused(problem)
        yield from countdown(board, "The arms move home, then the policy moves them,")
        if problem := board.arms.not_holding() or board.preflight().reason:
            return board.refused(problem)
        if problem := (yield from board.episode.start(board.epoch, board.number, board.preflight().dummies)):
            return board.refused(f"recorder: {problem}")
        board.cancellable = False
        board.arms_mark_ns = board.world.arms_since_ns
        if problem := (yield from board.arms.ask(ArmMode.HOME, "start")):
            undone = yield from board.episode.discard("the arms did not start")
            board.episode.phase = Phase.FAILED if undone else Phase.DISCARDED
            return board.refused(problem)
        return Fire("start")


def _about(checks: Preflight) -> tuple[str, ...]:
    """What the problems and warnings are about; ages and figures in them change all the time. With dummies: which."""
    about = tuple(problem.partition(":")[0] for problem in (*checks.problems, *checks.warnings))
    return about if checks.problems else (checks.cameras, *about)
