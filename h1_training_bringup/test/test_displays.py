# SPDX-License-Identifier: Apache-2.0
"""The configurations of rviz2, rqt and Foxglove name what a running session really has: topics, types, services.

None of the three programs runs here: that their files open in them is not what these tests say.
"""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from session_runs import SessionRun

from h1_training_bringup.session.state_marker_node import StateMarkerNode
from h1_training_testing import Graph

PACKAGE = Path(__file__).resolve().parents[1]
RVIZ_TYPES = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/CompressedImage",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
}
OF_ROBOT_STATE_PUBLISHER = {"/robot_description"}
"""Which does not run here (ros/robot_state_publisher: published once, transient local)."""


def rviz() -> Any:
    return yaml.safe_load((PACKAGE / "rviz/session.rviz").read_text())


def rqt_plugins() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and settings of every plugin of the perspective."""
    manager = json.loads((PACKAGE / "rqt/session.perspective").read_text())["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    for name, instances in running.items():
        for instance in instances:
            group = manager["groups"][f"plugin__{name.replace('/', '__')}__{instance}"]
            keys = group["groups"]["plugin"]["keys"]
            yield name, {key: ast.literal_eval(value["repr"]) for key, value in keys.items()}


def foxglove() -> Any:
    return json.loads((PACKAGE / "foxglove/session.json").read_text())


def foxglove_panels() -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name.partition("!")[0], config) for name, config in foxglove()["configById"].items())


def paths() -> Iterator[str]:
    """Every topic with a field behind it: `/topic.field[index]`."""
    for kind, config in foxglove_panels():
        if kind == "Plot":
            yield from (path["value"] for path in config["paths"])
        elif kind == "Indicator":
            yield config["path"]
    for name, settings in rqt_plugins():
        if name == "rqt_plot/Plot":
            yield from (re.sub(r"/(\w+(?:\[\d+\])?)$", r".\1", topic) for topic in settings["topics"])


def topics() -> Iterator[tuple[str, str]]:
    """Every topic that a display subscribes to, with its type; empty where it takes any."""
    for display in rviz()["Visualization Manager"]["Displays"]:
        if "Topic" in display:
            yield "/" + display["Topic"]["Value"], RVIZ_TYPES[display["Class"]]
    for name, settings in rqt_plugins():
        if name == "rqt_image_view/ImageView":
            yield settings["topic"], "sensor_msgs/msg/CompressedImage"
    for kind, config in foxglove_panels():
        if kind == "Image":
            yield config["imageMode"]["imageTopic"], "sensor_msgs/msg/CompressedImage"
        elif kind == "RawMessages":
            yield config["topicPath"], ""
        elif kind == "DiagnosticSummary":
            yield config["topicToRender"], "diagnostic_msgs/msg/DiagnosticArray"
        elif kind == "3D":
            yield from ((topic, "") for topic in config["topics"])
    yield from ((path.partition(".")[0], "") for path in paths())


def services() -> set[str]:
    called = {config["serviceName"] for kind, config in foxglove_panels() if kind == "CallService"}
    return called | {s["current_service_name"] for n, s in rqt_plugins() if n == "rqt_service_caller/ServiceCaller"}


def test_the_three_show_all_three_cameras() -> None:
    shown = [topic for topic, kind in topics() if kind == "sensor_msgs/msg/CompressedImage"]
    assert sorted(shown.count(topic) for topic in set(shown)) == [3, 3, 3]


def test_every_panel_of_foxglove_has_its_place() -> None:
    def placed(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        else:
            yield from placed(node["first"])
            yield from placed(node["second"])

    layout = foxglove()
    assert sorted(placed(layout["layout"])) == sorted(layout["configById"])


def test_foxglove_has_a_button_for_every_request_of_the_session() -> None:
    """The names are read from the page that lists them, which is generated from the states."""
    listed = re.findall(r"session_manager/(\w+)", (PACKAGE.parent / "h1_session_manager/docs/operating.md").read_text())
    buttons = {config["serviceName"] for kind, config in foxglove_panels() if kind == "CallService"}
    assert buttons == {f"/session_manager/{name}" for name in (*listed, "preflight")}


def test_commanded_is_plotted_against_measured_for_both_arms() -> None:
    plotted = set(paths())
    for index in (0, 3, 7, 10):
        assert {f"/arm_status.q[{index}]", f"/arm_status.q_command[{index}]"} <= plotted


def test_every_displayed_state_is_one_of_the_sessions() -> None:
    (indicator,) = (config for kind, config in foxglove_panels() if kind == "Indicator")
    states = set(re.findall(r"[A-Z]+", (PACKAGE.parent / "h1_training_msgs/msg/SessionState.msg").read_text()))
    assert {rule["rawValue"] for rule in indicator["rules"]} <= states


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRun]:
    configuration = "simulation: {camera_fps: 5.0}\nrobot: {include_hands: false}\n"
    run = SessionRun(tmp_path_factory.mktemp("displays"), "--operator", "none", configuration=configuration)
    yield run
    run.close()


@pytest.mark.graph
@pytest.mark.timeout(120)
def test_everything_named_is_there_in_its_type_and_every_display_can_be_served(running: SessionRun) -> None:
    graph = Graph(running.domain_id)
    try:
        node = graph.add(StateMarkerNode())
        wanted = {topic for topic, _ in topics()} - OF_ROBOT_STATE_PUBLISHER
        graph.spin_until(
            lambda: all(node.get_publishers_info_by_topic(topic) for topic in wanted), "every topic is published", 60.0
        )
        types = {topic: node.get_publishers_info_by_topic(topic)[0].topic_type for topic in wanted}
        assert {t: types[t] for t, kind in topics() if kind} == {t: kind for t, kind in topics() if kind}
        for path in paths():
            topic, _, field = path.partition(".")
            assert field.partition("[")[0] in fields(types[topic]), path
        graph.spin_until(lambda: services() <= offered(node), "every service is offered", 30.0)
        for display in rviz()["Visualization Manager"]["Displays"]:
            for publisher in node.get_publishers_info_by_topic("/" + display.get("Topic", {}).get("Value", "none")):
                assert can_be_served(display["Topic"], publisher.qos_profile), display["Name"]
    finally:
        graph.close()


def fields(type_name: str) -> set[str]:
    package, _, name = type_name.split("/")
    return set(getattr(importlib.import_module(f"{package}.msg"), name).get_fields_and_field_types())


def offered(node: StateMarkerNode) -> set[str]:
    """Names of all services of type Trigger."""
    return {name for name, types in node.get_service_names_and_types() if types == ["std_srvs/srv/Trigger"]}


def can_be_served(asked: dict[str, Any], profile: Any) -> bool:
    reliable = asked["Reliability Policy"] != "Reliable" or profile.reliability == ReliabilityPolicy.RELIABLE
    latched = asked["Durability Policy"] == "Transient Local"
    return reliable and (not latched or profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)
