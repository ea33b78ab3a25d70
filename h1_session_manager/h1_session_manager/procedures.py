"""What is done in each state, and on each request that takes time, written as it happens.

A procedure ends by returning a `Fire` (where to go), a `Quit` (the session is over) or nothing (stay).
"""

from __future__ import annotations

from dataclasses import dataclass

from h1_session_manager import lines
from h1_session_manager.announcing import countdown
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.ending import Ending
from h1_session_manager.episode import Phase
from h1_session_manager.execution import Execution
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.preflight import policy_problem
from h1_session_manager.procedure import Steps, Wait, stay
from h1_session_manager.ready import Ready
from h1_session_manager.startup import Startup
from h1_session_manager.table import EMERGENCY, Row, State
from h1_session_manager.upload_state import Upload
from h1_session_manager.values import Reply
from h1_session_manager.waiting import Waiting
from h1_training_node.message_numbers import ArmMode, Level

_AGAIN_S = 1.0


@dataclass(frozen=True)
class Begun:
    """How a request begins: a transition, a procedure, or something done at once."""

    fire: Fire | None = None
    steps: Steps[Outcome] | None = None
    doing: str = ""


class Procedures:
    """The procedures of one session: those of each state, those of each request."""

    def __init__(self, board: Blackboard) -> None:
        self._board = board
        self.startup = Startup(board)
        self.execution = Execution(board)
        self.waiting = Waiting(board)
        self.ready = Ready(board)
        self.upload = Upload(board)
        self.ending = Ending(board, self.close_episode)
        self._enter = {
            State.STARTING: self.startup.run,
            State.WAITING: self.waiting.poll,
            State.READY: self.ready.run,
            State.EXECUTING: self.execution.run,
            State.LABELING: self._enter_labeling,
            State.DAMPING: self._enter_damping,
            State.SAVING: self._enter_saving,
            State.SYNCING: self.upload.run,
            State.STOPPED: self.ending.enter_stopped,
        }

    def enter(self, state: State) -> Steps[Outcome]:
        """What is done when `state` is entered."""
        steps = self._enter.get(state)
        return steps() if steps is not None else self.idle(state)

    def idle(self, state: State) -> Steps[Outcome]:
        """What goes on in `state` while nobody asks for anything."""
        if state is State.WAITING:
            return self.waiting.poll()
        return self.ready.watch_preflight() if state is State.READY else stay()

    # --- requests ---

    def obstacle(self, row: Row) -> str:
        """Why what `row` says cannot be done now; empty if it can."""
        board = self._board
        if row.source is State.READY and row.trigger == "start":
            reason = board.preflight().reason
            return f"Not ready: {reason}" if reason else ""
        if row.trigger == "resume":
            return self._obstacle_to_resume()
        if row.trigger == "accept" and board.lower_epoch is None:
            return "there is no lower epoch to accept; still polling for new weights"
        if row.source is State.SYNCING and row.key and row.trigger in ("retry", "keep_local") and not board.sync_failed:
            return "the upload is under way"
        if row.source is State.DECIDING and row.trigger in ("good", "bad", "discard"):
            return "" if board.episode.phase is Phase.SAVED else "there is no saved episode to mark or discard"
        return ""

    def _obstacle_to_resume(self) -> str:
        board = self._board
        if closed := board.episode.closed_by_recorder():
            return f"Cannot resume: {closed}; press 'e'"
        if board.world.policy is None or board.world.age_s("policy") > board.config.status_timeout_s:
            return "Cannot resume: policy_bridge is silent; does it run?"
        problem = policy_problem(board.world.policy, board.epoch)
        return f"Cannot resume: {problem}" if problem else ""

    def begin(self, row: Row) -> Begun:
        """How what `row` says begins."""
        if row.source is State.STARTING and row.trigger == "start":
            return Begun(steps=self.startup.take_arms(), doing="taking the arms")
        if row.trigger == "start":
            return Begun(steps=self.ready.start(), doing="starting the episode")
        if row.trigger == "resume":
            return Begun(steps=self._resume(), doing="resuming the policy")
        if row.trigger == "quit":
            return Begun(steps=self.ending.give_back(), doing="ending the session")
        if row.trigger == "release":
            return Begun(steps=self.ending.give_back(), doing="giving the arms back")
        if row.trigger == "discard" and row.source is State.DAMPING:
            return Begun(steps=self._discard(), doing="discarding the episode")
        if row.trigger in ("good", "bad"):
            outcome = "success" if row.trigger == "good" else "failure"
            self._board.episode.post_label(outcome, lambda reply: self._labelled(outcome, reply))
            return Begun()
        if row.trigger == "discard":
            self._board.episode.post_discard("operator", self._discarded)
            return Begun()
        return Begun(fire=Fire(row.trigger))

    def prepare(self, fire: Fire, before: State) -> None:
        """Settle what follows from a transition, before its state is entered."""
        board, trigger = self._board, fire.trigger
        if trigger in ("new_weights", "accept"):
            self.waiting.take_epoch()
        elif trigger == "another":
            board.number += board.episode.phase is not Phase.DISCARDED
            self.upload.begin_later()
            board.fresh_weights = False
        elif trigger == "skip":
            self.upload.skipped()
        elif trigger in ("success", "failure"):
            board.episode.outcome = trigger
        elif trigger in ("start", "resume") and board.table.state is State.EXECUTING:
            board.episode.outcome, board.episode.end_reason = "unlabeled", "operator"
        elif trigger == EMERGENCY:
            board.episode.end_reason = "interrupted" if board.interrupted else "emergency_stop"
        elif trigger == "stop":
            board.episode.end_reason = "operator"
        elif trigger == "arm_fault" or (trigger == "finish" and before is State.EXECUTING):
            board.episode.end_reason = fire.code or trigger
        elif trigger == "end" and fire.code:
            board.episode.end_reason = fire.code
        elif trigger == "synced":
            self.upload.synced()

    def taken_back(self) -> Steps[Outcome]:
        """After an announced motion was cancelled: the arms as the state has them."""
        board = self._board
        problem = ""
        if board.table.state is State.DAMPING:
            problem = yield from board.arms.ask(ArmMode.DAMPING, "taken back")
        elif board.episode.is_open:
            problem = yield from board.episode.discard("the start was taken back")
        if problem:
            board.say(f"  {problem}")
        return None

    # --- LABELING, DAMPING, SAVING, DECIDING ---

    def _enter_labeling(self) -> Steps[Outcome]:
        if problem := (yield from self._board.arms.hold("finish")):
            return Fire("arm_fault", problem, "hold_failed")
        return (yield from stay())

    def _enter_damping(self) -> Steps[Outcome]:
        board = self._board
        told = ""
        while problem := (yield from board.arms.ask(ArmMode.DAMPING, board.reason or "requested")):
            if problem != told:
                board.say(f"  The arms are not in damping mode: {problem}", "  Press 'q' for an emergency stop")
                board.tell(Level.ERROR, "damping_refused", problem)
                told = problem
            if (yield Wait(lambda: board.world.arm_mode is ArmMode.DAMPING, _AGAIN_S)):
                break
        return (yield from stay())

    def _resume(self) -> Steps[Outcome]:
        board = self._board
        problem = yield from board.arms.settle("resume")
        if not problem:
            yield from countdown(board, "The policy moves the arms from here")
            problem = board.arms.not_holding() or self._obstacle_to_resume()
        if not problem:
            board.arms_mark_ns = board.world.arms_since_ns
            return Fire("resume")
        board.cancellable = False
        board.refused(problem)
        return (yield from self.taken_back())

    def _discard(self) -> Steps[Outcome]:
        if problem := (yield from self._board.episode.discard("operator")):
            return self._board.refused(f"Not discarded: {problem}")
        self._board.say("  Discarded (kept for a week in .discarded)")
        return Fire("discard")

    def _discarded(self, reply: Reply) -> None:
        if reply.accepted:
            self._board.episode.phase = Phase.DISCARDED
            self._board.say("  Discarded (kept for a week in .discarded)")
        else:
            self._board.say(f"  Not discarded: {reply.reason}")

    def _labelled(self, outcome: str, reply: Reply) -> None:
        if reply.accepted:
            self._board.episode.outcome = outcome
        self._board.say(f"  Marked as {outcome}" if reply.accepted else f"  Not marked: {reply.reason}")

    def _enter_saving(self) -> Steps[Outcome]:
        problem = yield from self.close_episode()
        return Fire("save_failed", problem, "save_failed") if problem else Fire("saved")

    def close_episode(self, within_s: float | None = None) -> Steps[str]:
        """Close the episode if it is open or closing, and say what has become of it."""
        board = self._board
        if board.episode.phase not in (Phase.OPEN, Phase.CLOSING):
            return ""
        problem = yield from board.episode.close(within_s)
        if problem:
            board.say(lines.save_failed(problem))
            is_empty = problem.startswith(lines.NOTHING_TO_SAVE)
            level, reason = (Level.WARN, "nothing_to_save") if is_empty else (Level.ERROR, "save_failed")
            board.tell(level, reason, f"{board.episode.id}: {problem}")
        elif board.world.recorder is not None:
            board.say(*lines.saved(board.world.recorder))
            self.upload.owe()  # also if a stop closed it
        return problem
