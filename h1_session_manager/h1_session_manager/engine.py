# SPDX-License-Identifier: Apache-2.0
"""The session's engine: takes requests and observations, and says what is to be done. No ROS, no threads, no clock.

Every input names the time; every effect is a value from `take()` (see `values.py`). The engine follows the table from
state to state and advances the steps of each, one at a time: a transition ends them wherever they stand and begins the
new state's; what they return is followed in turn. What a state or a fault demands (`faults.py`) goes before them.
"""

from __future__ import annotations

from collections.abc import Callable

from h1_session_manager.arm_control import WHO
from h1_session_manager.context import Context
from h1_session_manager.episode import EpisodeState
from h1_session_manager.faults import FaultReports
from h1_session_manager.memory import Memory
from h1_session_manager.observed import Observation, Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.preflight import Preflight
from h1_session_manager.requests import Requests
from h1_session_manager.states import ROWS, STATES
from h1_session_manager.states.stopped import end_interrupted
from h1_session_manager.states.syncing import Syncing
from h1_session_manager.steps import Fire, Quit, StepRunner, Steps
from h1_session_manager.table import CANCEL_ROW, EMERGENCY, STOP_ROW, Row, State, key_fields
from h1_session_manager.values import (
    Answer,
    Bell,
    Call,
    Command,
    Exit,
    Hand,
    PublishStop,
    ReleaseAnnounced,
    Reply,
    Say,
    Synced,
    SyncProgress,
    Unverified,
    View,
)
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

_WITHOUT_OUTCOME = (EpisodeState.NONE, EpisodeState.DISCARDED)
_STALL_NS = 400_000_000
"""A tick comes every 50 ms; the arm driver takes the session for lost after 500 ms."""
_MOST_STEPS = 32
"""Transitions that one input may cause; more would be a loop."""


