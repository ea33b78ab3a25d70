# SPDX-License-Identifier: Apache-2.0
"""A session's worth of messages: arms, policy, hands and three cameras, at their rates and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import cycle
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState

from h1_training_msgs.msg import ArmStatus, HandState, PolicyAction, RecorderStatus, SessionState
from h1_training_msgs.srv import FinishEpisode, StartEpisode
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.stamps import to_stamp

CAMERA_TOPICS = {
    "ego_cam": "head_camera/image_raw/compressed",
    "cam_left_wrist": "left_wrist_camera/color/image_raw/compressed",
    "cam_right_wrist": "right_wrist_camera/color/image_raw/compressed",
}


def images(size: int, count: int = 16) -> list[bytes]:
    """JPEGs of 640 x 480, each another, of `size` bytes: noise, as soft as it takes."""
    chosen = np.random.default_rng(0)
    found = []
    for _ in range(count):
        noise = chosen.normal(128, 60, (480, 640, 3)).clip(0, 255).astype(np.uint8)
        options = (cv2.GaussianBlur(noise, (0, 0), width) for width in np.arange(0.5, 6.0, 0.1))
        encoded = (bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]) for image in options)
        data = next(data for data in encoded if len(data) <= size)
        found.append(data + bytes(size - len(data)))  # what follows its end belongs to no image
    return found


class SessionLoad(Node):
    """Publishes what a session does, and notes every message that it sent.

    Args:
        clock: the session clock.
        image_bytes: size of each image.

    Attributes:
        sent: stream name, stamp and time of sending in ns of every message, in order. Stamps lie on a grid, as those
            of a device do, whenever this process gets to send them.
        status: newest of the recorder.
    """

    def __init__(self, clock: SessionClock, image_bytes: int = 60_000) -> None:
        super().__init__("session_load")
        self._session_clock = clock
        self._images = cycle(images(image_bytes))
        self.sent: list[tuple[str, int, int]] = []
        self.status = RecorderStatus()
        self.state, self.mode = "EXECUTING", ArmStatus.MODE_POLICY
        self._seq: Counter[str] = Counter()
        self.create_subscription(RecorderStatus, "recorder/status", self._on_status, qos.STATE)
        self.start = self.create_client(StartEpisode, "recorder/start")
        self.finish = self.create_client(FinishEpisode, "recorder/finish")
        self._every(50, "arm_status", ArmStatus, "arm_status", self._arm)
        self._every(50, "joint_states", JointState, "joint_states", lambda: JointState(position=[0.0] * 14))
        self._every(50, "policy/action", PolicyAction, "policy/action", lambda: PolicyAction(positions=[0.0] * 14))
        for side in ("left", "right"):
            self._every(20, f"hands/{side}/state", HandState, f"hands/{side}/state", HandState)
        self._every(10, "session/state", SessionState, "session/state", lambda: SessionState(state=self.state))
        for name, topic in CAMERA_TOPICS.items():
            self._every(30, name, CompressedImage, topic, self._image)

    def _every(self, rate: int, name: str, kind: Any, topic: str, make: Callable[[], Any]) -> None:
        offered = qos.LATCHED if topic == "session/state" else qos.IMAGE if kind is CompressedImage else qos.STATE
        publisher = self.create_publisher(kind, topic, offered)

        period_ns = 1_000_000_000 // rate
        grid_ns = self._session_clock.now_ns() % period_ns + period_ns // 2

        def publish() -> None:
            message = make()
            now_ns = self._session_clock.now_ns()
            stamp_ns = now_ns - (now_ns - grid_ns) % period_ns  # half a period late or early does not matter
            message.header.stamp = to_stamp(stamp_ns)
            if hasattr(message, "seq"):
                self._seq[name] += 1
                message.seq = self._seq[name]
            publisher.publish(message)
            self.sent.append((name, stamp_ns, now_ns))

        self.create_timer(1 / rate, publish)

    def _arm(self) -> ArmStatus:
        return ArmStatus(mode=self.mode, reason="requested", q=[(self._seq["arm_status"] % 997) * 1e-4] * 14)

    def _image(self) -> CompressedImage:
        return CompressedImage(format="rgb8; jpeg compressed bgr8", data=next(self._images))

    def _on_status(self, status: RecorderStatus) -> None:
        self.status = status
