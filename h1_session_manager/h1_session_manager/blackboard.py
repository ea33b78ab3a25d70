"""What the parts of the session share: where it stands, whom it asks, and how it speaks. No ROS, no threads, no clock.

Every procedure reads and writes it, and nothing else of the session: where a procedure wants to go, it returns.
"""

from __future__ import annotations

from collections.abc import Callable

from h1_session_manager import lines, preflight
from h1_session_manager.arms import Arms
from h1_session_manager.episode import Episode, Phase
from h1_session_manager.keys import KeyGuard
from h1_session_manager.memory import Memory
from h1_session_manager.outcome import Outcome
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.procedure import Desk
from h1_session_manager.table import State, Table
from h1_session_manager.values import Remember, Say, Speak, Tell
from h1_session_manager.world import World
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level

_SPEECH_AGAIN_S = 8.0
"""The session's own announcement and the driver's warning are about one release."""


class Blackboard:
    """One session, as its procedures see it.

    Args:
        config: the parameters.
        memory: what earlier sessions left.
        now_ns: session time.
        count_episodes: how many finished episodes an epoch has on disk.

    Attributes:
        epoch, number: of the episode in work; -1 and 0 before the first.
        last_seen: the epoch that was taken up last; before the first, the highest that an earlier session finished.
        offered: the server's epoch that `new_weights` or `accept` takes up.
        lower_epoch: on offer, below `last_seen`; None if there is none.
        fresh_weights: the epoch in work has had no episode yet in this session.
        reason: why the state is as it is, for the person.
        since_ns: when the state was entered.
        revision: grows with whatever `session/state` shows, but for what merely counts down.
        doing: what takes time now, for whoever has to wait; empty if nothing does.
        announced_ns: when the announced motion begins; None if none is announced.
        cancellable: any key takes back what is under way.
        asked: the state's question stands on the screen.
        sync_failed: the upload has ended without success, and the person decides.
        arms_mark_ns: when the mode began that the arms were in before EXECUTING set them in motion.
        comes_from: the state before this one.
        over: the session has ended; `interrupted`, `guard_gives_back`: it is ending, and no key changes that.
    """

    def __init__(
        self, config: SessionParameters, memory: Memory, now_ns: int, count_episodes: Callable[[int], int]
    ) -> None:
        self.config = config
        self.memory = memory
        self.count_episodes = count_episodes
        self.world = World(now_ns=now_ns)
        self.desk = Desk(config.call_timeout_s)
        self.arms = Arms(self.desk, self.world, config)
        self.episode = Episode(self.desk, self.world, config)
        self.table = Table(lambda: bool(self.memory.owed))
        self.key_guard = KeyGuard(config.key_guard_s)
        self.epoch = -1
        self.number = 0
        self.last_seen = memory.last_finished
        self.offered = -1
        self.lower_epoch: int | None = None
        self.fresh_weights = True
        self.reason = ""
        self.since_ns = now_ns
        self.revision = 0
        self.doing = ""
        self.announced_ns: int | None = None
        self.cancellable = False
        self.asked = config.ask_before_taking
        self.sync_failed = False
        self.arms_mark_ns = -1
        self.comes_from = State.STARTING
        self.interrupted = False
        self.guard_gives_back = False
        self.over = False
        self._spoken_ns = -NS_PER_S * 3600

    @property
    def is_ending(self) -> bool:
        """Whether no key changes anything any more."""
        return self.over or self.interrupted or self.guard_gives_back

    def preflight(self) -> preflight.Preflight:
        """The checks before an episode."""
        return preflight.check(self.world, self.config, self.epoch, self.episode.id if self.episode.is_open else "")

    def rest(self) -> None:
        """Nothing takes time any more."""
        self.doing, self.announced_ns, self.cancellable = "", None, False

    # --- the voice ---

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

    def screen(self) -> lines.Screen:
        """What the present state shows."""
        subject = lines.Subject(
            epoch=self.epoch,
            episode=self.number,
            first_episode=self.fresh_weights,
            reason=self.reason,
            fault=self.world.fault,
            has_episode=self.episode.phase is Phase.SAVED,
            taken=self.world.arm is not None and not self.world.arms_are_given_back,
            interrupted=self.interrupted,
            asks=self.asked,
            missing=self.world.missing_nodes(),
        )
        return lines.screen(self.table.state, subject)
