# SPDX-License-Identifier: Apache-2.0
"""The marker reaches whoever displays it."""

from sensor_msgs.msg import JointState
from visualization_msgs.msg import MarkerArray

from h1_training_bringup.session.state_marker_node import StateMarkerNode
from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_testing import Graph


def test_it_shows_what_the_session_says(graph: Graph) -> None:
    node = graph.add(StateMarkerNode())
    texts: list[str] = []
    node.create_subscription(MarkerArray, "session/markers", lambda m: texts.append(m.markers[0].text), qos.STATE)
    state = node.create_publisher(SessionState, "session/state", qos.LATCHED)
    arms = node.create_publisher(ArmStatus, "arm_status", qos.STATE)
    recorder = node.create_publisher(RecorderStatus, "recorder/status", qos.STATE)

    def is_shown() -> bool:
        state.publish(SessionState(state="DAMPING", epoch=1, episode=2))
        arms.publish(ArmStatus(mode=ArmStatus.MODE_DAMPING, reason="requested"))
        recorder.publish(RecorderStatus(phase="human"))
        return bool(texts) and texts[-1] == "DAMPING  human\nepoch 1, episode 2\narms DAMPING: requested"

    graph.spin_until(is_shown, "the marker says all of it")


def test_the_models_first_joint_is_known_too(graph: Graph) -> None:
    node = graph.add(StateMarkerNode())
    heard: list[JointState] = []
    node.create_subscription(JointState, "session/model_joint_states", heard.append, qos.STATE)
    arms = node.create_publisher(ArmStatus, "arm_status", qos.STATE)

    def is_reported() -> bool:
        arms.publish(ArmStatus(q=[0.5] * 14, waist_q=0.25))
        return bool(heard)

    graph.spin_until(is_reported, "joints for the model")
    assert dict(zip(heard[0].name, heard[0].position, strict=True))["torso_joint"] == 0.25
    assert len(heard[0].name) == 15
