# SPDX-License-Identifier: Apache-2.0
"""The bridge's node among everything that surrounds it: arms, session, cameras, hands, on real topics."""

from __future__ import annotations

import array
import contextlib
from collections.abc import Callable

import numpy as np
from policy_builders import jpeg
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.policy_bridge_node import PolicyBridgeNode
from h1_training_msgs.msg import (
    ArmStatus,
    Event,
    HandCommand,
    HandState,
    PolicyAction,
    PolicyStatus,
    RecorderStatus,
    SessionState,
)
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_node.clock import SessionClock
from h1_training_node.stamps import to_ns, to_stamp


class Robot(Node):
    """Everything around the bridge: arms that follow, a session, cameras, hands; subscribes to what it publishes."""

    def __init__(self) -> None:
        super().__init__("around_the_bridge")
        self.clock_ns = SessionClock.from_environment()
        self.state, self.epoch = "WAITING", -1
        self.mode, self.since_ns = ArmStatus.MODE_HOLD, self.clock_ns.now_ns()
        self.q = np.zeros(14, np.float32)
        self.execution = 2**63 + 5
        self.cameras_on = True
        self.frozen = ""
        self.hands_on = False
        self.enters_by_itself = False
        self.actions: list[PolicyAction] = []
        self.statuses: list[PolicyStatus] = []
        self.events: list[Event] = []
        self.hand_commands: dict[str, list[HandCommand]] = {"left": [], "right": []}
        self._jpeg = array.array("B", jpeg())
        self._seq = 0
        self._arm = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._cameras = [self.create_publisher(CompressedImage, topic, qos.IMAGE) for topic in CAMERA_TOPICS.values()]
        self._recorder = self.create_publisher(RecorderStatus, "recorder/status", qos.STATE)
        self._hands = [self.create_publisher(HandState, f"hands/{side}/state", qos.STATE) for side in ("left", "right")]
        self.create_subscription(PolicyAction, "policy/action", self._on_action, qos.STATE)
        self.create_subscription(PolicyStatus, "policy/status", self.statuses.append, qos.STATE)
        self.create_subscription(Event, "session/event", self.events.append, qos.STATE)
        for side, received in self.hand_commands.items():
            self.create_subscription(HandCommand, f"hands/{side}/command", received.append, qos.STATE)
        self.create_timer(0.02, self._report)

    @property
    def status(self) -> PolicyStatus:
        return self.statuses[-1] if self.statuses else PolicyStatus()

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]

    def enter(self, state: str, mode: int | None = None) -> None:
        self.state = state
        if mode is not None:
            self.mode, self.since_ns = mode, self.clock_ns.now_ns()
        self._report()

    def _on_action(self, action: PolicyAction) -> None:
        self.actions.append(action)
        self.q = np.array(action.positions[:14], np.float32)

    def _play_driver_and_manager(self) -> None:
        """HOLD after a pause of the actions, POLICY when a chunk is ready: on a busy machine either may be due."""
        now_ns = self.clock_ns.now_ns()
        last_ns = to_ns(self.actions[-1].header.stamp) if self.actions else now_ns
        if self.mode == ArmStatus.MODE_POLICY and now_ns - max(last_ns, self.since_ns) > 500_000_000:
            self.mode, self.since_ns = ArmStatus.MODE_HOLD, now_ns
        elif self.mode == ArmStatus.MODE_HOLD and self.status.chunk_ready:
            self.mode, self.since_ns = ArmStatus.MODE_POLICY, now_ns

    def _report(self) -> None:
        if self.enters_by_itself:
            self._play_driver_and_manager()
        self._seq += 1
        header = Header(stamp=to_stamp(self.clock_ns.now_ns()))
        self._session.publish(
            SessionState(header=header, seq=self._seq, state=self.state, epoch=self.epoch, task="stack")
        )
        self._arm.publish(
            ArmStatus(
                header=header,
                seq=self._seq,
                mode=self.mode,
                mode_since=to_stamp(self.since_ns),
                q=self.q,
                execution=self.execution,
            )
        )
        if self.frozen:
            streams, verdicts = [self.frozen, "arm_status"], [RecorderStatus.FROZEN, RecorderStatus.FRESH]
            self._recorder.publish(RecorderStatus(streams=streams, verdicts=verdicts, ages=[2.0, 0.0]))
        for camera in self._cameras if self.cameras_on else ():
            camera.publish(CompressedImage(header=header, format="jpeg", data=self._jpeg))
        for hand in self._hands if self.hands_on else ():
            hand.publish(HandState(header=header, seq=self._seq, angle=np.full(6, 0.5, np.float32)))


class Scene:
    """The bridge's node and its surroundings in one graph."""

    def __init__(self, graph, address: ServerAddress, **parameters: object) -> None:
        self.graph = graph
        self.robot = graph.add(Robot())
        values = {"host": address.host, "port": address.port, **parameters}
        with arguments(values):
            self.node = graph.add(PolicyBridgeNode())

    def until(self, condition: Callable[[Robot], object], what: str) -> None:
        self.graph.spin_until(lambda: condition(self.robot), what)

    def until_ready(self) -> None:
        self.until(lambda it: it.status.connection == PolicyStatus.CONNECTED, "the bridge is connected")
        self.robot.enter("EXECUTING", ArmStatus.MODE_HOLD)
        self.until(lambda it: it.status.chunk_ready, "a chunk is ready")

    def until_streaming(self, actions: int = 10) -> None:
        self.until_ready()
        self.robot.enter("EXECUTING", ArmStatus.MODE_POLICY)
        self.until(lambda it: len(it.actions) >= actions, "the stream runs")


@contextlib.contextmanager
def arguments(values: dict[str, object]):
    """Parameters for the next node, as overrides of the context's global arguments."""
    import rclpy
    from rclpy.parameter import Parameter

    overrides = [Parameter(name, value=value) for name, value in values.items()]
    original = rclpy.node.Node.__init__

    def with_overrides(self, name, **more):
        original(self, name, parameter_overrides=overrides, **more)

    rclpy.node.Node.__init__ = with_overrides
    try:
        yield
    finally:
        rclpy.node.Node.__init__ = original
