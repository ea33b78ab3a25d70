# SPDX-License-Identifier: Apache-2.0
"""The simulated robot behind the robot's own wire, with the person who guides its arms. See `robot.py`, `person.py`.

Topics are fixed: `sim/lowstate` (500 Hz) and `sim/lf/lowstate` (50 Hz) out, `sim/arm_sdk` in; never the robot's own.
`sim/scene` is for the cameras; `sim/task`, how far it is, for the operator and for evaluation, never for a policy.
"""

from __future__ import annotations

import gc
import json
import os
import time
from dataclasses import asdict

from std_msgs.msg import String
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.sim.person import Person, SessionView
from h1_training_bringup.sim.pushing import AREAS, make_task
from h1_training_bringup.sim.robot import RobotParameters, SimulatedRobot
from h1_training_bringup.sim.robot_faults import FaultError
from h1_training_bringup.sim.scene import Placing, SceneObject, scene_object, scene_text
from h1_training_bringup.sim.task import Task
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.domain import require_own_topic, require_this_machine_only
from h1_training_node.node_main import run_node

_STATE_PERIOD_S = 0.002
_LOW_RATE_DIVISOR = 10
_REPORT_PERIOD_S, _TASK_PERIOD_S = 0.5, 0.05
_PUTS_OBJECT = ("READY", "EXECUTING")
_LATE_NS = 40_000_000
"""A pause of the state that is worth a word: the arm driver takes 50 ms without one for a lost robot."""


class SimulatedRobotNode(BaseNode):
    """Advances the robot by the wall clock, publishes its state as raw CDR, takes arm_sdk as raw CDR."""

    def __init__(self) -> None:
        require_this_machine_only(os.environ)  # before anything of it is on the network
        super().__init__("sim_robot")
        parameters = self.parameters(RobotParameters)
        self._robot = SimulatedRobot(parameters, time.monotonic_ns())
        self._person = Person(parameters.seed, parameters.person_force_n) if parameters.person else None
        self._session: SessionView | None = None
        self._settings = parameters
        self._episode = (-1, 0)
        self._task = self._make_task(scene_object(*self._episode, parameters.seed, AREAS[parameters.task]))
        self._placing: Placing | None = None
        self._ticks = 0
        self._last_tick_ns = 0
        self._longest_pause_ns = 0
        self._state = self.create_publisher(LowState, "sim/lowstate", qos.STATE)
        self._low_rate_state = self.create_publisher(LowState, "sim/lf/lowstate", qos.STATE)
        self._report = self.create_publisher(String, "sim/robot/report", qos.STATE)
        self._done = self.create_publisher(String, "sim/person/done", qos.STATE)
        self._scene = self.create_publisher(String, "sim/scene", qos.STATE)
        self._progress = self.create_publisher(String, "sim/task", qos.STATE)
        command = self.create_subscription(LowCmd, "sim/arm_sdk", self._on_command, qos.LATEST, raw=True)
        require_own_topic(self._state.topic_name, "sim/lowstate")
        require_own_topic(self._low_rate_state.topic_name, "sim/lf/lowstate")
        require_own_topic(command.topic_name, "sim/arm_sdk")
        self.create_subscription(String, "sim/robot/fault", self._on_fault, qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATEST)
        self.every(_STATE_PERIOD_S, self._on_tick)
        self.every(_REPORT_PERIOD_S, self._on_report)
        self.every(_TASK_PERIOD_S, self._on_task)

    def settle(self) -> None:
        """What was built so far is no garbage: the collector, which pauses the robot, need not look at it again."""
        gc.collect()
        gc.freeze()

    def _on_command(self, sample: bytes) -> None:
        if complaint := self._robot.inbox.take(sample, time.monotonic_ns()):
            self.get_logger().warning(complaint)

    def _on_session(self, message: SessionState) -> None:
        self._session = SessionView(
            message.state, message.epoch, message.episode, message.episode_id, time.monotonic_ns()
        )
        episode = (max(message.epoch, -1), max(message.episode, 0))
        if episode != self._episode and message.state in _PUTS_OBJECT:
            chosen = self._settings
            self._placing = self._placing or Placing(chosen.seed, episode[0], AREAS[chosen.task])
            self._episode, self._task = episode, self._make_task(self._placing.put())

    def _make_task(self, thing: SceneObject) -> Task:
        return make_task(self._settings.task, thing, self._robot.body)

    def _on_fault(self, message: String) -> None:
        try:
            self._robot.inject(message.data)
        except FaultError as error:
            self.get_logger().warning(str(error))
        else:
            self.get_logger().info(f"fault: {message.data}")

    def _on_tick(self) -> None:
        now_ns = time.monotonic_ns()
        robot = self._robot
        forces = None
        if self._person is not None:
            hands = robot.body.hands_let_go
            forces = self._person.forces(now_ns, hands, self._task, self._session, robot.inbox.is_compliant)
        robot.advance(now_ns, forces)
        self._note_pause(now_ns)
        self._ticks += 1
        sample = robot.state_sample()
        if sample is not None:
            self._state.publish(sample)
            if self._ticks % _LOW_RATE_DIVISOR == 0:
                self._low_rate_state.publish(sample)

    def _note_pause(self, now_ns: int) -> None:
        pause_ns = now_ns - self._last_tick_ns if self._ticks else 0
        self._last_tick_ns = now_ns
        self._longest_pause_ns = max(self._longest_pause_ns, pause_ns)
        if pause_ns > _LATE_NS:
            self.get_logger().warning(f"this machine is busy: the robot stood still for {pause_ns / 1e6:.0f} ms")

    def _on_task(self) -> None:
        measured = self._task.measure(time.monotonic_ns(), self._robot.body.hands)
        epoch, episode = self._episode
        self._scene.publish(String(data=scene_text(self._task.things)))
        shown = asdict(measured) | {"strays_from_best": self._task.strays_from_best}
        self._progress.publish(String(data=json.dumps({"epoch": epoch, "episode": episode, **shown})))

    def _on_report(self) -> None:
        """Counters as JSON; and, while the person holds still at a demonstration's end, the episode's id."""
        robot = self._robot
        counters = asdict(robot.inbox.counters) | {
            "weight": robot.inbox.weight,
            "lost_ms": robot.lost_ns // 1_000_000,
            "longest_pause_ms": self._longest_pause_ns // 1_000_000,
            "ticks": self._ticks,
        }
        self._report.publish(String(data=json.dumps(counters)))
        if self._person is not None and self._person.done_with is not None:
            self._done.publish(String(data=self._person.done_with))


def main() -> int:
    """Entry point of `sim_robot`."""

    def make() -> SimulatedRobotNode:
        node = SimulatedRobotNode()
        node.settle()
        return node

    return run_node(make, late=True)
