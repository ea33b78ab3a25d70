"""For the arms' tests: settings, readings made by hand, and the controller on the simulated robot in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.actions import Action
from h1_training_bringup.arm_driver.command import ArmCommand, CommandEncoder
from h1_training_bringup.arm_driver.controller import ArmController
from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.settings import ArmParameters, GuardParameters, JointSettings
from h1_training_bringup.sim.robot import RobotParameters, SimulatedRobot
from h1_training_node.message_numbers import ArmMode
from h1_training_node.parameter import parameter

CONFIG = Path(__file__).parent.parent / "config" / "arms.yaml"
MS = 1_000_000
S = 1_000_000_000
START_NS = 1_000 * S
MODES = [ArmMode.HOLD, ArmMode.HOME, ArmMode.POLICY, ArmMode.DAMPING]
"""In which the arms are taken."""


@dataclass(frozen=True)
class QuickParameters(ArmParameters):
    """For tests in real time: the shortest ramp, and watchdogs that bear a machine that stands still for seconds.

    A test of one of them sets it, on the command line or here, to what it needs.
    """

    good_state_s: float = parameter(0.1, "")
    min_state_rate: float = parameter(20.0, "")
    take_timeout_s: float = parameter(20.0, "")
    take_ramp_s: float = parameter(0.5, "")
    take_motion_limit: float = parameter(1.0, "")
    release_warning_s: float = parameter(0.5, "")
    release_ramp_s: float = parameter(0.5, "")
    robot_timeout_s: float = parameter(5.0, "")
    stale_action_s: float = parameter(1.5, "")
    session_timeout_s: float = parameter(2.0, "")
    hung_s: float = parameter(10.0, "")
    needs_guard: bool = parameter(False, "")


@dataclass(frozen=True)
class QuickGuardParameters(GuardParameters):
    """The guard's, likewise."""

    release_warning_s: float = parameter(0.5, "")
    release_ramp_s: float = parameter(0.5, "")
    robot_timeout_s: float = parameter(5.0, "")
    silence_s: float = parameter(1.0, "")


def joint_settings() -> JointSettings:
    return JointSettings.from_yaml(CONFIG.read_text())


def reading(stamp_ns: int, q: Any = 0.0, **changes: Any) -> Sensed:
    """A good reading of an upright robot, arms at `q`."""
    values: dict[str, Any] = {
        "stamp_ns": stamp_ns,
        "q": np.full(COUNT, q, float) if np.isscalar(q) else np.array(q, float),
        "dq": np.zeros(COUNT),
        "tau_est": np.zeros(COUNT),
        "temperature": np.full(COUNT, 35, np.int16),
        "waist_q": 0.0,
        "down": np.array([0.0, 0.0, -1.0]),
        "mode_machine": 6,
        "enabled": True,
        "buttons": 0,
    }
    return Sensed(**{**values, **changes})


@dataclass
class Rig:
    """The controller, and the simulated robot behind real samples, in virtual time: 2 ms a state, 4 ms a command."""

    parameters: ArmParameters = field(default_factory=ArmParameters)
    robot_parameters: RobotParameters = field(default_factory=RobotParameters)
    now_ns: int = START_NS

    def __post_init__(self) -> None:
        joints = joint_settings()
        self.joints = joints
        self.robot = SimulatedRobot(self.robot_parameters, self.now_ns)
        self.controller = ArmController(joints, self.parameters)
        self.controller.conditions.guard_is_there = True
        self.intake = StateIntake(round(self.parameters.robot_timeout_s * S))
        self._encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self.command: ArmCommand | None = None
        self.sent: list[tuple[int, ArmCommand]] = []
        self.notices: list[str] = []
        self.heartbeat = self.guard_answers = True
        self.person: NDArray[np.float64] | None = None
        self._beats = 0
        self._actions = 0
        self._ticks = 0

    @property
    def mode(self) -> ArmMode:
        return self.controller.mode

    @property
    def q(self) -> NDArray[np.float64]:
        """Arm joints as the body has them."""
        return self.robot.body.q[1:].copy()

    @property
    def dq(self) -> NDArray[np.float64]:
        return self.robot.body.dq[1:].copy()

    def tick(self) -> None:
        for _ in range(2):
            self.now_ns += 2 * MS
            self.robot.advance(self.now_ns, self.person)
            if (sample := self.robot.state_sample()) is not None:
                self.intake.receive(sample, self.now_ns)
        if self.heartbeat and self._ticks % 25 == 0:
            self._beats += 1
            self.controller.conditions.heartbeat.receive(self.now_ns, self._beats)
        self._ticks += 1
        sensed = self.intake.latest()
        if sensed is not None:
            good_for_ns, rate = self.intake.good_for_ns(self.now_ns), self.intake.rate(self.now_ns)
            self.command = self.controller.step(self.now_ns, sensed, good_for_ns, rate)
            if self.controller.question and self.guard_answers:
                self.controller.hear_guard(self.now_ns, self.controller.question, is_watching=True)
            if self.command is not None:
                self.sent.append((self.now_ns, self.command))
                self.robot.inbox.take(self._encoder.encode(self.command), self.now_ns)
        self.notices += [notice.reason for notice in self.controller.notices]
        self.controller.notices.clear()

    def run(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        for _ in range(round(seconds * 250)):
            if each is not None:
                each()
            self.tick()

    def run_until(self, condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
        for _ in range(round(limit_s * 250)):
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

    def act(self, positions: Any, **changes: Any) -> None:
        """Put out one action, as the policy bridge does every 20 ms."""
        self._actions += 1
        values = {"seq": self._actions, "stamp_ns": self.now_ns, "observation_ns": self.now_ns - 50 * MS}
        self.controller.offer_action(self.now_ns, Action(positions=np.array(positions, float), **{**values, **changes}))

    def enter_policy(self) -> None:
        self.run(0.1)
        assert self.ask(ArmMode.POLICY) == ""

    def follow(self, target: Callable[[int], Any], seconds: float) -> None:
        """Fifty actions a second; `target` gives the positions for the n-th."""
        for n in range(round(seconds * 50)):
            self.act(target(n))
            self.run(0.02)


def taken(**parameters: object) -> Rig:
    rig = Rig(ArmParameters(**parameters))  # type: ignore[arg-type]
    rig.take()
    return rig


def taken_in(mode: ArmMode) -> Rig:
    """With the arms taken, and in `mode` for a moment."""
    rig = taken()
    assert rig.ask(mode) == ""
    rig.run(0.05)
    return rig


def pause(rig: Rig, seconds: float) -> None:
    """The driver's process stands still; the robot and the session live on."""
    for _ in range(round(seconds * 500)):
        rig.now_ns += 2 * MS
        rig.robot.advance(rig.now_ns)
        sample = rig.robot.state_sample()
        assert sample is not None
        rig.intake.receive(sample, rig.now_ns)
