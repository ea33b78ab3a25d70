# SPDX-License-Identifier: Apache-2.0
"""The real arm controller on the simulated robot, in one process and at virtual time: for evaluation and for tests.

What lies between them in a session lies here too: states and commands as the wire has them, a heartbeat, a guard that
answers. Only the clock is another one, which is why a second costs a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.actions import ReceivedAction
from h1_training_bringup.arm_driver.command import ArmCommand, CommandEncoder
from h1_training_bringup.arm_driver.controller import ArmController
from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.parameters import ArmParameters, JointSettings, load_joint_settings
from h1_training_bringup.sim.robot import RobotParameters, SimulatedRobot
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode

MS = 1_000_000
START_NS = 1_000 * NS_PER_S
_TICK_NS, _STATE_NS = 4 * MS, 2 * MS
_HEARTBEAT_TICKS = 25


@dataclass
class Rig:
    """The controller, and the simulated robot behind real samples, in virtual time: 2 ms a state, 4 ms a command.

    Attributes:
        robot: a new one unless another is given.
        sent: every command, with its time in ns.
        person: (2, 3), N, what a person does at the wrists from now on; None for nothing.
        heartbeat, guard_answers, guard_lives: whether session and guard are alive.
    """

    parameters: ArmParameters = field(default_factory=ArmParameters)
    robot_parameters: RobotParameters = field(default_factory=RobotParameters)
    now_ns: int = START_NS
    joints: JointSettings | None = None
    robot: SimulatedRobot = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        joints = self.joints = self.joints or load_joint_settings(self.parameters)
        self.robot = self.robot or SimulatedRobot(self.robot_parameters, self.now_ns)
        self.controller = ArmController(joints, self.parameters)
        self.guard_lives = True
        self.intake = StateIntake(round(self.parameters.robot_timeout_s * NS_PER_S), self.parameters.harmless_bits)
        self._encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self.command: ArmCommand | None = None
        self.sent: list[tuple[int, ArmCommand]] = []
        self.notices: list[str] = []
        self.heartbeat = self.guard_answers = True
        self.person: NDArray[np.float64] | None = None
        self._heartbeats = self._guard_heartbeats = 0
        self._actions = 0
        self._ticks = 0

    @property
    def mode(self) -> ArmMode:
        """Of the controller."""
        return self.controller.mode

    @property
    def q(self) -> NDArray[np.float64]:
        """Arm joints as the body has them, (14,), rad."""
        return self.robot.body.q[1:].copy()

    @property
    def dq(self) -> NDArray[np.float64]:
        """Their speeds, (14,), rad/s."""
        return self.robot.body.dq[1:].copy()

    def tick(self) -> None:
        """Go on by 4 ms: the robot moves and reports, then the controller steps and commands."""
        for _ in range(_TICK_NS // _STATE_NS):
            self.now_ns += _STATE_NS
            self.robot.advance(self.now_ns, self.person)
            if (sample := self.robot.state_sample()) is not None:
                self.intake.receive(sample, self.now_ns)
        if self.heartbeat and self._ticks % _HEARTBEAT_TICKS == 0:
            self._heartbeats += 1
            self.controller.conditions.heartbeat.receive(self.now_ns, self._heartbeats)
        if self.guard_lives and self._ticks % _HEARTBEAT_TICKS == 0:
            self._guard_heartbeats += 1
            self.controller.conditions.guard.receive(self.now_ns, self._guard_heartbeats)
        self._ticks += 1
        sensed = self.intake.latest()
        self.controller.conditions.frozen = self.intake.frozen(self.now_ns)
        self.controller.conditions.unusable = self.intake.unusable(self.now_ns)
        if sensed is not None:
            good_for_ns, rate = self.intake.good_for_ns(self.now_ns), self.intake.rate(self.now_ns)
            self.command = self.controller.step(self.now_ns, sensed, good_for_ns, rate)
            if self.controller.question and self.guard_answers:
                self.controller.guard_answered(self.now_ns, self.controller.question, is_watching=True)
            if self.command is not None:
                self.sent.append((self.now_ns, self.command))
                self.robot.inbox.take(self._encoder.encode(self.command), self.now_ns)
        self.notices += [notice.reason for notice in self.controller.notices]
        self.controller.notices.clear()

    def run(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Go on for `seconds`, with `each()` before each tick."""
        for _ in range(round(seconds * NS_PER_S / _TICK_NS)):
            if each is not None:
                each()
            self.tick()

    def run_until(self, condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
        """Go on until `condition()` holds.

        Raises:
            AssertionError: `what` has not come about within `limit_s` of virtual time.
        """
        for _ in range(round(limit_s * NS_PER_S / _TICK_NS)):
            if condition():
                return
            self.tick()
        raise AssertionError(f"not within {limit_s} s of virtual time: {what}; notices: {self.notices}")

    def ask(self, mode: ArmMode, expected: ArmMode | None = None) -> str:
        """Ask for a mode; the reason why not, or an empty string."""
        return self.controller.set_mode(
            self.now_ns, "requested", mode, self.mode if expected is None else expected
        ).reason

    def take(self) -> None:
        """From the start to HOLD with all of the weight."""
        self.run(0.6)
        assert self.ask(ArmMode.HOLD) == ""
        self.run_until(lambda: not self.controller.transition, "taken")
        assert self.mode is ArmMode.HOLD, self.controller.reason

    def place(self, q: NDArray[np.float64]) -> bool:
        """Put the arms at `q`, (14,), rad, at rest and held, in no time; False if the controller would not have it."""
        if self.mode is not ArmMode.DAMPING and self.ask(ArmMode.DAMPING):
            return False
        self.run(0.02)
        self.robot.body.place(np.concatenate([[0.0], q]))
        self.run(0.1)
        if self.ask(ArmMode.HOLD):
            return False
        self.run(0.1)
        return self.mode is ArmMode.HOLD

    def act(self, positions: Any, **changes: Any) -> None:
        """Put out one action, as the policy bridge does every 20 ms."""
        self._actions += 1
        values = {"seq": self._actions, "stamp_ns": self.now_ns, "observation_ns": self.now_ns - 50 * MS}
        values["execution"] = self.controller.execution
        self.controller.offer_action(
            self.now_ns, ReceivedAction(positions=np.array(positions, float), **{**values, **changes})
        )

    def enter_policy(self) -> None:
        """From HOLD, in which an observation has been made, to POLICY."""
        self.run(0.1)
        assert self.ask(ArmMode.POLICY) == ""

    def follow(self, target: Callable[[int], Any], seconds: float) -> None:
        """Fifty actions a second; `target` gives the positions for the n-th."""
        for n in range(round(seconds * 50)):
            self.act(target(n))
            self.run(0.02)
