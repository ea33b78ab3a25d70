# SPDX-License-Identifier: Apache-2.0
"""The simulated cameras behind their wires: the head over ZeroMQ, the wrists as the RealSense wrapper publishes them.

The cameras take turns, a third of a frame apart, as cameras that nobody synchronizes do.
"""

from __future__ import annotations

import os
import time

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from unitree_hg.msg import LowState

from h1_training_bringup.arm_driver.joints import ARM_MOTORS
from h1_training_bringup.arm_driver.wire import WireError, decode_low_state
from h1_training_bringup.sim.cameras import CameraParameters, CameraRig
from h1_training_bringup.sim.cameras_faults import CameraFaultError, CameraFaults
from h1_training_bringup.sim.cameras_server import ClassicServer, TeleimagerServer
from h1_training_bringup.sim.scene import scene_from_text
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import CAMERA_FRAMES, CAMERA_TOPICS, CAMERAS
from h1_training_node.domain import require_this_machine_only
from h1_training_node.node_main import run_node

_FORMAT = "rgb8; jpeg compressed bgr8"
"""As compressed_image_transport writes it for a colour image."""


class SimulatedCamerasNode(BaseNode):
    """Draws and sends each camera's frames; what it draws comes from `sim/lf/lowstate` and `sim/scene`."""

    def __init__(self) -> None:
        require_this_machine_only(os.environ)  # before anything of it is on the network
        super().__init__("sim_cameras")
        self._config = self.parameters(CameraParameters)
        self._rig = CameraRig(self._config)
        self._faults = CameraFaults()
        self._server = self._make_server()
        self._wrist_publishers = {
            key: self.create_publisher(CompressedImage, CAMERA_TOPICS[key], qos.IMAGE)
            for key in CAMERAS[1:]
            if not self._config.head_with_wrists
        }
        self._turn = 0
        self.create_subscription(LowState, "sim/lf/lowstate", self._on_robot, qos.LATEST, raw=True)
        self.create_subscription(String, "sim/scene", self._on_scene, qos.LATEST)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATEST)
        self.create_subscription(String, "sim/cameras/fault", self._on_fault, qos.STATE)
        self.every(1 / (len(CAMERAS) * self._config.fps), self._on_turn)

    def destroy_node(self) -> None:
        """Let the ports go, then the node."""
        self._server.close()
        super().destroy_node()

    def _make_server(self) -> ClassicServer | TeleimagerServer:
        chosen = self._config
        if chosen.head_server == "classic":
            return ClassicServer(chosen.head_port, with_header=chosen.head_header)
        return TeleimagerServer(
            chosen.teleimager_ports, chosen.head_config_port, binocular=chosen.head_binocular, fps=chosen.fps
        )

    def _on_robot(self, sample: bytes) -> None:
        try:
            state = decode_low_state(sample)
        except WireError:
            return  # a fault that somebody injected; the arms stay where they were last seen
        self._rig.q = state["motor_state"]["q"][ARM_MOTORS].astype(float)

    def _on_scene(self, message: String) -> None:
        self._rig.things = scene_from_text(message.data)

    def _on_session(self, message: SessionState) -> None:
        """For the captions and the person only; without them nothing of it is in an image."""
        self._rig.is_guided = message.state == "DAMPING"
        numbers = f" epoch {message.epoch} episode {message.episode}" if message.epoch >= 0 else ""
        self._rig.caption = message.state + numbers

    def _on_fault(self, message: String) -> None:
        try:
            self._faults.apply(message.data)
        except CameraFaultError as error:
            self.get_logger().warning(str(error))
        else:
            self.get_logger().info(f"fault: {message.data}")

    def _on_turn(self) -> None:
        if isinstance(self._server, TeleimagerServer):
            self._server.answer()
        key = CAMERAS[self._turn]
        self._turn = (self._turn + 1) % len(CAMERAS)
        joined = isinstance(self._server, ClassicServer) and self._config.head_with_wrists
        if joined and key != CAMERAS[0]:
            return
        if not self._faults.is_due(key):
            return
        jpeg = self._rig.joined_jpeg() if joined else self._rig.jpeg(key)
        self._send(key, self._faults.spoiled(key, jpeg))

    def _send(self, key: str, jpeg: bytes) -> None:
        if (publisher := self._wrist_publishers.get(key)) is not None:
            header = self.header(frame_id=CAMERA_FRAMES[key])
            publisher.publish(CompressedImage(header=header, format=_FORMAT, data=jpeg))
        elif isinstance(self._server, TeleimagerServer):
            self._server.send(key, jpeg)
        else:
            self._server.send(jpeg, time.time())


def main() -> int:
    """Entry point of `sim_cameras`."""
    return run_node(SimulatedCamerasNode, late=True)
