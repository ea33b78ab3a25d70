# SPDX-License-Identifier: Apache-2.0
"""What rviz2 and Foxglove need beside the session's own topics; runs only beside them.

The session's state as a text above the robot, and the model's joints: joint_states has the arms' 14, and without the
waist, with which the model begins, no frame of it would be known.
"""

from __future__ import annotations

from dataclasses import dataclass

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Vector3
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from h1_training_bringup.arm_driver.joints import NAMES, WAIST_NAME
from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.message_numbers import ArmMode
from h1_training_node.node_main import run_node
from h1_training_node.parameter import parameter

PERIOD_S = 0.2
STALE_NS = 1_000_000_000
"""Older than this, a state is not shown as the present one; the heartbeat comes at 10 Hz."""

WHITE = (0.9, 0.9, 0.9)
COLOURS = {
    "EXECUTING": (0.35, 0.65, 1.0),
    "DAMPING": (1.0, 0.75, 0.2),
    "STOPPED": (1.0, 0.3, 0.25),
}
LOST = (1.0, 0.3, 0.25)
_MODES = {mode: mode.name for mode in ArmMode}


@dataclass(frozen=True)
class MarkerParameters:
    """Where the text stands."""

    frame_id: str = parameter("pelvis", "frame that the text stands in")
    height: float = parameter(1.05, "its height over that frame", unit="m", low=0.0, high=3.0)
    size: float = parameter(0.09, "height of a letter", unit="m", low=0.01, high=1.0)


class StateMarkerNode(BaseNode):
    """Publishes session/markers, 5 Hz, and session/model_joint_states, 50 Hz."""

    def __init__(self) -> None:
        super().__init__("state_marker")
        self._config = self.parameters(MarkerParameters)
        self._state: SessionState | None = None
        self._arms: ArmStatus | None = None
        self._heard_ns, self._phase = 0, ""
        self._markers = self.create_publisher(MarkerArray, "session/markers", qos.STATE)
        self._joints = self.create_publisher(JointState, "session/model_joint_states", qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_state, qos.LATEST)
        self.create_subscription(ArmStatus, "arm_status", self._on_arms, qos.LATEST)
        self.create_subscription(RecorderStatus, "recorder/status", self._on_recorder, qos.LATEST)
        self.every(PERIOD_S, self._publish)

    def _on_state(self, message: SessionState) -> None:
        self._state, self._heard_ns = message, self.now_ns()

    def _on_arms(self, message: ArmStatus) -> None:
        self._arms = message
        position = [*map(float, message.q), float(message.waist_q)]
        self._joints.publish(JointState(header=message.header, name=[*NAMES, WAIST_NAME], position=position))

    def _on_recorder(self, message: RecorderStatus) -> None:
        self._phase = message.phase

    def _publish(self) -> None:
        age_ns, given = self.now_ns() - self._heard_ns, self._config
        red, green, blue = colour(self._state, age_ns)
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
            text="\n".join(lines(self._state, age_ns, self._arms, self._phase)),
        )
        self._markers.publish(MarkerArray(markers=[marker]))


def lines(state: SessionState | None, age_ns: int, arms: ArmStatus | None = None, phase: str = "") -> list[str]:
    """What stands above the robot: the session's state, who is in control, the arms' mode.

    Args:
        state: of the session, heard `age_ns` ago; None: never.
        arms: the newest status; None: never heard.
        phase: of the recorder: "policy", "human" or empty.
    """
    if state is None:
        return ["no session heard"]
    if age_ns > STALE_NS:
        return [f"session silent for {age_ns / 1e9:.0f} s", f"it was in {state.state}"]
    reported = [f"{state.state}  {phase}".rstrip()]
    if state.countdown > 0:
        reported.append(f"the arms move in {state.countdown:.1f} s")
    if state.epoch >= 0:
        reported.append(f"epoch {state.epoch}" + (f", episode {state.episode}" if state.episode >= 0 else ""))
    if arms is not None:
        reported.append(f"arms {_MODES.get(arms.mode, '?')}: {arms.reason}".removesuffix(": "))
    return reported


def colour(state: SessionState | None, age_ns: int) -> tuple[float, float, float]:
    """Red, green, blue, 0..1."""
    if state is None or age_ns > STALE_NS:
        return LOST
    return COLOURS.get(state.state, WHITE)


def main() -> int:
    return run_node(StateMarkerNode)
