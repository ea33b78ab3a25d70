# SPDX-License-Identifier: Apache-2.0
"""STARTING: the arms are asked for only when every node that works with them, or guards them, is there.

Ten processes that load at once starve each other on a slow machine, the arm driver too; while it controls the arms
that would be a fault. So nothing moves before each node was heard. Cameras and hands may be missing for good: their
first sign is waited for only a while.
"""

from __future__ import annotations

from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.steps import Fire, Next, Steps, Wait, stay
from h1_session_manager.table import Row, State
from h1_session_manager.values import Bell, Say
from h1_training_node.message_numbers import ArmMode, Level


class Starting(BaseState):
    """The robot's own controller has the arms."""

    name = State.STARTING
    arms = "RELEASED, then HOME"

    def text(self) -> StateText:
        ask = f"Press 'y' to {self.acknowledging()}take the arms and move to home position"
        lines = ("[STARTING] The arms are with the robot's own controller",)
        if missing := self.context.observed.missing_nodes():
            waiting = f"Waiting for {', '.join(missing)} to start"
            return StateText((*lines, f"  {waiting}"), "", waiting)
        return StateText(lines, f"  {ask}: " if self.context.asked else "", ask)

    def enter(self) -> Steps[Next]:
        """Wait for everybody; then ask, or acquire the arms without a question."""
        context = self.context
        yield from self._wait_for_nodes()
        if context.config.ask_before_taking:
            context.key_guard.rearm(context.observed.now_ns)
            context.emit(Say((), self.text().prompt, replaces_prompt=True))
            context.emit(Bell())
            return (yield from stay())
        context.doing, context.cancellable = "acquiring the arms", True
        return (yield from self.acquire_arms())

    def acquire_arms(self) -> Steps[Next]:
        """Announce the motion, acquire the arms from the robot's own controller, and bring them home."""
        context = self.context
        heard = yield Wait(lambda: not context.arms.driver_is_silent, 10 * context.config.call_timeout_s)
        if not heard:
            return context.refused("arm_driver is silent; does it run?")
        yield from context.countdown("The arms are acquired and move to the home position")
        context.cancellable = False
        if problem := (yield from context.arms.settle("start")):
            return context.refused(problem)
        if problem := (yield from context.arms.go_home("start")):
            if context.observed.arm_mode is ArmMode.HOME:  # it took too long: nothing moves on once that was said
                yield from context.arms.hold("home_timeout")
            return context.refused(problem)
        return Fire("start")

    def _wait_for_nodes(self) -> Steps[None]:
        """Until all nodes were heard; then for cameras and hands, with a line about those that stay away."""
        context, observed = self.context, self.context.observed
        context.doing = "the session is starting up"
        limit_s = context.config.startup_timeout_s
        if not (yield Wait(lambda: not observed.missing_nodes(), limit_s)):
            who = ", ".join(observed.missing_nodes())
            context.reason = f"{who}: not heard within {limit_s:g} s; see the log of that name. Still waiting"
            context.revision += 1
            context.say(f"  {context.reason}; 'q' and then 'y' end the session")
            context.event(Level.ERROR, "node_does_not_start", context.reason)
            yield Wait(lambda: not observed.missing_nodes(), None)
            context.reason = ""
        if not (yield Wait(lambda: not self._without_a_sign(), context.config.first_sign_timeout_s)):
            absent = ", ".join(self._without_a_sign())
            context.say(f"  Nothing from {absent} yet: continuing; READY shows whether it is there")
        context.doing = ""
        context.revision += 1

    def _without_a_sign(self) -> tuple[str, ...]:
        """The cameras and hands that were not heard yet."""
        observed, config = self.context.observed, self.context.config
        streams = observed.recorder.streams if observed.recorder is not None else ()
        alive = {stream.name for stream in streams if stream.age >= 0}
        hands = ("left hand", "right hand") if config.include_hands else ()
        return (
            *(camera for camera in config.cameras if camera not in alive),
            *(hand for hand in hands if hand not in observed.heard_ns),
        )

    rows = (
        Row("start", State.WAITING, "y", "take the arms and move to home position", motion=True,
            doing="acquiring the arms", begin=acquire_arms),
    )  # fmt: skip
