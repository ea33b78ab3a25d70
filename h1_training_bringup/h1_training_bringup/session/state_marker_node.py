# SPDX-License-Identifier: Apache-2.0
"""What rviz2 and Foxglove need beside the session's own topics; runs only beside them.

The session's state as a text above the robot, and the model's joints: joint_states has the arms' 14, and without the
waist, with which the model begins, no frame of it would be known.
"""

from __future__ import annotations

from dataclasses import replace

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Vector3
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from h1_training_bringup.arm_driver.joints import NAMES, WAIST_NAME
from h1_training_bringup.session.state_text import MarkerParameters, MarkerState, colour, lines
from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node

PERIOD_S = 0.2
_MODES = {getattr(ArmStatus, name): name.removeprefix("MODE_") for name in dir(ArmStatus) if name.startswith("MODE_")}


class StateMarkerNode(BaseNode):
    """Publishes session/markers, 5 Hz, and session/model_joint_states, 50 Hz."""

    def __init__(self) -> None:
        super().__init__("state_marker")
        self._config = self.parameters(MarkerParameters)
        self._marked = MarkerState()
        self._markers = self.create_publisher(MarkerArray, "session/markers", qos.STATE)
        self._joints = self.create_publisher(JointState, "session/model_joint_states", qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_state, qos.LATEST)
        self.create_subscription(ArmStatus, "arm_status", self._on_arms, qos.LATEST)
        self.create_subscription(RecorderStatus, "recorder/status", self._on_recorder, qos.LATEST)
        self.every(PERIOD_S, self._publish)

    def _on_state(self, message: SessionState) -> None:
        self._marked = replace(
            self._marked,
            heard_ns=self.now_ns(),
            state=message.state,
            epoch=message.epoch,
            episode=message.episode,
            countdown_s=message.countdown,
            reason=message.reason,
        )

    def _on_arms(self, message: ArmStatus) -> None:
        self._marked = replace(self._marked, mode=_MODES.get(message.mode, "?"), mode_reason=message.reason)
        position = [*map(float, message.q), float(message.waist_q)]
        self._joints.publish(JointState(header=message.header, name=[*NAMES, WAIST_NAME], position=position))

    def _on_recorder(self, message: RecorderStatus) -> None:
        self._marked = replace(self._marked, phase=message.phase)

    def _publish(self) -> None:
        now_ns, given = self.now_ns(), self._config
        red, green, blue = colour(self._marked, now_ns)
        marker = Marker(
            # Stamp 0: at the newest transform, whatever clock it has.
            header=Header(stamp=Time(), frame_id=given.frame_id),
            ns="session",
            type=Marker.TEXT_VIEW_FACING,
            action=Marker.ADD,
            pose=Pose(position=Point(x=0.0, y=0.0, z=given.height)),
            scale=Vector3(z=given.size),
            color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
            frame_locked=True,
            text="\n".join(lines(self._marked, now_ns)),
        )
        self._markers.publish(MarkerArray(markers=[marker]))


def main() -> int:
    return run_node(StateMarkerNode)
