# SPDX-License-Identifier: Apache-2.0
"""A running session seen from outside: what it opens to the network, what each node does, and its cameras' health."""

import ipaddress
import runpy
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from security_rules import SOMETIMES, Rules, rules_in, rules_seen
from session_runs import SessionRun
from std_msgs.msg import String

from h1_session_manager.console.console_node import ConsoleNode
from h1_session_manager.keyboard.keyboard_node import KeyboardNode
from h1_training_bringup.session.node_parameters import CLASSES
from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph

pytestmark = [pytest.mark.graph, pytest.mark.timeout(240)]

EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
CONFIG = """
policy: {action_dim: 26}
simulation: {camera_fps: 10.0}    # what three cameras can deliver however busy this machine is
"""
LONG_S = 60.0
CHECK = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs/check.py"))
TOPIC_LINES = sorted(
    {
        line
        for page in CHECK["pages"]()
        for block in CHECK["blocks"](page)
        for line in block.commands
        if line.startswith("ros2 topic pub")
    }
)
"""Every literal `ros2 topic pub` line of the pages."""


class Watcher(BaseNode):
    """Keeps the last diagnosis of everything, and breaks cameras."""

    def __init__(self) -> None:
        super().__init__("watcher")
        self.last: dict[str, DiagnosticStatus] = {}
        self.events: list[Event] = []
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.STATE)
        self.create_subscription(Event, "session/event", self.events.append, qos.STATE)
        self._faults = self.create_publisher(String, "sim/cameras/fault", qos.STATE)

    def is_heard(self) -> bool:
        return self._faults.get_subscription_count() > 0

    def breaks(self, line: str) -> None:
        self._faults.publish(String(data=line))

    def camera(self, key: str) -> tuple[int, str, dict[str, str]]:
        """Level, message and values of the newest diagnosis of a camera; level -1: none yet."""
        for name, status in self.last.items():
            if name.endswith(f"stream: {key}"):
                return ord(status.level), status.message, {pair.key: pair.value for pair in status.values}
        return -1, "", {}

    def is_well(self, key: str) -> bool:
        return self.camera(key)[0] == ord(DiagnosticStatus.OK)

    def is_bad(self, key: str) -> bool:
        """An error, not only the warning that an image is late, which at 10 Hz any image may be."""
        return self.camera(key)[0] >= ord(DiagnosticStatus.ERROR)

    def reported(self, reason: str, about: str) -> bool:
        return any(event.reason == reason and about in event.detail for event in self.events)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.last.update({status.name: status for status in message.status})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionRun]:
    """A session with hands that nobody operates."""
    run = SessionRun(tmp_path_factory.mktemp("watched"), "--operator", "none", configuration=CONFIG)
    try:
        run.wait_for("[READY]", LONG_S)
        yield run
    finally:
        run.close()


@pytest.fixture(scope="module")
def inside(session: SessionRun) -> Iterator[Graph]:
    """A graph in the session's domain."""
    graph = Graph(session.domain_id)
    yield graph
    graph.close()


@pytest.fixture(scope="module")
def watcher(session: SessionRun, inside: Graph) -> Watcher:
    watcher = inside.add(Watcher())
    for key in ("ego_cam", "cam_left_wrist", "cam_right_wrist"):
        try:
            inside.spin_until(lambda key=key: watcher.is_heard() and watcher.is_well(key), f"{key} is well", LONG_S)
        except pytest.fail.Exception as error:
            raise AssertionError(f"{error}: {watcher.camera(key)}\n{session.evidence()}") from None
    return watcher


def test_nothing_of_a_simulation_listens_to_the_network(session: SessionRun) -> None:
    """An unconnected UDP socket below the ephemeral ports is one that Fast DDS receives at."""
    listening: set[tuple[str, str]] = set()
    for process in session.processes():
        for connection in process.net_connections("inet"):
            port = connection.laddr.port
            is_server = connection.status == psutil.CONN_LISTEN
            if is_server or (connection.type == socket.SOCK_DGRAM and port < EPHEMERAL):
                listening.add((process.name(), connection.laddr.ip))
    assert listening
    assert {place for place in listening if not ipaddress.ip_address(place[1]).is_loopback} == set()


