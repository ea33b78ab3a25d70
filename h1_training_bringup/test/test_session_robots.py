# SPDX-License-Identifier: Apache-2.0
"""Two robots of one lab on one machine: namespaces and domains of their own, one policy server, one data host."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
from ament_index_python.packages import get_package_prefix
from session_runs import SessionRun

from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph, wait_until

pytestmark = [pytest.mark.graph, pytest.mark.timeout(240)]

ROBOTS = ("alice", "bob")
NODES = {"arm_driver", "arm_guard", "head_camera", "policy_bridge", "recorder", "session_manager", "sim_robot"}
OF_ROS = {"/parameter_events", "/rosout", "/diagnostics"}
CONFIG = """
robot: {{name: {robot}, include_hands: false}}
simulation: {{camera_fps: 5.0, policy_server_port: {port}, epochs: 1, episodes: 1}}
# Twenty processes on two cores that may stand still: nobody may take a pause for a loss here.
nodes:
  policy_bridge: {{max_observation_age_s: 2.0}}
  session_manager: {{arm_timeout_s: 5.0, status_timeout_s: 10.0}}
  arm_driver: {{min_state_rate_hz: 50.0, stale_action_s: 0.5}}
"""


@dataclass(frozen=True)
class Lab:
    """Two sessions that have come to their end, and what was seen of them meanwhile."""

    folder: Path
    runs: dict[str, SessionRun]
    seen: dict[str, "Seen"]

    @property
    def episodes(self) -> dict[str, Path]:
        return {robot: self.folder / f"episodes/{robot}/training_session_epoch0/episode_0.hdf5" for robot in ROBOTS}


@dataclass(frozen=True)
class Seen:
    """What a node in one robot's domain finds there."""

    domain_id: int
    nodes: set[tuple[str, str]]
    topics: set[str]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One policy server, two sessions of one episode each."""
    folder = tmp_path_factory.mktemp("lab")
    executable = Path(get_package_prefix("h1_policy_bridge")) / "lib/h1_policy_bridge/policy_server"
    said = folder / "policy_server.txt"
    with said.open("wb") as output:
        server = subprocess.Popen(
            [str(executable), "--trainer", "scripted", "--port", "0", "--inference-ms", "40"],
            stdout=output,
            stderr=output,
        )
    runs: dict[str, SessionRun] = {}
    try:
        wait_until(lambda: "listening on" in said.read_text() or server.poll() is not None, "the policy server", 40.0)
        match = re.search(r"ws://127\.0\.0\.1:(\d+)", said.read_text())
        assert match, said.read_text()
        for robot in ROBOTS:
            runs[robot] = _started(folder, robot, int(match[1]))
        seen = {robot: _seen(run, robot) for robot, run in runs.items()}
        for run in runs.values():
            assert run.wait_for_exit(150) == 0, run.evidence()
        yield Lab(folder, runs, seen)
    finally:
        for run in runs.values():
            run.close()
        server.terminate()
        server.wait()


def _started(folder: Path, robot: str, policy_port: int) -> SessionRun:
    """A session whose folders are the same as the other's: the robot's name alone distinguishes them."""
    own = folder / robot
    shared = ("--save-dir", str(folder / "episodes"), "--rsync-target", str(folder / "data_host"))
    configuration = CONFIG.format(robot=robot, port=policy_port)
    return SessionRun(own, "--namespace", robot, *shared, configuration=configuration)


def _seen(run: SessionRun, robot: str) -> Seen:
    graph = Graph(run.domain_id)
    try:
        visitor = graph.add(BaseNode("visitor"))

        def nodes() -> set[tuple[str, str]]:
            return {pair for pair in visitor.get_node_names_and_namespaces() if pair[0] != "visitor"}

        graph.spin_until(lambda: {name for name, _ in nodes()} >= NODES, f"the nodes of {robot}", 60.0)
        graph.spin_until(lambda: visitor.count_publishers(f"/{robot}/joint_states") == 1, "the arms' topic", 60.0)
        topics = {name for name, _ in visitor.get_topic_names_and_types()}
        return Seen(run.domain_id, nodes(), topics - OF_ROS - {"/session/event"})
    finally:
        graph.close()


def test_each_robot_is_alone_in_its_domain_and_everything_of_it_has_its_namespace(lab: Lab) -> None:
    assert len({seen.domain_id for seen in lab.seen.values()}) == len(ROBOTS)
    for robot, seen in lab.seen.items():
        assert {namespace for _, namespace in seen.nodes} == {f"/{robot}"}
        assert len({name for name, _ in seen.nodes}) == len(seen.nodes)
        assert all(topic.startswith(f"/{robot}/") for topic in seen.topics), sorted(seen.topics)


def test_both_finish_their_episode_in_a_folder_of_their_own_name(lab: Lab) -> None:
    for robot, path in lab.episodes.items():
        with h5py.File(path) as file:
            assert set(file["phase"][:]) <= {b"policy", b"human"}
            assert file.attrs["episode_length"] > 0, lab.runs[robot].evidence()
            assert file.attrs["robot_name"] == robot
            for camera in ("ego_cam", "cam_left_wrist", "cam_right_wrist"):
                assert len(file[f"observations/images/{camera}"]) == file.attrs["episode_length"]


def test_the_data_host_has_both_robots_episodes_and_neither_over_the_other(lab: Lab) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.hdf5")}

    sent = contents(lab.folder / "data_host")
    assert sent == contents(lab.folder / "episodes")
    assert sorted(sent) == [f"{robot}/training_session_epoch0/episode_0.hdf5" for robot in ROBOTS]


def test_the_two_recorded_different_arms(lab: Lab) -> None:
    starts = []
    for path in lab.episodes.values():
        with h5py.File(path) as file:
            starts.append(int(file["stamps/tick"][0]))
    assert starts[0] != starts[1]


def test_neither_had_a_policy_server_of_its_own_and_nothing_is_left(lab: Lab) -> None:
    for run in lab.runs.values():
        assert run.log("sim_policy_server") == ""
        assert run.processes() == []
        assert "was lost" not in run.output
