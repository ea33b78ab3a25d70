"""The course of the session: it follows the table from state to state, and advances what is done in each.

One procedure is under way at any time. A transition ends it wherever it stands and begins the new state's; what it
returns at its end is followed in turn. What may happen at any time (`watch.py`) goes before it.
"""

from __future__ import annotations

from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Fire, Outcome, Quit
from h1_session_manager.procedure import Runner, Steps
from h1_session_manager.procedures import Procedures
from h1_session_manager.table import EMERGENCY, State
from h1_session_manager.values import Bell, Exit, PublishStop, Reply, Say
from h1_session_manager.watch import Watch
from h1_training_node.message_numbers import Level

_NEEDS_PERSON = frozenset({State.READY, State.LABELING, State.DECIDING, State.STOPPED})
_MOST_STEPS = 32
"""Transitions that one input may cause; more would be a loop."""


class Course:
    """Where the session goes."""

    def __init__(self, board: Blackboard, procedures: Procedures, watch: Watch) -> None:
        self._board = board
        self._procedures = procedures
        self._watch = watch
        self._runner = Runner()

    def begin(self) -> None:
        """Enter the table's first state."""
        self._enter()
        self.advance()

    def advance(self) -> None:
        """Go on as far as possible; to be called after every input."""
        for _ in range(_MOST_STEPS):
            if self._board.over:
                return
            if (fire := self._watch.look()) is not None:
                self.fire(fire)
            elif not self._step():
                return

    def fire(self, fire: Fire) -> None:
        """Go where the table says, and begin what is done there."""
        board = self._board
        before = board.table.state
        self._runner.stop()
        board.rest()
        state = board.table.fire(fire.trigger)
        board.reason, board.since_ns = fire.reason, board.world.now_ns
        board.revision += 1
        board.key_guard.rearm(board.world.now_ns)
        if fire.trigger == EMERGENCY:
            self._send_stop(fire.reason)
        level = Level.WARN if fire.trigger in (EMERGENCY, "arm_fault") else Level.INFO
        board.tell(level, f"session_{state.value.lower()}", f"{before.value}: {fire.trigger} {fire.reason}".strip())
        board.comes_from = before
        self._procedures.prepare(fire, before)
        self._enter()
        self._step()

    def do(self, what: str, steps: Steps[Outcome]) -> None:
        """Begin what takes time; `what` says to others why they have to wait."""
        self._board.rest()
        self._board.doing = what
        self._board.revision += 1
        self._runner.start(steps)

    def stop(self, why: str) -> bool:
        """Emergency stop, from any state; in STOPPED it ends a release. False: the session is ending by itself."""
        board = self._board
        if board.is_ending:
            return False
        if board.table.state is not State.STOPPED:
            self.fire(Fire(EMERGENCY, why))
            return True
        self._send_stop(why)
        if board.doing:
            board.rest()
            board.reason = why
            board.revision += 1
            board.key_guard.rearm(board.world.now_ns)
            self._enter()
        return True

    def interrupt(self, why: str) -> None:
        """The process was told to end: an emergency stop whose release needs no key."""
        board = self._board
        if board.over or board.interrupted:
            return
        board.interrupted = True
        if board.table.state is not State.STOPPED:
            self.fire(Fire(EMERGENCY, f"interrupted by {why}"))
        self.do("ending", self._procedures.ending.end_interrupted())

    def _enter(self) -> None:
        """Show the present state, and begin its procedure."""
        board = self._board
        screen = board.screen()
        board.desk.emit(Say(screen.lines, screen.prompt, replaces_prompt=True))
        if board.table.state in _NEEDS_PERSON:
            board.desk.emit(Bell())
        self._runner.start(self._procedures.enter(board.table.state))

    def _step(self) -> bool:
        """Advance the procedure; whether it has come to its end, which was then followed."""
        ended = self._runner.advance(self._board.world.now_ns)
        if ended is not None:
            self._follow(ended.value)
        return ended is not None

    def _follow(self, result: object) -> None:
        """A procedure has ended with `result`: where to go, that the session is over, or nothing."""
        board = self._board
        board.rest()
        if isinstance(result, Fire):
            self.fire(result)
            return
        board.revision += 1
        if isinstance(result, Quit):
            board.over = True
            board.desk.emit(Exit(result.status))
        else:
            self._runner.start(self._procedures.idle(board.table.state))

    def _send_stop(self, why: str) -> None:
        board = self._board
        board.desk.post("arm_driver/emergency_stop", {}, self._on_stop_reply, board.world.now_ns)
        board.desk.emit(PublishStop(why))

    def _on_stop_reply(self, reply: Reply) -> None:
        if not reply.accepted:
            self._board.say(f"  {reply.reason or 'arm_driver refused the emergency stop'}")
            self._board.tell(Level.ERROR, "emergency_stop_unanswered", reply.reason)
