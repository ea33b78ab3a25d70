"""STARTING: the arms are asked for only when everybody who works with them, or watches over them, is there.

Ten processes that load at once starve each other on a slow machine, the arm driver too; with the arms in its hands
that would be a fault. So nothing moves before each node has spoken. Cameras and hands may be missing for good: their
first sign is waited for only a while.
"""

from __future__ import annotations

from h1_session_manager.announcing import countdown
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait, stay
from h1_session_manager.values import Bell, Say
from h1_training_node.message_numbers import ArmMode, Level


class Startup:
    """The procedures of STARTING."""

    def __init__(self, board: Blackboard) -> None:
        self._board = board

    def run(self) -> Steps[Outcome]:
        """Wait for everybody; then ask, or take the arms without a question."""
        board = self._board
        yield from self._wait()
        if board.config.ask_before_taking:
            self._ask()
            return (yield from stay())
        board.doing, board.cancellable = "taking the arms", True
        return (yield from self.take_arms())

    def take_arms(self) -> Steps[Outcome]:
        """Announce the motion, take the arms from the robot's own controller, and bring them home."""
        board = self._board
        heard = yield Wait(lambda: not board.arms.driver_is_silent, 10 * board.config.call_timeout_s)
        if not heard:
            return board.refused("arm_driver is silent; does it run?")
        yield from countdown(board, "The arms are taken and move to the home position")
        board.cancellable = False
        if problem := (yield from board.arms.settle("start")):
            return board.refused(problem)
        if problem := (yield from board.arms.go_home("start")):
            if board.world.arm_mode is ArmMode.HOME:  # it took too long: nothing moves on once that was said
                yield from board.arms.hold("home_timeout")
            return board.refused(problem)
        return Fire("start")

    def _wait(self) -> Steps[None]:
        """Until all nodes were heard; then for cameras and hands, with a line about those that stay away."""
        board = self._board
        board.doing = "the session is starting up"
        limit_s = board.config.startup_timeout_s
        if not (yield Wait(lambda: not board.world.missing_nodes(), limit_s)):
            who = ", ".join(board.world.missing_nodes())
            board.reason = f"{who}: not heard within {limit_s:g} s; see the log of that name. Still waiting"
            board.revision += 1
            board.say(f"  {board.reason}; 'q' and then 'y' end the session")
            board.tell(Level.ERROR, "node_does_not_start", board.reason)
            yield Wait(lambda: not board.world.missing_nodes(), None)
            board.reason = ""
        if not (yield Wait(lambda: not self._signless(), board.config.first_sign_timeout_s)):
            board.say(f"  No sign yet of {', '.join(self._signless())}: going on; READY shows whether it is there")
        board.doing = ""
        board.revision += 1

    def _ask(self) -> None:
        """Everybody is there: the question."""
        board = self._board
        board.key_guard.rearm(board.world.now_ns)
        board.desk.emit(Say((), board.screen().prompt, replaces_prompt=True))
        board.desk.emit(Bell())

    def _signless(self) -> tuple[str, ...]:
        """The cameras and hands without a first sign."""
        world, config = self._board.world, self._board.config
        streams = world.recorder.streams if world.recorder is not None else ()
        alive = {stream.name for stream in streams if stream.age >= 0}
        hands = ("left hand", "right hand") if config.include_hands else ()
        return (
            *(camera for camera in config.cameras if camera not in alive),
            *(hand for hand in hands if hand not in world.heard_ns),
        )