def test_every_process_of_a_simulation_looks_for_others_on_this_machine_only(session: SessionRun) -> None:
    for process in session.processes():
        environment = process.environ()
        if "ROS_DOMAIN_ID" in environment and process.pid != session.popen.pid:
            assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST", process.cmdline()
            assert environment["ROS_STATIC_PEERS"] == "", process.cmdline()


@pytest.mark.parametrize("line", TOPIC_LINES)
def test_a_line_of_the_pages_waits_for_every_subscriber_that_its_topic_has(
    line: str, inside: Graph, watcher: Watcher
) -> None:
    """With fewer, the first that is found may be the only one that is reached; with more, the line waits for ever."""
    words = shlex.split(line)
    topic, awaited = words[-3], int(words[words.index("-w") + 1])
    inside.spin_until(lambda: watcher.count_subscribers(topic) == awaited, f"{topic} has {awaited} subscribers")


def test_the_security_policy_allows_what_each_node_does_and_nothing_else(inside: Graph, watcher: Watcher) -> None:
    share = Path(get_package_share_directory("h1_training_bringup"))
    allowed = rules_in((share / "security/policies.xml").read_text())
    inside.add(KeyboardNode())
    inside.add(ConsoleNode())
    seen: dict[str, Rules] = {}

    def agrees() -> bool:
        seen.update(rules_seen(watcher, "/", allowed))
        return seen == allowed

    try:
        inside.spin_until(agrees, "policy and graph agree", 20.0)
    except pytest.fail.Exception:
        assert seen == allowed, "if this is meant, write it into security/policies.xml"
    assert set(allowed) >= set(SOMETIMES)
    assert set(allowed) == set(CLASSES), "a rule for each node of the session"


def test_a_camera_that_is_missing_is_in_the_diagnostics_with_its_age(inside: Graph, watcher: Watcher) -> None:
    watcher.breaks("stop ego_cam")
    inside.spin_until(lambda: watcher.is_bad("ego_cam"), "the missing camera is reported")
    inside.spin_until(lambda: float(watcher.camera("ego_cam")[2]["age [s]"]) > 1.0, "its age grows")
    assert "no image for" in watcher.camera("ego_cam")[1]
    watcher.breaks("clear")
    inside.spin_until(lambda: watcher.is_well("ego_cam"), "it is well again", LONG_S)


def test_a_camera_that_is_slow_is_in_the_diagnostics_with_its_rate(inside: Graph, watcher: Watcher) -> None:
    watcher.breaks("slow cam_left_wrist 3")
    inside.spin_until(lambda: "images/s" in watcher.camera("cam_left_wrist")[1], "the slow camera is reported")
    assert float(watcher.camera("cam_left_wrist")[2]["rate [Hz]"]) < 7.0
    watcher.breaks("clear")
    inside.spin_until(lambda: watcher.is_well("cam_left_wrist"), "it is well again", LONG_S)


@pytest.mark.parametrize("key", ["ego_cam", "cam_right_wrist"])
def test_a_camera_that_is_frozen_is_in_the_diagnostics_and_reported(inside: Graph, watcher: Watcher, key: str) -> None:
    """The age there is that of its last new image: the same bytes again are none."""
    watcher.breaks(f"freeze {key}")
    inside.spin_until(lambda: watcher.is_bad(key), "the frozen camera is in the diagnostics")
    inside.spin_until(lambda: float(watcher.camera(key)[2]["age [s]"]) > 1.0, "its age grows")
    inside.spin_until(lambda: watcher.reported("camera_frozen", key), "it is reported that it is frozen")
    watcher.breaks("clear")
    inside.spin_until(lambda: watcher.is_well(key), "it is well again", LONG_S)
    inside.spin_until(lambda: watcher.reported("camera_back", key), "that is reported as well")
