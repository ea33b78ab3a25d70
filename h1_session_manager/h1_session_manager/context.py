# SPDX-License-Identifier: Apache-2.0
"""What the session's states share: where it stands, whom it asks, and what it says. No ROS, no threads, no clock.

Every state reads and writes it, and nothing else of the session: where a state wants to go, its steps return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from h1_session_manager import preflight
from h1_session_manager.arm_control import ArmControl
from h1_session_manager.episode import Episode
from h1_session_manager.memory import Memory
from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.requests import KeyGuard
from h1_session_manager.service_calls import ServiceCalls
from h1_session_manager.steps import Next, Steps, pause
from h1_session_manager.table import Row, State, Table
from h1_session_manager.values import Command, Remember, ReportEvent, Say, SayAloud
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Level

if TYPE_CHECKING:
    from h1_session_manager.states.base import BaseState

_SPEECH_AGAIN_S = 8.0
"""The session's own announcement and the driver's warning are about one release."""
RELEASE_SPEECH = "Attention. The arms return to the robot's own controller. Stand clear."
_LABEL_S = 1.0
"""A label that was asked for just before DECIDING was left shows in the recorder's status within this time."""


class Context:
    """One session, as its states see it.

    Args:
        config: the parameters.
        memory: what earlier sessions left.
        now_ns: session time.
        next_index: of an epoch, the index of its next episode.
        rows: of the table.

    Attributes:
        states: by name; the engine fills it in.
        epoch, number: of the episode in work, as in its file's name; -1 before the first.
        last_seen: the epoch that was taken up last; before the first, the highest that an earlier session finished.
        offered: the server's epoch that `new_weights` or `accept` takes up.
        on_offer: an epoch that needs a person's 'y' in WAITING; None if there is none.
        served: digest of the metadata on which the last episode ran, or the epoch in work was taken up.
        fresh_weights: the epoch in work has had no episode yet in this session.
        reason: why the state is as it is, for the person.
        since_ns: when the state was entered.
        revision: grows with whatever `session/state` shows, but for what merely counts down.
        doing: what takes time now, for whoever has to wait; empty if nothing does.
        announced, announced_ns: the motion that is announced, and when it begins; empty and None if none is.
        cancellable: any key cancels what is under way.
        asked: the state's question stands on the screen.
        sync_failed: the upload has ended without success, and the person decides.
        upload_due_ns: when an upload beside the session may begin; None if none is due.
        arms_mark_ns: when the mode began that the arms were in before EXECUTING set them in motion.
        comes_from: the state before this one.
        over: the session has ended; `guard_releases`: it is ending, and no key changes that.
        interrupted: why the process was asked to end, which no key changes; empty if it was not.
    """

    def __init__(
        self,
        config: SessionParameters,
        memory: Memory,
        now_ns: int,
        next_index: Callable[[int], int],
        rows: tuple[Row, ...],
    ) -> None:
        self.config = config
        self.memory = memory
        self.next_index = next_index
        self.observed = Observed(now_ns=now_ns)
        self.calls = ServiceCalls(config.call_timeout_s)
        self.arms = ArmControl(self.calls, self.observed, config)
        self.episode = Episode(self.calls, self.observed, config)
        self.table = Table(rows, lambda: bool(self.memory.owed))
        self.states: Mapping[State, BaseState] = {}
        self.key_guard = KeyGuard(config.key_guard_s)
        self.epoch = -1
        self.number = -1
        self.last_seen = memory.last_finished
        self.offered = -1
        self.on_offer: int | None = None
        self.served = ""
        self.fresh_weights = True
        self.reason = ""
        self.since_ns = now_ns
        self.revision = 0
        self.doing = ""
        self.announced = ""
        self.announced_ns: int | None = None
        self.cancellable = False
        self.asked = config.ask_before_taking
        self.sync_failed = False
        self.upload_due_ns: int | None = None
        self.arms_mark_ns = -1
        self.comes_from = State.STARTING
        self.interrupted = ""
        self.guard_releases = False
        self.over = False
        self._release_announced_ns = -NS_PER_S * 3600

    @property
    def state(self) -> BaseState:
        """The present state."""
        return self.states[self.table.state]

    @property
    def is_ending(self) -> bool:
        """Whether no key changes anything any more."""
        return self.over or bool(self.interrupted) or self.guard_releases

    def preflight(self) -> preflight.Preflight:
        """The checks before an episode."""
        own = self.episode.id if self.episode.is_open else ""
        return preflight.check(self.observed, self.config, self.epoch, own)

    def note_served(self) -> None:
        """The weights that serve now are in use; others than these are new ones."""
        policy = self.observed.policy
        self.served = policy.metadata_digest if policy is not None and policy.metadata_digest else self.served

    def rest(self) -> None:
        """Nothing takes time any more."""
        self.doing, self.cancellable = "", False
        self.announced, self.announced_ns = "", None

    # --- what it says ---

    def emit(self, command: Command) -> None:
        """Ask the node for `command`."""
        self.calls.emit(command)

    def say(self, *text: str) -> None:
        """Lines for the operator, before the prompt if there is one."""
        self.emit(Say(text))

    def say_without_prompt(self, *text: str) -> None:
        """Lines after which nothing is asked any more."""
        self.emit(Say(text, replaces_prompt=True))

    def say_and_ask_again(self, *text: str) -> None:
        """Lines after which the state's question stands again."""
        self.asked = True
        own = self.state.text()
        self.emit(Say(text if own.prompt else (*text, f"  {own.question}"), own.prompt, True))

    def refused(self, problem: str) -> Next:
        """What was asked for cannot be done: say why, and ask again; the session stays where it is."""
        self.reason = problem
        self.say_and_ask_again(f"  {problem}")
        self.event(Level.WARN, "refused", problem)
        return None

    def report_stiff(self, problem: str) -> None:
        """The arms should be compliant and are not."""
        self.say(f"  The arms are not in damping mode: {problem}", "  Press 'q' for an emergency stop")
        self.event(Level.ERROR, "damping_refused", problem)

    def event(self, level: Level, reason: str, detail: str) -> None:
        """An event for everybody."""
        self.emit(ReportEvent(level, reason, detail))

    def announce_release(self) -> None:
        """Counted down, and said aloud once for each release: nobody may be looking at a screen."""
        self._announce("The arms return to the robot's own controller", self.config.release_warning_s)
        if self.observed.now_ns - self._release_announced_ns > _SPEECH_AGAIN_S * NS_PER_S:
            self._release_announced_ns = self.observed.now_ns
            self.emit(SayAloud(RELEASE_SPEECH, urgent=True))

    # --- what several states do ---

    def countdown(self, what: str) -> Steps[None]:
        """Announce that `what` moves, on the screen and aloud, and wait for as long as that says."""
        seconds = self.config.motion_countdown_s
        if seconds > 0:
            self.say_without_prompt(f"  {what} in {seconds:g} s: press any key to cancel")
            self.emit(SayAloud(f"{what.rstrip(',')} in {seconds:g} seconds."))
            self._announce(what.rstrip(","), seconds)
            yield from pause(seconds)
        self.announced, self.announced_ns = "", None

    def _announce(self, what: str, seconds: float) -> None:
        if self.announced_ns is None or self.announced_ns < self.observed.now_ns:
            self.announced, self.announced_ns = what, self.observed.now_ns + int(seconds * NS_PER_S)
            self.revision += 1

    def undo_motion(self) -> Steps[Next]:
        """After an announced motion was cancelled: the arms as the state has them."""
        problem = ""
        if self.table.state is State.DAMPING:
            problem = yield from self.arms.ask(ArmMode.DAMPING, "cancelled")
        elif self.episode.is_open:
            problem = yield from self.episode.discard("the start was cancelled")
        if problem:
            self.say(f"  {problem}")
        return None

    def upload_later(self) -> None:
        """The labels of a finished episode are final: its file may go out beside the session."""
        if self.config.background_upload and self.config.rsync_target and self.memory.owed:
            self.upload_due_ns = self.observed.now_ns + int(_LABEL_S * NS_PER_S)

    def remember(self, memory: Memory) -> None:
        """Keep `memory`, also beyond the session."""
        if memory != self.memory:
            self.memory = memory
            self.emit(Remember(memory.text()))


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
