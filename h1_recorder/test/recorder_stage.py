# SPDX-License-Identifier: Apache-2.0
"""The recorder as a node, and everything that it meets in a session, spun together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from recorder_builders import jpeg
from sensor_msgs.msg import CompressedImage, JointState

from h1_recorder.recorder.recorder_node import RecorderNode
from h1_training_msgs.msg import ArmStatus, Event, PolicyAction, RecorderStatus, SessionState
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, StartEpisode
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_node.clock import SessionClock
from h1_training_node.parameter import from_values
from h1_training_node.stamps import to_stamp
from h1_training_testing import Graph

CLOCK = SessionClock.from_environment()


class Endpoints(Node):
    """Everything that the recorder listens to, published at its rate; and a client of its services."""

    def __init__(self, *, cameras: tuple[str, ...] = tuple(CAMERA_TOPICS), image_qos: QoSProfile = qos.IMAGE) -> None:
        super().__init__("endpoints")
        self.state, self.mode, self.reason = "READY", ArmStatus.MODE_HOLD, "requested"
        self.seq = 0
        self.status = RecorderStatus()
        self.events: list[str] = []
        self.sent: dict[str, list[int]] = {name: [] for name in ("arm_status", *cameras)}
        self._arm = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._joints = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._action = self.create_publisher(PolicyAction, "policy/action", qos.STATE)
        self._state = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._cameras = {
            name: self.create_publisher(CompressedImage, CAMERA_TOPICS[name], image_qos) for name in cameras
        }
        self.create_subscription(RecorderStatus, "recorder/status", self._on_status, qos.STATE)
        self.create_subscription(Event, "session/event", lambda event: self.events.append(event.reason), qos.STATE)
        self.create_timer(0.02, self.publish_arms)
        self.create_timer(0.1, self.publish_state)
        self.create_timer(1 / 30, self._publish_images)
        self.clients_by_name = {
            "start": self.create_client(StartEpisode, "recorder/start"),
            "finish": self.create_client(FinishEpisode, "recorder/finish"),
            "discard": self.create_client(DiscardEpisode, "recorder/discard"),
            "label": self.create_client(LabelEpisode, "recorder/label"),
        }

    def _on_status(self, status: RecorderStatus) -> None:
        self.status = status

    def publish_arms(self) -> None:
        self.seq += 1
        now_ns = CLOCK.now_ns()
        now = to_stamp(now_ns)
        message = ArmStatus(seq=self.seq, mode=self.mode, reason=self.reason)
        message.header.stamp = now
        q = self.seq / 8192  # exact, and within every joint's range for minutes
        message.q = np.full(14, q, np.float32)
        message.q_command = np.full(14, q + 0.25, np.float32)
        self.sent["arm_status"].append(now_ns)
        self._arm.publish(message)
        self._joints.publish(JointState(position=[q] * 14))
        if self.mode == ArmStatus.MODE_POLICY:
            action = PolicyAction(seq=self.seq, positions=np.full(14, -q, np.float32))
            action.header.stamp = now
            self._action.publish(action)

    def publish_state(self) -> None:
        message = SessionState(seq=self.seq, state=self.state, epoch=3, episode=1)
        message.header.stamp = to_stamp(CLOCK.now_ns())
        self._state.publish(message)

    def _publish_images(self) -> None:
        for name, publisher in self._cameras.items():
            now_ns = CLOCK.now_ns()
            message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=jpeg(self.seq))
            message.header.stamp = to_stamp(now_ns)
            self.sent[name].append(now_ns)
            publisher.publish(message)

    def enter(self, state: str, mode: int) -> None:
        self.state, self.mode = state, mode
        self.publish_state()
        self.publish_arms()


def recorder_with(values: dict[str, Any]) -> RecorderNode:
    """A recorder with these parameters."""

    class Configured(RecorderNode):
        def parameters(self, cls: type[Any]) -> Any:
            return from_values(cls, values)

    return Configured()


class Session:
    """A recorder and its endpoints, spun together."""

    def __init__(self, graph: Graph, save_dir: Path, parameters: dict[str, Any], **endpoints: Any) -> None:
        values = {"save_dir": str(save_dir), "min_free_start_gb": 0.0, **parameters}
        self.graph, self.folder = graph, save_dir / "training_session_epoch3"
        self.endpoints = graph.add(Endpoints(**endpoints))
        self.recorder = graph.add(recorder_with(values))
        self.graph.spin_until(lambda: self.endpoints.status.seq > 0, "recorder/status")

    def call(self, name: str, **fields: Any) -> Any:
        client = self.endpoints.clients_by_name[name]
        self.graph.spin_until(client.service_is_ready, f"service {name}")
        future = client.call_async(client.srv_type.Request(**fields))
        self.graph.spin_until(future.done, f"answer of {name}")
        return future.result()

    def start(self) -> Any:
        return self.call(
            "start",
            directory=str(self.folder),
            epoch=3,
            episode=1,
            task="stack",
            prompt="stack, Advantage=True",
            attributes_json=json.dumps({"config_sha256": "f00", "limits": {"speed": 1.5}}),
        )

    def until_heard(self) -> None:
        def heard() -> bool:
            ages = dict(zip(self.endpoints.status.streams, self.endpoints.status.ages, strict=True))
            return all(0 <= ages.get(name, -1) < 0.5 for name in ("arm_status", *CAMERA_TOPICS))

        self.graph.spin_until(heard, "all streams")

    def until_rows(self, policy: int, human: int) -> None:
        def enough() -> bool:
            return self.endpoints.status.policy_frames >= policy and self.endpoints.status.human_frames >= human

        self.graph.spin_until(enough, f"{policy} policy and {human} human frames")

    def until(self, state: int) -> RecorderStatus:
        self.graph.spin_until(lambda: self.endpoints.status.state == state, f"recorder/status.state == {state}")
        return self.endpoints.status

    def record(self) -> str:
        """One episode with policy and human rows, `recorder/finish` accepted; returns its id."""
        self.until_heard()
        started = self.start()
        assert started.accepted, started.reason
        self.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
        self.until_rows(20, 0)
        self.endpoints.enter("DAMPING", ArmStatus.MODE_DAMPING)
        self.until_rows(20, 20)
        self.endpoints.enter("SAVING", ArmStatus.MODE_DAMPING)
        answer = self.call("finish", episode_id=started.episode_id, end_reason="operator", outcome="unlabeled")
        assert answer.accepted, answer.reason
        return str(started.episode_id)
