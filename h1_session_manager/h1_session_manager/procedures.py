"""What is done in each state, and on each request that takes time, written as it happens.

A procedure ends by returning a `Fire` (where to go), a `Quit` (the session is over) or nothing (stay).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from h1_session_manager import lines
from h1_session_manager.announcing import countdown
from h1_session_manager.ending import Ending
from h1_session_manager.episode import Phase
from h1_session_manager.execution import Execution
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.preflight import Preflight, policy_problem
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.startup import Startup
from h1_session_manager.table import EMERGENCY, Row, State
from h1_session_manager.upload import Upload
from h1_session_manager.values import Probe, RecorderState, Reply
from h1_session_manager.waiting import Waiting
from h1_training_node.message_numbers import ArmMode, Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session

_PREFLIGHT_GRACE_S = 3.0
_SETTLE_S = 1.0


@dataclass(frozen=True)
class Begun:
    """How a request begins: a transition, a procedure, or something done at once."""

    fire: Fire | None = None
    steps: Steps[Outcome] | None = None
    doing: str = ""


class Procedures:
    """The procedures of one session, which they read and change."""

    def __init__(self, session: Session) -> None:
        self._s = session
        self.startup = Startup(session)
        self.execution = Execution(session)
        self.waiting = Waiting(session)
        self.upload = Upload(session)
        self.ending = Ending(session, self.close_episode)
        self._enter = {
            State.STARTING: self._enter_starting,
            State.WAITING: self.waiting.poll,
            State.READY: self._enter_ready,
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
        return self._watch_preflight() if state is State.READY else _rest()

    # --- requests ---

    def obstacle(self, row: Row) -> str:
        """Why what `row` says cannot be done now; empty if it can."""
        s = self._s
        if row.source is State.READY and row.trigger == "start":
            reason = s.preflight().reason
            return f"Not ready: {reason}" if reason else ""
        if row.trigger == "resume":
            return self._obstacle_to_resume()
        if row.trigger == "accept" and s.lower_epoch is None:
            return "there is no lower epoch to accept; still polling for new weights"
        if row.source is State.SYNCING and row.key and row.trigger in ("retry", "keep_local") and not s.sync_failed:
            return "the upload is under way"
        if row.source is State.DECIDING and row.trigger in ("good", "bad", "discard"):
            return "" if s.episode.phase is Phase.SAVED else "there is no saved episode to mark or discard"
        return ""

    def _obstacle_to_resume(self) -> str:
        s = self._s
        if closed := s.episode.closed_by_recorder():
            return f"Cannot resume: {closed}; press 'e'"
        if s.world.policy is None or s.world.age_s("policy") > s.config.status_timeout_s:
            return "Cannot resume: policy_bridge is silent; does it run?"
        problem = policy_problem(s.world.policy, s.epoch)
        return f"Cannot resume: {problem}" if problem else ""

    def begin(self, row: Row) -> Begun:
        """How what `row` says begins."""
        if row.source is State.STARTING and row.trigger == "start":
            return Begun(steps=self._take_arms(), doing="taking the arms")
        if row.trigger == "start":
            return Begun(steps=self._start(), doing="starting the episode")
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
            self._s.episode.post_label(outcome, lambda reply: self._labelled(outcome, reply))
            return Begun()
        if row.trigger == "discard":
            self._s.episode.post_discard("operator", self._discarded)
            return Begun()
        return Begun(fire=Fire(row.trigger))

    def prepare(self, fire: Fire, before: State) -> None:
        """Settle what follows from a transition, before its state is entered."""
        s, trigger = self._s, fire.trigger
        if trigger in ("new_weights", "accept"):
            self.waiting.take_epoch()
        elif trigger == "another":
            s.number += s.episode.phase is not Phase.DISCARDED
            self.upload.begin_later()
            s.fresh_weights = False
        elif trigger == "skip":
            self.upload.skipped()
        elif trigger in ("success", "failure"):
            s.episode.outcome = trigger
        elif trigger in ("start", "resume") and s.table.state is State.EXECUTING:
            s.episode.outcome, s.episode.end_reason = "unlabeled", "operator"
        elif trigger == EMERGENCY:
            s.episode.end_reason = "interrupted" if s.interrupted else "emergency_stop"
        elif trigger == "stop":
            s.episode.end_reason = "operator"
        elif trigger == "arm_fault" or (trigger == "finish" and before is State.EXECUTING):
            s.episode.end_reason = fire.code or trigger
        elif trigger == "end" and fire.code:
            s.episode.end_reason = fire.code
        elif trigger == "synced":
            self.upload.synced()

    # --- STARTING ---

    def _enter_starting(self) -> Steps[Outcome]:
        yield from self.startup.wait()
        if self._s.config.ask_before_taking:
            self.startup.ask()
            return (yield from _rest())
        self._s.doing, self._s.cancellable = "taking the arms", True
        return (yield from self._take_arms())

    def _take_arms(self) -> Steps[Outcome]:
        s = self._s
        heard = yield Wait(lambda: s.world.age_s("arm") <= s.config.arm_timeout_s, 10 * s.config.call_timeout_s)
        if not heard:
            return self._s.refused("arm_driver is silent; does it run?")
        yield from countdown(s, "The arms are taken and move to the home position")
        s.cancellable = False
        if problem := (yield from s.arms.settle("start")):
            return self._s.refused(problem)
        if problem := (yield from s.arms.go_home("start")):
            if s.world.arm_mode is ArmMode.HOME:  # it took too long: nothing moves on once that was said
                yield from s.arms.hold("home_timeout")
            return self._s.refused(problem)
        return Fire("start")

    def taken_back(self) -> Steps[Outcome]:
        """After an announced motion was cancelled: the arms as the state has them."""
        s = self._s
        problem = ""
        if s.table.state is State.DAMPING:
            problem = yield from s.arms.ask(ArmMode.DAMPING, "taken back")
        elif s.episode.is_open:
            problem = yield from s.episode.discard("the start was taken back")
        if problem:
            s.say(f"  {problem}")
        return None

    # --- WAITING and READY ---

    def _enter_ready(self) -> Steps[Outcome]:
        s = self._s
        # From elsewhere a person may have brought the arms into damping mode, by hand: 'y' makes them stiff.
        if s.comes_from is State.DECIDING and (problem := (yield from s.arms.hold_if_free("ready"))):
            s.say(f"  The arms stay in damping mode: {problem}")
            s.tell(Level.WARN, "hold_refused", problem)
        if s.config.rsync_target:
            s.world.target = None
            s.desk.emit(Probe())
        recorder = s.world.recorder
        if recorder is not None and recorder.state is RecorderState.RECORDING and not s.episode.is_open:
            s.say(f"  The recorder still had {recorder.episode_id} open; it is being closed")
            fields = {"episode_id": recorder.episode_id, "end_reason": "left_open", "outcome": "unlabeled"}
            yield from s.desk.call("recorder/finish", fields)
        return (yield from self._watch_preflight())

    def _watch_preflight(self) -> Steps[Outcome]:
        """Say how the checks stand, once they are good or time is up, and again when that has changed for good."""
        s = self._s
        yield Wait(lambda: not s.preflight().problems, _PREFLIGHT_GRACE_S)
        known: tuple[str, ...] | None = None
        while True:
            checks = s.preflight()
            if (about := _about(checks)) != known:
                self._say_preflight(checks)
                known = about
            yield Wait(lambda known=known: _about(s.preflight()) != known, None)  # type: ignore[misc]
            yield Wait(lambda: False, _SETTLE_S)

    def _say_preflight(self, checks: Preflight) -> None:
        s = self._s
        if checks.problems:
            s.say(*(f"  Not ready: {problem}" for problem in checks.problems))
        else:
            s.say(checks.cameras)
        if checks.warnings:
            s.say(*(f"  Warning: {warning}" for warning in checks.warnings))
        s.revision += 1

    def _start(self) -> Steps[Outcome]:
        s = self._s
        if problem := (yield from s.arms.settle("start")) or s.preflight().reason:
            return self._s.refused(problem)
        yield from countdown(s, "The arms move home, then the policy moves them,")
        if problem := self._not_holding() or s.preflight().reason:
            return self._s.refused(problem)
        if problem := (yield from s.episode.start(s.epoch, s.number, s.preflight().dummies)):
            return self._s.refused(f"recorder: {problem}")
        s.cancellable = False
        s.arms_mark_ns = s.world.arms_since_ns
        if problem := (yield from s.arms.ask(ArmMode.HOME, "start")):
            undone = yield from s.episode.discard("the arms did not start")
            s.episode.phase = Phase.FAILED if undone else Phase.DISCARDED
            return self._s.refused(problem)
        return Fire("start")

    def _not_holding(self) -> str:
        arm = self._s.world.arm
        if arm is not None and arm.mode is ArmMode.HOLD:
            return ""
        why = "" if arm is None else arm.fault or arm.reason
        return f"the arms have left HOLD{': ' + why if why else ''}"

    # --- LABELING, DAMPING, SAVING, DECIDING ---

    def _enter_labeling(self) -> Steps[Outcome]:
        if problem := (yield from self._s.arms.hold("finish")):
            return Fire("arm_fault", problem, "hold_failed")
        return (yield from _rest())

    def _enter_damping(self) -> Steps[Outcome]:
        s = self._s
        told = ""
        while problem := (yield from s.arms.ask(ArmMode.DAMPING, s.reason or "requested")):
            if problem != told:
                s.say(f"  The arms are not in damping mode: {problem}", "  Press 'q' for an emergency stop")
                s.tell(Level.ERROR, "damping_refused", problem)
                told = problem
            if (yield Wait(lambda: s.world.arm_mode is ArmMode.DAMPING, _SETTLE_S)):
                break
        return (yield from _rest())

    def _resume(self) -> Steps[Outcome]:
        s = self._s
        problem = yield from s.arms.settle("resume")
        if not problem:
            yield from countdown(s, "The policy moves the arms from here")
            problem = self._not_holding() or self._obstacle_to_resume()
        if not problem:
            s.arms_mark_ns = s.world.arms_since_ns
            return Fire("resume")
        s.cancellable = False
        self._s.refused(problem)
        return (yield from self.taken_back())

    def _discard(self) -> Steps[Outcome]:
        if problem := (yield from self._s.episode.discard("operator")):
            return self._s.refused(f"Not discarded: {problem}")
        self._s.say("  Discarded (kept for a week in .discarded)")
        return Fire("discard")

    def _discarded(self, reply: Reply) -> None:
        if reply.accepted:
            self._s.episode.phase = Phase.DISCARDED
            self._s.say("  Discarded (kept for a week in .discarded)")
        else:
            self._s.say(f"  Not discarded: {reply.reason}")

    def _labelled(self, outcome: str, reply: Reply) -> None:
        if reply.accepted:
            self._s.episode.outcome = outcome
        self._s.say(f"  Marked as {outcome}" if reply.accepted else f"  Not marked: {reply.reason}")

    def _enter_saving(self) -> Steps[Outcome]:
        problem = yield from self.close_episode()
        return Fire("save_failed", problem, "save_failed") if problem else Fire("saved")

    def close_episode(self, within_s: float | None = None) -> Steps[str]:
        """Close the episode if it is open or closing, and say what has become of it."""
        s = self._s
        if s.episode.phase not in (Phase.OPEN, Phase.CLOSING):
            return ""
        problem = yield from s.episode.close(within_s)
        if problem:
            s.say(lines.save_failed(problem))
            is_empty = problem.startswith(lines.NOTHING_TO_SAVE)
            level, reason = (Level.WARN, "nothing_to_save") if is_empty else (Level.ERROR, "save_failed")
            s.tell(level, reason, f"{s.episode.id}: {problem}")
        elif s.world.recorder is not None:
            s.say(*lines.saved(s.world.recorder))
            self.upload.owe()  # also if a stop closed it
        return problem


def _failing(problems: tuple[str, ...]) -> tuple[str, ...]:
    """What the problems are about; ages and figures in them change all the time."""
    return tuple(problem.partition(":")[0] for problem in problems)


def _about(checks: Preflight) -> tuple[str, ...]:
    return _failing(checks.problems) + _failing(checks.warnings)


def _rest() -> Steps[Outcome]:
    yield Wait(lambda: False, None)
    return None
