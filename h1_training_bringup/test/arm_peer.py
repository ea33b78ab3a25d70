# SPDX-License-Identifier: Apache-2.0
"""The rest of the session, as far as the arm driver meets it: heartbeat, requests, actions, subscriptions."""

from __future__ import annotations

import weakref

import numpy as np
from arm_builders import outward
from arm_robot_stub import RobotStub
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from h1_training_bringup.arm_driver.joints import LOWER, UPPER
from h1_training_msgs.msg import ArmStatus, Event, PolicyAction, SessionState
from h1_training_msgs.srv import SetArmMode
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.stamps import to_stamp
from h1_training_testing import Graph


class Peer(Node):
    """Session manager, bridge and operator in one."""

    def __init__(self, graph: Graph, clock: SessionClock) -> None:
        super().__init__("peer")
        # Weakly: the executor within keeps this node's callbacks, and no garbage collector sees through it.
        self._graph: Graph = weakref.proxy(graph)
        self._session_clock = clock
        self.statuses: list[ArmStatus] = []
        self.joint_states: list[JointState] = []
        self.events: list[Event] = []
        self.sends_heartbeat = True
        self.acts: float | None = None
        self._seq = self._action_seq = 0
        self.session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self.actions = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        self.stop = self.create_publisher(String, "emergency_stop", qos.STATE)
        self.create_subscription(ArmStatus, "arm_status", self.statuses.append, qos.STATE)
        self.create_subscription(JointState, "joint_states", self.joint_states.append, qos.STATE)
        self.create_subscription(Event, "session/event", self.events.append, qos.STATE)
        self._set_mode = self.create_client(SetArmMode, "arm_driver/set_mode")
        self.create_timer(0.1, self._heartbeat)
        self.create_timer(0.02, self._act)

    @property
    def status(self) -> ArmStatus:
        return self.statuses[-1]

    def reasons(self, source: str) -> list[str]:
        """Of all events that `source` has published."""
        return [event.reason for event in self.events if event.source == source]

    def ask(self, mode: int, expected: int, why: str = "requested") -> SetArmMode.Response:
        self._graph.spin_until(self._set_mode.service_is_ready, "arm_driver/set_mode is there")
        request = SetArmMode.Request(who="test", why=why, mode=mode, expected_mode=expected)
        future = self._set_mode.call_async(request)
        self._graph.spin_until(future.done, "the driver answers")
        return future.result()

    def call(self, service: str) -> Trigger.Response:
        client = self.create_client(Trigger, service)
        self._graph.spin_until(client.service_is_ready, f"{service} is there")
        future = client.call_async(Trigger.Request())
        self._graph.spin_until(future.done, f"{service} answers")
        return future.result()

    def begin_to_take(self) -> None:
        """Ask for the arms, as soon as the driver hears the robot and the session."""
        self._graph.spin_until(lambda: self.statuses and self.status.state_rate > 50, "the driver hears the robot")
        self._graph.spin_until(self.session.get_subscription_count, "the driver listens to the session")
        seq = self._seq
        self._graph.spin_until(lambda: self._seq > seq + 3, "the session's heartbeat advances")
        answer = self.ask(ArmStatus.MODE_HOLD, ArmStatus.MODE_RELEASED)
        assert answer.accepted, answer.reason

    def take(self, robot: RobotStub) -> None:
        """From the start to HOLD with all of the weight."""
        self.begin_to_take()
        self._graph.spin_until(lambda: robot.weight == 1.0, "arm control is acquired")
        self._graph.spin_until(lambda: not self.status.transition, "the status says so")

    def _heartbeat(self) -> None:
        if self.sends_heartbeat:
            self._seq += 1
            self.session.publish(SessionState(seq=self._seq, state="EXECUTING"))

    def _act(self) -> None:
        if self.acts is None:
            return
        self._action_seq += 1
        now_ns = self._session_clock.now_ns()
        action = PolicyAction(
            seq=self._action_seq, positions=np.clip(outward(self.acts), LOWER, UPPER).astype(np.float32)
        )
        action.execution = self.status.execution
        action.header.stamp = to_stamp(now_ns)
        action.observation_stamp = to_stamp(now_ns - 30_000_000)
        self.actions.publish(action)
