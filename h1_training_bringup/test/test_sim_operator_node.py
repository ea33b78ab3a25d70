# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from std_msgs.msg import String

from h1_training_bringup.sim.operator_node import OperatorNode
from h1_training_msgs.msg import RecorderStatus, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph


class StubSession(BaseNode):
    def __init__(self) -> None:
        super().__init__("stub_session")
        self.pressed: list[str] = []
        self.publisher = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self.create_subscription(String, "keyboard", lambda message: self.pressed.append(message.data), qos.STATE)

    def show(self, state: str, *keys: str, reason: str = "") -> None:
        message = SessionState(state=state, keys=list(keys), reason=reason, epoch=1)
        message.state_since = self.now()
        self.publisher.publish(message)


@pytest.fixture
def scene(graph: Graph) -> tuple[Graph, StubSession, OperatorNode]:
    session, operator = graph.add(StubSession()), graph.add(OperatorNode())
    graph.spin_until(lambda: session.count_publishers("keyboard"), "the operator")
    graph.spin_until(session.publisher.get_subscription_count, "the operator's eyes")
    return graph, session, operator


def test_it_presses_what_the_state_asks_for(scene):
    graph, session, _ = scene
    session.show("STARTING", "y", "q")
    graph.spin_until(lambda: session.pressed == ["y"], "the key")
    session.show("READY", "n", "q")
    session.show("READY", "y", "n", "q")
    graph.spin_until(lambda: session.pressed == ["y", "y"], "the next key")


def test_it_stops_a_policy_that_gets_no_further_by_what_the_body_reports_of_this_episode(scene):
    graph, session, operator = scene
    session.show("READY")
    graph.spin_until(lambda: operator._plan._entry[0] == "READY", "READY")
    session.show("EXECUTING", "s")
    rows = session.create_publisher(RecorderStatus, "recorder/status", qos.STATE)
    task = session.create_publisher(String, "sim/task", qos.STATE)
    graph.spin_until(lambda: rows.get_subscription_count() and task.get_subscription_count(), "the operator's eyes")
    rows.publish(RecorderStatus(policy_frames=100))
    reported = {"epoch": 1, "episode": 2, "distance_m": 0.1, "succeeded": False}

    def look_again() -> bool:
        task.publish(String(data=json.dumps(reported)))
        return operator._task.get("episode") == reported["episode"]

    graph.spin_until(lambda: look_again() and operator._session is not None, "a report")
    assert operator._seen(operator._session).distance_m is None, "of another episode"
    reported["episode"] = 0
    graph.spin_until(look_again, "a report")
    graph.spin_until(lambda: session.pressed == ["s"], "the key")


def test_it_ends_with_an_error_when_the_session_just_goes_away(scene):
    graph, session, operator = scene
    session.show("STARTING", "y", "q")
    graph.spin_until(lambda: session.pressed, "the key")
    session.destroy_publisher(session.publisher)
    graph.spin_until(lambda: operator.exit_status is not None, "the end")
    assert operator.exit_status == 1
