"""The marker reaches whoever displays it."""

from visualization_msgs.msg import MarkerArray

from h1_training_bringup.state_marker_node import StateMarkerNode
from h1_training_msgs.msg import ArmStatus, RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_node.testing import Graph


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
