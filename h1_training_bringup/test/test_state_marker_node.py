# SPDX-License-Identifier: Apache-2.0
"""The text above the robot says what is, and that it is not known when it is not; it reaches whoever displays it."""

from sensor_msgs.msg import JointState
from visualization_msgs.msg import MarkerArray

from h1_training_bringup.session.state_marker_node import COLOURS, LOST, STALE_NS, StateMarkerNode, colour, lines
from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_testing import Graph

ARMS = ArmStatus(mode=ArmStatus.MODE_POLICY, reason="requested")


def executing(**others: float) -> SessionState:
    return SessionState(state="EXECUTING", epoch=3, episode=2, **others)


def test_it_says_who_is_in_control_of_what() -> None:
    assert lines(executing(), 0, ARMS, "policy") == [
        "EXECUTING  policy",
        "epoch 3, episode 2",
        "arms POLICY: requested",
    ]
    assert colour(executing(), 0) == COLOURS["EXECUTING"]


def test_before_anything_is_heard_it_says_so() -> None:
    assert lines(None, 0) == ["no session heard"]
    assert colour(None, 0) == LOST


def test_an_old_state_is_not_shown_as_the_present_one() -> None:
    assert lines(executing(), STALE_NS, ARMS) == lines(executing(), 0, ARMS)
    assert lines(executing(), 3 * STALE_NS, ARMS) == ["session silent for 3 s", "it was in EXECUTING"]
    assert colour(executing(), 3 * STALE_NS) == LOST


def test_a_motion_to_come_is_counted_down() -> None:
    assert lines(executing(countdown=1.25), 0, ARMS)[1] == "the arms move in 1.2 s"


def test_what_is_not_known_yet_is_left_out() -> None:
    assert lines(SessionState(state="WAITING", epoch=-1, episode=-1), 0) == ["WAITING"]


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
