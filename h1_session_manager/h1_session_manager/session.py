"""The session: takes requests and observations, and says what is to be done. No ROS, no threads, no clock.

Every input names the time; every effect is a value from `take()` (see `values.py`). The session's parts meet on its
blackboard (`blackboard.py`); `table.py` has its states, `procedures.py` what is done in them, `course.py` follows both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from h1_session_manager import afterwards
from h1_session_manager.arms import WHO
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.course import Course
from h1_session_manager.memory import Memory
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.person import Requests
from h1_session_manager.preflight import Preflight
from h1_session_manager.procedures import Procedures
from h1_session_manager.table import STOP_KEY, Row
from h1_session_manager.values import (
    Answer,
    Command,
    Hand,
    ReleaseWarned,
    Reply,
    Synced,
    SyncProgress,
    Unverified,
    View,
)
from h1_session_manager.watch import Watch
from h1_session_manager.world import Observation, World
from h1_training_node.clock import NS_PER_S


class Session:
    """One session from STARTING to its end.

    Args:
        config: the parameters.
        memory: what earlier sessions left.
        now_ns: session time.
        count_episodes: how many finished episodes an epoch has on disk.

    Attributes:
        board: where it stands.
    """

    def __init__(
        self, config: SessionParameters, memory: Memory, now_ns: int, count_episodes: Callable[[int], int] = lambda _: 0
    ) -> None:
        self.board = Blackboard(config, memory, now_ns, count_episodes)
        self.board.desk.late = partial(afterwards.settle, self.board)
        self._procedures = Procedures(self.board)
        self._upload = self._procedures.upload
        self._watch = Watch(self.board, self._procedures.execution)
        self._course = Course(self.board, self._procedures, self._watch)
        self._requests = Requests(self.board, self._procedures, self._course)
        self._known_revision = -1
        self._course.begin()

    @property
    def world(self) -> World:
        """What it knows of the others."""
        return self.board.world

    # --- inputs ---

    def key(self, key: str, now_ns: int) -> None:
        """A person pressed `key`."""
        self.world.now_ns = now_ns
        name = key.strip() or (key and "space")
        key = name.lower() if len(name) == 1 else name
        if not self.board.over and key:
            self._requests.on_key(key)
        self._course.advance()

    def service(self, trigger: str, now_ns: int) -> Answer:
        """A person called `session_manager/<trigger>`."""
        self.world.now_ns = now_ns
        answer = Answer(False, "the session is over") if self.board.over else self._requests.on_service(trigger)
        self._course.advance()
        return answer

    def emergency(self, who: str, why: str, now_ns: int) -> None:
        """Somebody asked for an emergency stop on the topic."""
        self.world.now_ns = now_ns
        if who != WHO:
            self._course.stop(f"emergency stop by {who or 'somebody'}{': ' + why if why else ''}")
        self._course.advance()

    def interrupt(self, why: str, now_ns: int) -> None:
        """The process was told to end: an emergency stop whose release needs no key."""
        self.world.now_ns = now_ns
        self._course.interrupt(why)
        self._course.advance()

    def observe(self, what: Observation | Synced | Unverified | ReleaseWarned, now_ns: int) -> None:
        """Something was heard."""
        self.world.now_ns = now_ns
        if isinstance(what, Synced):
            self._upload.ended(what)
        elif isinstance(what, Unverified):
            self._upload.found(what.epochs)
        elif isinstance(what, ReleaseWarned):
            self.board.speak_of_release()
        else:
            self.world.take_in(what)
            if isinstance(what, SyncProgress):
                self._upload.hear(what)
        self._course.advance()

    def observe_hand(self, side: str, hand: Hand, now_ns: int) -> None:
        """A hand (`left` or `right`) was heard. Nothing waits for it."""
        self.world.now_ns = now_ns
        self.world.hands[side] = hand
        self.world.hear(f"{side} hand")

    def reply(self, call_id: int, reply: Reply, now_ns: int) -> None:
        """A service answered."""
        self.world.now_ns = now_ns
        self.board.desk.reply(call_id, reply)
        self._course.advance()

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        self.world.now_ns = now_ns
        self.board.desk.expire(now_ns)
        self._upload.tick()
        self._course.advance()

    # --- outputs ---

    def take(self) -> list[Command]:
        """What is to be done since the last call, oldest first."""
        return self.board.desk.take()

    def has_changed(self) -> bool:
        """Whether something that `view` shows has changed since the last call; what merely counts down does not."""
        known, self._known_revision = self._known_revision, self.board.revision
        return known != self.board.revision

    def view(self) -> View:
        """What `session/state` shows now."""
        board = self.board
        left_ns = 0 if board.announced_ns is None else max(0, board.announced_ns - self.world.now_ns)
        return View(
            state=board.table.state.value,
            since_ns=board.since_ns,
            epoch=board.epoch,
            episode=board.number,
            episode_id=board.episode.id,
            prompt=self._question(),
            keys=self.keys(),
            countdown_s=left_ns / NS_PER_S,
            reason=self._watch.reason_shown(),
        )

    def _question(self) -> str:
        board = self.board
        if board.cancellable:
            return "Press any key to cancel"
        if board.guard_gives_back:
            return "The arm guard gives the arms back: stand clear. Only the robot's own stop stops that"
        screen = board.screen()
        if not board.doing or screen.summary.startswith("Waiting for"):
            return screen.summary
        return f"{board.doing[0].upper()}{board.doing[1:]}; 'q' is an emergency stop"

    def keys(self) -> tuple[str, ...]:
        """The keys that do something now."""
        board = self.board
        if board.is_ending:
            return ()
        if board.cancellable:
            return ("any", STOP_KEY)
        if board.doing:
            return (STOP_KEY,)
        return tuple(row.key for row in self.available() if not board.key_guard.is_guarded(row, self.world.now_ns))

    def available(self) -> tuple[Row, ...]:
        """The rows of the table that a person can ask for now."""
        return self._requests.available()

    def preflight(self) -> Preflight:
        """The checks before an episode."""
        return self.board.preflight()
