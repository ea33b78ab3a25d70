# SPDX-License-Identifier: Apache-2.0
"""Publishes an episode again, for rviz2: joint_states, the cameras' images, and a marker that says who was in control.

In none of these does a driver take an interest: no policy/action, no hand command, no session/state, no arm_status.
joint_states alone would mislead a running session's displays, so it keeps out of one.
"""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, JointState
from visualization_msgs.msg import Marker

from h1_recorder.commands.replay import Replay, ReplayedRow, ReplayError
from h1_recorder.episode.content import JOINT_NAMES
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import CAMERA_FRAMES, CAMERA_TOPICS, CAMERAS
from h1_training_node.node_main import run_node

SESSION_TOPICS = ("joint_states", "arm_status", "session/state")
"""If anybody else publishes one of these, a session runs here."""

_LISTEN_S = 2.0
"""How long to look for a session before the first message; two participants find each other in 0.3 to 2.8 s."""
_TICK_S = 0.005
_CHECK_TICKS = 100
_FORMAT = "bgr8; jpeg compressed bgr8"
_BLUE, _ORANGE = (0.35, 0.6, 0.9), (0.95, 0.6, 0.25)


class ReplayNode(BaseNode):
    """Replays one episode, and ends when it is over or a session turns up.

    Args:
        plan: which row is due when.
        listen_s: how long to look for a session first.
    """

    def __init__(self, plan: Replay, *, listen_s: float = _LISTEN_S) -> None:
        super().__init__("replay")
        self._plan = plan
        self.problem = ""
        self._joints = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._marker = self.create_publisher(Marker, "replay/phase", qos.LATCHED)
        topics = {camera: CAMERA_TOPICS[camera] for camera in CAMERAS if camera in plan.episode.cameras}
        self._cameras = {
            name: self.create_publisher(CompressedImage, topic, qos.IMAGE) for name, topic in topics.items()
        }
        self._first_ns = self.now_ns() + round(listen_s * 1e9)
        self._ticks = 0
        self.every(_TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._ticks += 1
        if self._ticks % _CHECK_TICKS == 0 or self.now_ns() < self._first_ns:
            self._check_for_a_session()
        if self.exit_status is not None or self.now_ns() < self._first_ns:
            return
        row = self._plan.due(self.now_ns())
        if row is not None:
            self._publish(row)
        if self._plan.finished:
            self.end(0)

    def _check_for_a_session(self) -> None:
        for topic in SESSION_TOPICS:
            others = [
                info.node_name
                for info in self.get_publishers_info_by_topic(self.resolve_topic_name(topic))
                if (info.node_name, info.node_namespace) != (self.get_name(), self.get_namespace())
            ]
            if others:
                who = "another node" if others[0].startswith("_") else others[0]  # its name comes later than its topics
                self.problem = (
                    f"a session runs here: {who} publishes {self.resolve_topic_name(topic)}; "
                    "end it first, or replay in another ROS_DOMAIN_ID"
                )
                self.end(1)
                return

    def _publish(self, row: ReplayedRow) -> None:
        self._joints.publish(
            JointState(
                header=self.header(),
                name=list(JOINT_NAMES),
                position=row.positions,
                velocity=row.velocities,
                effort=row.efforts,
            )
        )
        for camera, jpeg in row.images.items():
            header = self.header(frame_id=CAMERA_FRAMES[camera])
            self._cameras[camera].publish(CompressedImage(header=header, format=_FORMAT, data=jpeg))
        self._marker.publish(self._phase_marker(row))

    def _phase_marker(self, row: ReplayedRow) -> Marker:
        marker = Marker(header=self.header(frame_id="pelvis"), ns="replay", type=Marker.TEXT_VIEW_FACING)
        marker.text = row.text
        marker.scale.z, marker.pose.position.z, marker.pose.orientation.w = 0.1, 1.0, 1.0
        marker.color.r, marker.color.g, marker.color.b = _ORANGE if row.human else _BLUE
        marker.color.a = 1.0
        return marker

    def request_stop(self, why: str) -> None:
        """Ctrl+C: nothing is left to do."""
        self.end(130)


def replay(plan: Replay) -> int:
    """Replay until it is over; the exit status of the process.

    Raises:
        ReplayError: a session runs in this domain.
    """
    made: list[ReplayNode] = []

    def make() -> ReplayNode:
        made.append(ReplayNode(plan))
        return made[0]

    status = run_node(make, args=[])
    if made and made[0].problem:
        raise ReplayError(made[0].problem)
    return status
