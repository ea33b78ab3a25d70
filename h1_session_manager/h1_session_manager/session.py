"""The session: takes requests and observations, and says what is to be done. No ROS, no threads, no clock.

Every input names the time; every effect is a value from `take()` (see `values.py`). What takes time is a procedure
(`procedures.py`); this module decides who may ask for what, and watches for what may happen at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from h1_session_manager import afterwards, lines, preflight
from h1_session_manager.arms import WHO, Arms
from h1_session_manager.config import SessionConfig
from h1_session_manager.episode import Episode, Phase
from h1_session_manager.execution import Execution
from h1_session_manager.keys import KeyGuard
from h1_session_manager.memory import Memory
from h1_session_manager.outcome import Fire, Outcome, Quit
from h1_session_manager.person import Requests
from h1_session_manager.procedure import NS_PER_S, Desk, Runner, Steps
from h1_session_manager.procedures import Procedures
from h1_session_manager.table import EMERGENCY, STOP_KEY, Row, State, Table
from h1_session_manager.values import (
    Answer,
    Bell,
    Command,
    Exit,
    Hand,
    PublishStop,
    ReleaseWarned,
    Remember,
    Reply,
    Say,
    Speak,
    Synced,
    SyncProgress,
    Tell,
    Unverified,
    View,
)
from h1_session_manager.watch import Watch
from h1_session_manager.world import Observation, World
from h1_training_node.message_numbers import Level

_NEEDS_PERSON = frozenset({State.READY, State.LABELING, State.DECIDING, State.STOPPED})
_SPEECH_AGAIN_S = 8.0
"""The session's own announcement and the driver's warning are about one release."""
_MOST_STEPS = 32
"""Transitions that one input may cause; more would be a loop."""


class Session:
    """One session from STARTING to its end.

    Args:
        config: the parameters.
        memory: what earlier sessions left.
        now_ns: session time.
        count_episodes: how many finished episodes an epoch has on disk.
    """

    def __init__(
        self, config: SessionConfig, memory: Memory, now_ns: int, count_episodes: Callable[[int], int] = lambda _: 0
    ) -> None:
        self.config = config
        self.memory = memory
        self.count_episodes = count_episodes
        self.world = World(now_ns=now_ns)
        self.desk = Desk(config.call_timeout_s)
        self.desk.late = partial(afterwards.settle, self)
        self.arms = Arms(self.desk, self.world, config)
        self.episode = Episode(self.desk, self.world, config)
        self.table = Table(lambda: bool(self.memory.owed))
        self.guard = KeyGuard(config.key_guard_s)
        self.epoch = -1
        self.number = 0
        self.last_seen = memory.last_finished
        self.reason = ""
        self.since_ns = now_ns
        self.revision = 0
        self._known_revision = -1
        self.doing = ""
        self.announced_ns: int | None = None
        self.cancellable = False
        self.asked = config.ask_before_taking
        self.sync_failed = False
        self.lower_epoch: int | None = None
        self.offered = -1
        self.fresh_weights = True
        self.arms_mark_ns = -1
        self.comes_from = State.STARTING
        self.interrupted = False
        self.guard_gives_back = False
        self.over = False
        self._spoken_ns = -NS_PER_S * 3600
        self._runner = Runner()
        self._procedures = Procedures(self)
        self._requests = Requests(self, self.guard, self._procedures)
        self._watch = Watch(self)
        self._show()
        self._runner.start(self._procedures.enter(State.STARTING))
        self._advance()

    # --- inputs ---

    def key(self, key: str, now_ns: int) -> None:
        """A person pressed `key`."""
        self.world.now_ns = now_ns
        name = key.strip() or (key and "space")
        key = name.lower() if len(name) == 1 else name
        if not self.over and key:
            self._requests.on_key(key)
        self._advance()

    def service(self, trigger: str, now_ns: int) -> Answer:
        """A person called `session_manager/<trigger>`."""
        self.world.now_ns = now_ns
        answer = self._requests.on_service(trigger) if not self.over else Answer(False, "the session is over")
        self._advance()
        return answer

    def emergency(self, who: str, why: str, now_ns: int) -> None:
        """Somebody asked for an emergency stop on the topic."""
        self.world.now_ns = now_ns
        if who != WHO:
            self.stop(f"emergency stop by {who or 'somebody'}{': ' + why if why else ''}")
        self._advance()

    def interrupt(self, why: str, now_ns: int) -> None:
        """The process was told to end: an emergency stop whose release needs no key."""
        self.world.now_ns = now_ns
        if not self.over and not self.interrupted:
            self.interrupted = True
            if self.table.state is not State.STOPPED:
                self.fire(Fire(EMERGENCY, f"interrupted by {why}"))
            self.do("ending", self._procedures.ending.end_interrupted())
        self._advance()

    def observe(self, what: Observation | Synced | Unverified | ReleaseWarned, now_ns: int) -> None:
        """Something was heard."""
        self.world.now_ns = now_ns
        if isinstance(what, Synced):
            self._procedures.upload.ended(what)
        elif isinstance(what, Unverified):
            self._procedures.upload.found(what.epochs)
        elif isinstance(what, ReleaseWarned):
            self.speak_of_release()
        else:
            self.world.take_in(what)
            if isinstance(what, SyncProgress):
                self._procedures.upload.hear(what)
        self._advance()

    def observe_hand(self, side: str, hand: Hand, now_ns: int) -> None:
        """A hand (`left` or `right`) was heard. Nothing waits for it."""
        self.world.now_ns = now_ns
        self.world.hands[side] = hand
        self.world.hear(f"{side} hand")

    def reply(self, call_id: int, reply: Reply, now_ns: int) -> None:
        """A service answered."""
        self.world.now_ns = now_ns
        self.desk.reply(call_id, reply)
        self._advance()

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        self.world.now_ns = now_ns
        self.desk.expire(now_ns)
        self._procedures.upload.tick()
        self._advance()

    # --- outputs ---

    def take(self) -> list[Command]:
        """What is to be done since the last call, oldest first."""
        return self.desk.take()

    def has_changed(self) -> bool:
        """Whether something that `view` shows has changed since the last call; what merely counts down does not."""
        known, self._known_revision = self._known_revision, self.revision
        return known != self.revision

    def view(self) -> View:
        """What `session/state` shows now."""
        left_ns = 0 if self.announced_ns is None else max(0, self.announced_ns - self.world.now_ns)
        return View(
            state=self.table.state.value,
            since_ns=self.since_ns,
            epoch=self.epoch,
            episode=self.number,
            episode_id=self.episode.id,
            prompt=self._question(),
            keys=self.keys(),
            countdown_s=left_ns / NS_PER_S,
            reason=self._watch.reason_shown(),
        )

    def _question(self) -> str:
        if self.cancellable:
            return "Press any key to cancel"
        if self.guard_gives_back:
            return "The arm guard gives the arms back: stand clear. Only the robot's own stop stops that"
        screen = self.screen()
        if not self.doing or screen.summary.startswith("Waiting for"):
            return screen.summary
        return f"{self.doing[0].upper()}{self.doing[1:]}; 'q' is an emergency stop"

    @property
    def _is_ending(self) -> bool:
        """Whether no key changes anything any more."""
        return self.over or self.interrupted or self.guard_gives_back

    def keys(self) -> tuple[str, ...]:
        """The keys that do something now."""
        if self._is_ending:
            return ()
        if self.cancellable:
            return ("any", STOP_KEY)
        if self.doing:
            return (STOP_KEY,)
        now_ns = self.world.now_ns
        return tuple(row.key for row in self.available() if not self.guard.is_guarded(row, now_ns))

    def preflight(self) -> preflight.Preflight:
        """The checks before an episode."""
        return preflight.check(self.world, self.config, self.epoch, self.episode.id if self.episode.is_open else "")

    # --- for procedures and watch ---

    def say(self, *text: str) -> None:
        """Lines for the operator, before the prompt if there is one."""
        self.desk.emit(Say(text))

    def say_without_prompt(self, *text: str) -> None:
        """Lines after which nothing is asked any more."""
        self.desk.emit(Say(text, replaces_prompt=True))

    def say_and_ask_again(self, *text: str) -> None:
        """Lines after which the state's question stands again."""
        self.asked = True
        screen = self.screen()
        self.desk.emit(Say(text if screen.prompt else (*text, f"  {screen.summary}"), screen.prompt, True))

    def refused(self, problem: str) -> Outcome:
        """What was asked for cannot be done: say why, and ask again; the session stays where it is."""
        self.reason = problem
        self.say_and_ask_again(f"  {problem}")
        self.tell(Level.WARN, "refused", problem)
        return None

    def tell(self, level: Level, reason: str, detail: str) -> None:
        """An event for everybody."""
        self.desk.emit(Tell(level, reason, detail))

    def speak_of_release(self) -> None:
        """Aloud, once for each release: the arms are about to move, and nobody may be looking at a screen."""
        if self.world.now_ns - self._spoken_ns > _SPEECH_AGAIN_S * NS_PER_S:
            self._spoken_ns = self.world.now_ns
            self.desk.emit(Speak(lines.RELEASE_SPEECH, urgent=True))

    def remember(self, memory: Memory) -> None:
        """Keep `memory`, also beyond the session."""
        if memory != self.memory:
            self.memory = memory
            self.desk.emit(Remember(memory.text()))

    def stop(self, why: str) -> bool:
        """Emergency stop, from any state; in STOPPED it ends a release. False: the session is ending by itself."""
        if self._is_ending:
            return False
        if self.table.state is not State.STOPPED:
            self.fire(Fire(EMERGENCY, why))
            return True
        self._send_stop(why)
        if self.doing:
            self._rest()
            self.reason = why
            self.revision += 1
            self.guard.rearm(self.world.now_ns)
            self._show()
            self._runner.start(self._procedures.enter(State.STOPPED))
        return True

    @property
    def execution(self) -> Execution:
        """How far EXECUTING has come."""
        return self._procedures.execution

    def screen(self) -> lines.Screen:
        """What the present state shows."""
        return lines.screen(self.table.state, self.subject())

    def subject(self) -> lines.Subject:
        """What the lines of the present state speak about."""
        taken = self.world.arm is not None and not self.world.arms_are_given_back
        return lines.Subject(
            epoch=self.epoch,
            episode=self.number,
            first_episode=self.fresh_weights,
            reason=self.reason,
            fault=self.world.fault,
            has_episode=self.episode.phase is Phase.SAVED,
            taken=taken,
            interrupted=self.interrupted,
            asks=self.asked,
            missing=self._procedures.startup.missing(),
        )

    def available(self) -> tuple[Row, ...]:
        """The rows that a person can ask for now."""
        if self.doing:
            return tuple(row for row in self.table.rows() if row.key and row.trigger == EMERGENCY)
        return tuple(row for row in self.table.rows() if row.key and not self._procedures.obstacle(row))

    # --- inside ---

    def fire(self, fire: Fire) -> None:
        """Go where the table says, and begin what is done there."""
        before = self.table.state
        self._runner.stop()
        self._rest()
        state = self.table.fire(fire.trigger)
        self.reason, self.since_ns = fire.reason, self.world.now_ns
        self.revision += 1
        self.guard.rearm(self.world.now_ns)
        if fire.trigger == EMERGENCY:
            self._send_stop(fire.reason)
        level = Level.WARN if fire.trigger in (EMERGENCY, "arm_fault") else Level.INFO
        self.tell(level, f"session_{state.value.lower()}", f"{before.value}: {fire.trigger} {fire.reason}".strip())
        self.comes_from = before
        self._procedures.prepare(fire, before)
        self._show()
        self._runner.start(self._procedures.enter(state))
        ended = self._runner.advance(self.world.now_ns)
        if ended is not None:
            self._settle(ended.value)

    def _advance(self) -> None:
        for _ in range(_MOST_STEPS):
            if self.over:
                return
            if (fire := self._watch.look()) is not None:
                self.fire(fire)
                continue
            ended = self._runner.advance(self.world.now_ns)
            if ended is None:
                return
            self._settle(ended.value)

    def _settle(self, result: object) -> None:
        """A procedure has ended with `result`: where to go, that the session is over, or nothing."""
        self._rest()
        if isinstance(result, Fire):
            self.fire(result)
        elif isinstance(result, Quit):
            self.over = True
            self.revision += 1
            self.desk.emit(Exit(result.status))
        else:
            self.revision += 1
            self._runner.start(self._procedures.idle(self.table.state))

    def _rest(self) -> None:
        self.doing, self.announced_ns, self.cancellable = "", None, False

    def do(self, what: str, steps: Steps[Outcome]) -> None:
        """Begin what takes time; `what` says to others why they have to wait."""
        self._rest()
        self.doing = what
        self.revision += 1
        self._runner.start(steps)

    def _show(self) -> None:
        screen = self.screen()
        self.desk.emit(Say(screen.lines, screen.prompt, replaces_prompt=True))
        if self.table.state in _NEEDS_PERSON:
            self.desk.emit(Bell())

    def _send_stop(self, why: str) -> None:
        self.desk.post("arm_driver/emergency_stop", {}, self._on_stop_reply, self.world.now_ns)
        self.desk.emit(PublishStop(why))

    def _on_stop_reply(self, reply: Reply) -> None:
        if not reply.accepted:
            self.say(f"  {reply.reason or 'arm_driver refused the emergency stop'}")
            self.tell(Level.ERROR, "emergency_stop_unanswered", reply.reason)