class Engine:
    """One session from STARTING to its end.

    Args:
        config: the parameters.
        memory: what earlier sessions left.
        now_ns: session time.
        next_index: of an epoch, the index of its next episode.

    Attributes:
        context: where it stands.
    """

    def __init__(
        self,
        config: SessionParameters,
        memory: Memory,
        now_ns: int,
        next_index: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self.context = context = Context(config, memory, now_ns, next_index, ROWS)
        self._syncing = Syncing(context)
        context.states = {state.name: state(context) for state in STATES} | {State.SYNCING: self._syncing}
        context.calls.on_late = self._on_late
        self._faults = FaultReports(context)
        self._requests = Requests(context, self)
        self._runner = StepRunner()
        self._known_revision = -1
        self._enter()
        self._advance()

    @property
    def observed(self) -> Observed:
        """What it knows of the others."""
        return self.context.observed

    # --- inputs ---

    def _at(self, now_ns: int) -> None:
        """The time of an input. After a stand-still of this process the others' silence was not theirs."""
        stood_still_ns = now_ns - self.observed.now_ns
        if stood_still_ns > _STALL_NS:
            self.observed.excuse(stood_still_ns)
            self._runner.excuse(stood_still_ns)
            text = f"the session manager itself stood still for {stood_still_ns / NS_PER_S:.1f} s"
            self.context.event(Level.WARN, "session_manager_stood_still", text)
        self.observed.now_ns = now_ns

    def key(self, key: str, now_ns: int) -> None:
        """A person pressed `key`."""
        self._at(now_ns)
        name = key.strip() or (key and "space")
        key = name.lower() if len(name) == 1 else name
        if not self.context.over and key:
            self._requests.on_key(key)
        self._advance()

    def service(self, trigger: str, now_ns: int) -> Answer:
        """A person called `session_manager/<trigger>`."""
        self._at(now_ns)
        answer = Answer(False, "the session is over") if self.context.over else self._requests.on_service(trigger)
        self._advance()
        return answer

    def emergency(self, who: str, why: str, now_ns: int) -> None:
        """Somebody asked for an emergency stop on the topic."""
        self._at(now_ns)
        if who != WHO:
            self.stop(f"emergency stop by {who or 'somebody'}{': ' + why if why else ''}")
        self._advance()

    def interrupt(self, why: str, now_ns: int) -> None:
        """The process was asked to end: an emergency stop whose release needs no key.

        Args:
            why: as `ending_cause` has it, e.g. `"interrupted by Ctrl+C"`, `"recorder lost: killed by SIGKILL"`.
            now_ns: session time.
        """
        self._at(now_ns)
        context = self.context
        if not context.over and not context.interrupted:
            context.interrupted = why
            node, lost, _ = why.partition(" lost: ")
            self.observed.lost |= {node} if lost else set()
            context.event(Level.WARN, "session_ends", why)
            if context.table.state is not State.STOPPED:
                self.fire(Fire(EMERGENCY, why))
            self.do("ending", end_interrupted(context))
        self._advance()

    def observe(self, what: Observation | Synced | Unverified | ReleaseAnnounced, now_ns: int) -> None:
        """Something was heard."""
        self._at(now_ns)
        context = self.context
        match what:
            case Synced():
                self._syncing.ended(what)
            case Unverified():
                if not what.epochs <= context.memory.owed:
                    context.remember(context.memory.with_unverified(what.epochs))
            case ReleaseAnnounced():
                context.announce_release()
            case _:
                self.observed.update(what)
                if isinstance(what, SyncProgress):
                    self._syncing.report(what)
        self._advance()

    def observe_hand(self, side: str, hand: Hand, now_ns: int) -> None:
        """A hand (`left` or `right`) was heard. Nothing waits for it."""
        self._at(now_ns)
        self.observed.hands[side] = hand
        self.observed.hear(f"{side} hand")

    def reply(self, call_id: int, reply: Reply, now_ns: int) -> None:
        """A service answered."""
        self._at(now_ns)
        self.context.calls.reply(call_id, reply)
        self._advance()

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        self._at(now_ns)
        self.context.calls.expire(now_ns)
        self._syncing.begin_due()
        self._advance()

    # --- outputs ---

    def take(self) -> list[Command]:
        """What is to be done since the last call, oldest first."""
        return self.context.calls.take()

    def has_changed(self) -> bool:
        """Whether something that `view` shows has changed since the last call; what merely counts down does not."""
        known, self._known_revision = self._known_revision, self.context.revision
        return known != self.context.revision

    def view(self) -> View:
        """What `session/state` shows now."""
        context = self.context
        left_ns = 0 if context.announced_ns is None else max(0, context.announced_ns - self.observed.now_ns)
        return View(
            state=context.table.state.value,
            since_ns=context.since_ns,
            epoch=context.epoch,
            episode=context.number,
            episode_id=context.episode.id,
            prompt=self._question(),
            doing=context.doing,
            outcome=context.episode.outcome if context.episode.state not in _WITHOUT_OUTCOME else "",
            countdown_s=left_ns / NS_PER_S,
            reason=context.state.reason(),
            **key_fields(self.offered()),
        )

    def offered(self) -> tuple[Row, ...]:
        """The rows whose keys do something now."""
        context = self.context
        if context.is_ending:
            return ()
        if context.cancellable:
            return (CANCEL_ROW, STOP_ROW)
        if context.doing:
            return (STOP_ROW,)
        now_ns = self.observed.now_ns
        return tuple(row for row in self.available() if not context.key_guard.is_guarded(row, now_ns))

    def available(self) -> tuple[Row, ...]:
        """The rows of the table that a person can ask for now."""
        return self._requests.available()

    def preflight(self) -> Preflight:
        """The checks before an episode."""
        return self.context.preflight()

    def _question(self) -> str:
        context = self.context
        if context.cancellable:
            return f"{context.announced}: press any key to cancel" if context.announced else "Press any key to cancel"
        if context.over:
            return "The session is over"
        if context.interrupted:
            return "The session is ending: the arms are released by themselves"
        if context.guard_releases:
            return "The arm guard releases the arms: stand clear. Only the robot's own stop stops that"
        if context.announced:
            return f"{context.announced}: stand clear. 'q' is an emergency stop"
        question = context.state.text().question
        if not context.doing or question.startswith("Waiting for"):
            return question
        return f"{context.doing[0].upper()}{context.doing[1:]}; 'q' is an emergency stop"

    # --- from state to state ---

    def fire(self, fire: Fire) -> None:
        """Go where the table says, and begin what is done there."""
        context = self.context
        before, row = context.state, context.table.row(fire.trigger)
        self._runner.stop()
        context.rest()
        state = context.table.fire(fire.trigger)
        context.reason, context.since_ns = fire.reason, self.observed.now_ns
        context.revision += 1
        context.key_guard.rearm(self.observed.now_ns)
        if fire.trigger == EMERGENCY:
            self._send_stop(fire.reason)
        level = Level.WARN if fire.trigger in (EMERGENCY, "arm_fault") else Level.INFO
        context.event(level, f"session_{state.value.lower()}", f"{before.name}: {fire.trigger} {fire.reason}".strip())
        context.comes_from = before.name
        if row is not None and row.then is not None:
            row.then(before, fire)
        self._enter()
        self._step()

    def do(self, what: str, steps: Steps[object]) -> None:
        """Begin what takes time; `what` says to others why they have to wait."""
        self.context.rest()
        self.context.doing = what
        self.context.revision += 1
        self._runner.start(steps)

    def stop(self, why: str) -> bool:
        """Emergency stop, from any state; in STOPPED it ends a release. False: the session is ending by itself."""
        context = self.context
        if context.is_ending:
            return False
        if context.table.state is not State.STOPPED:
            self.fire(Fire(EMERGENCY, why))
            return True
        self._send_stop(why)
        if context.doing:
            context.rest()
            context.reason = why
            context.revision += 1
            context.key_guard.rearm(self.observed.now_ns)
            self._enter()
        return True

    def _advance(self) -> None:
        """Go on as far as possible; after every input."""
        for _ in range(_MOST_STEPS):
            if self.context.over:
                return
            if (fire := self._faults.look()) is not None:
                self.fire(fire)
            elif not self._step():
                return

    def _enter(self) -> None:
        """Show the present state, and begin its steps."""
        state = self.context.state
        text = state.text()
        self.context.emit(Say(text.lines, text.prompt, replaces_prompt=True))
        if state.needs_person:
            self.context.emit(Bell())
        self._runner.start(state.enter())

    def _step(self) -> bool:
        """Advance the steps; whether they have come to their end, which was then followed."""
        ended = self._runner.advance(self.observed.now_ns)
        if ended is None:
            return False
        context = self.context
        context.rest()
        if isinstance(ended.value, Fire):
            self.fire(ended.value)
            return True
        context.revision += 1
        if isinstance(ended.value, Quit):
            context.over = True
            context.emit(Exit(ended.value.status))
        else:
            self._runner.start(context.state.idle())
        return True

    def _send_stop(self, why: str) -> None:
        context = self.context

        def answered(reply: Reply) -> None:
            if not reply.accepted:
                context.say(f"  {reply.reason or 'arm_driver refused the emergency stop'}")
                context.event(Level.ERROR, "emergency_stop_unanswered", reply.reason)

        context.calls.post("arm_driver/emergency_stop", {}, answered, self.observed.now_ns)
        context.emit(PublishStop(why))

    def _on_late(self, call: Call, reply: Reply, is_overdue: bool) -> None:
        """What was done after all, though it was cancelled or taken for lost: undone, or said to the person."""
        context = self.context
        if not reply.accepted:
            return
        if call.service == "recorder/start" and (episode_id := str(reply.fields.get("episode_id", ""))):
            fields = {"episode_id": episode_id, "why": "the start was cancelled"}
            context.calls.post("recorder/discard", fields, lambda _reply: None, self.observed.now_ns)
        elif call.service == "arm_driver/set_mode" and is_overdue and call.fields["mode"] != ArmMode.DAMPING:
            mode = ArmMode(call.fields["mode"]).name
            text = f"arm_driver answered late: it brought the arms into {mode}; look at them before you go on"
            context.say(f"  {text}")
            context.emit(Bell())
            context.event(Level.WARN, "late_answer", text)
