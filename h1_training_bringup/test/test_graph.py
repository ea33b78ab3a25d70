# SPDX-License-Identifier: Apache-2.0
"""The graph as data: who runs under which condition, and that a simulation can never reach a robot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h1_training_bringup.arm_driver.joints import COUNT, LOWER, UPPER
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.arm_driver.trajectory import MinimumJerk
from h1_training_bringup.session import graph, graph_simulation
from h1_training_bringup.session.configuration import Configuration, ConfigurationError, load
from h1_training_bringup.session.node_parameters import CLASSES, parameter_class
from h1_training_bringup.session.process import TOOLS, Process, SessionOptions
from h1_training_bringup.session.processes import executable_path
from h1_training_bringup.session.session_setup import local_endpoints, simulated_endpoints
from h1_training_node.parameter import from_values

SAVE_DIR = Path("/data/episodes")


def configured(**changes: Any) -> Configuration:
    return load().replaced({name.replace("__", "."): value for name, value in changes.items()}, source="test")


def simulated(configuration: Configuration, operator: str = "scripted") -> tuple[Process, ...]:
    return graph.processes(at_endpoints(configuration), SessionOptions(True, operator, SAVE_DIR))


def at_endpoints(configuration: Configuration) -> Configuration:
    return configuration.replaced(simulated_endpoints(), source="test")


def on_robot(configuration: Configuration) -> tuple[Process, ...]:
    return graph.processes(configuration, SessionOptions(False, "keyboard", SAVE_DIR))


def names(processes: tuple[Process, ...]) -> set[str]:
    return {process.name for process in processes}


CORE = {"arm_driver", "arm_guard", "head_camera", "policy_bridge", "recorder", "session_manager", "web"}


def test_on_the_robot_run_the_drivers_the_wrists_and_the_keyboard() -> None:
    assert names(on_robot(configured())) == CORE | {"left_wrist_camera", "right_wrist_camera", "keyboard"}


def test_in_the_simulation_run_the_same_drivers_against_peers() -> None:
    peers = {"sim_robot", "sim_cameras", "sim_policy_server", "sim_operator"}
    assert names(simulated(configured())) == CORE | peers


def test_hands_bring_their_driver_and_in_the_simulation_their_peer() -> None:
    with_hands = configured(robot__include_hands=True)
    assert names(simulated(with_hands)) - names(simulated(configured())) == {"inspire_driver", "sim_hands"}
    assert names(on_robot(with_hands)) - names(on_robot(configured())) == {"inspire_driver"}


def test_without_camera_drivers_the_rest_runs() -> None:
    without = configured(robot__include_cameras=False)
    cameras = {"head_camera", "left_wrist_camera", "right_wrist_camera"}
    assert names(on_robot(configured())) - names(on_robot(without)) == cameras
    assert names(simulated(configured())) - names(simulated(without)) == {"head_camera", "sim_cameras"}


def parted(part: str, *, sim: bool, hands: bool = True) -> tuple[Process, ...]:
    configuration = configured(robot__include_hands=hands)
    if sim:
        configuration = configuration.replaced(local_endpoints(configuration), source="test")
    return graph.processes(configuration, SessionOptions(sim, "none", SAVE_DIR, part=part))


def test_the_parts_make_the_whole() -> None:
    drivers, peers = names(parted("robot", sim=True)), names(parted("sim", sim=True))
    assert drivers == {"arm_driver", "arm_guard", "head_camera", "inspire_driver"}
    assert peers == {"sim_robot", "sim_cameras", "sim_hands", "sim_policy_server"}
    whole = names(simulated(configured(robot__include_hands=True), "none"))
    assert drivers | peers | {"policy_bridge", "recorder", "session_manager", "web"} == whole
    assert names(parted("robot", sim=False)) == drivers | {"left_wrist_camera", "right_wrist_camera"}


TOOL_PROCESSES = {
    "rviz": {"robot_state_publisher", "state_marker", "rviz"},
    "foxglove": {"robot_state_publisher", "state_marker", "foxglove_bridge"},
    "rqt": {"rqt"},
    "bag": {"bag"},
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_adds_only_what_the_session_can_live_without(tool: str) -> None:
    configuration = configured()
    session = SessionOptions(True, "none", SAVE_DIR, tools=frozenset({tool}))
    added = [
        p for p in graph.processes(configuration, session) if p.name not in names(simulated(configuration, "none"))
    ]
    assert {process.name for process in added} == TOOL_PROCESSES[tool]
    assert not any(process.essential for process in added)
    assert all(graph.wrapper(process) for process in added if process.package != "h1_training_bringup")


def test_every_file_that_a_tool_is_given_exists() -> None:
    session = SessionOptions(True, "none", SAVE_DIR, tools=frozenset(TOOLS))
    for process in graph.processes(configured(), session):
        for argument in process.arguments:
            if "/share/" in argument:
                assert Path(argument).is_file(), process.name


def test_a_bag_leaves_the_images_out_and_never_meets_an_older_one() -> None:
    session = SessionOptions(True, "none", SAVE_DIR, tools=frozenset({"bag"}), bag_dir=Path("/data/bags/1"))
    (bag,) = (process for process in graph.processes(configured(), session) if process.name == "bag")
    assert "sensor_msgs/msg/CompressedImage" in bag.parameters["record.exclude_topic_types"]
    assert bag.parameters["storage.uri"] == "/data/bags/1"


def test_the_wrist_cameras_come_up_by_their_own_launch_file() -> None:
    by_file = {process.name: process.launch_file for process in on_robot(configured()) if process.launch_file}
    assert by_file == {"left_wrist_camera": "rs_launch.py", "right_wrist_camera": "rs_launch.py"}


def test_nothing_in_a_simulation_uses_the_robots_own_names_or_reaches_another_machine() -> None:
    for process in simulated(configured(robot__include_hands=True)):
        if process.name in ("arm_driver", "arm_guard"):
            assert dict(process.remappings) == {"/lowstate": "sim/lowstate", "/arm_sdk": "sim/arm_sdk"}
        hosts = {value for name, value in process.parameters.items() if name.endswith("host")}
        assert hosts <= {"127.0.0.1"}


@pytest.mark.parametrize("target", ["user@host:/data", "host:data", "rsync://host/data", "[::1]:/data"])
def test_a_simulation_refuses_to_upload_to_another_machine(target: str) -> None:
    with pytest.raises(ConfigurationError, match="uploads only to a local folder"):
        simulated(configured(rsync__target=target))


def test_a_local_path_with_a_colon_is_local() -> None:
    assert simulated(configured(rsync__target="/data/a:b"))


@pytest.mark.parametrize(("hands", "wanted", "dim"), [(False, 0, 14), (True, 0, 26), (True, 14, 14), (True, 26, 26)])
def test_the_action_dimension_follows_the_hands_unless_it_is_set(hands: bool, wanted: int, dim: int) -> None:
    assert graph_simulation.action_dim(configured(robot__include_hands=hands, policy__action_dim=wanted)) == dim


@pytest.mark.parametrize(("hands", "wanted"), [(False, 26), (True, 15)])
def test_a_dimension_that_does_not_fit_is_refused(hands: bool, wanted: int) -> None:
    with pytest.raises(ConfigurationError, match="action_dim"):
        graph_simulation.action_dim(configured(robot__include_hands=hands, policy__action_dim=wanted))


def test_every_executable_of_this_workspace_is_installed_and_its_module_can_be_imported() -> None:
    for process in simulated(configured(robot__include_hands=True)) + simulated(configured(), "keyboard"):
        assert executable_path(process).exists()


def test_no_two_processes_share_a_name() -> None:
    processes = simulated(configured(robot__include_hands=True))
    assert len(names(processes)) == len(processes)


def test_the_next_epoch_follows_the_newest_folder(tmp_path: Path) -> None:
    assert graph_simulation.next_epoch(tmp_path / "none", tmp_path / "none") == 0
    for name in ("training_session_epoch2", "training_session_epoch10", "training_session_epochX", "other"):
        (tmp_path / name).mkdir()
    assert graph_simulation.next_epoch(tmp_path, tmp_path / "none") == 11


def test_the_next_epoch_follows_one_that_was_skipped_and_left_no_data(tmp_path: Path) -> None:
    (tmp_path / "training_session_epoch1").mkdir()
    memory = {"finished": {"1": "synced", "3": "skipped"}, "owed": []}
    (tmp_path / ".session_state.json").write_text(json.dumps(memory))
    assert graph_simulation.next_epoch(tmp_path / "elsewhere", tmp_path) == 4


@pytest.mark.parametrize(("enabled", "watched"), [(True, "uploaded"), (False, "episodes")])
def test_the_policy_server_is_trained_on_what_is_uploaded_or_else_on_what_is_kept(
    enabled: bool, watched: str, tmp_path: Path
) -> None:
    (tmp_path / "uploaded/training_session_epoch4").mkdir(parents=True)
    (tmp_path / "episodes/training_session_epoch6").mkdir(parents=True)
    configuration = configured(rsync__enabled=enabled, rsync__target=str(tmp_path / "uploaded"))
    session = SessionOptions(True, "scripted", tmp_path / "episodes")
    listed = {process.name: process for process in graph.processes(configuration, session)}
    given = listed["sim_policy_server"].arguments
    assert given[given.index("--watch-dir") + 1] == str(tmp_path / watched)
    assert given[given.index("--first-epoch") + 1] == ("5" if enabled else "7")
    assert (listed["session_manager"].parameters["rsync_target"] == "") is not enabled


def test_a_remote_target_that_is_switched_off_does_not_stand_in_a_simulations_way() -> None:
    remote = {"rsync__target": "h1@host:/data"}
    assert simulated(configured(rsync__enabled=False, **remote))
    with pytest.raises(ConfigurationError, match="uploads only to a local folder"):
        simulated(configured(**remote))


def test_a_node_is_given_only_parameters_that_it_declares() -> None:
    """A misspelt or ill-typed one would end the node at its start; this says so without starting it."""
    for process in simulated(configured(robot__include_hands=True)):
        if process.name in CLASSES:
            from_values(parameter_class(process.name), process.parameters, owner=process.name)


@pytest.mark.parametrize("scale", [0.05, 0.25, 1.0])
def test_the_session_waits_for_home_as_long_as_the_slowest_way_takes(scale: float) -> None:
    listed = {process.name: process for process in on_robot(configured(robot__speed_scale=scale))}
    arms = from_values(ArmParameters, listed["arm_driver"].parameters)
    start, goal = LOWER, UPPER
    way = MinimumJerk(start, goal, arms.home_speed_rad_s * arms.speed_scale, np.full(COUNT, 15.0))
    assert listed["session_manager"].parameters["home_timeout_s"] > way.duration_s + 5.0


def test_only_in_the_simulation_may_the_arms_be_taken_without_a_key() -> None:
    unasked = configured(session__ask_before_taking=False)
    assert simulated(unasked)
    with pytest.raises(ConfigurationError, match="only after a key"):
        on_robot(unasked)


def test_the_page_can_be_left_out_and_the_session_lives_without_it() -> None:
    assert names(simulated(configured())) - names(simulated(configured(web__enabled=False))) == {"web"}
    (page,) = (process for process in simulated(configured()) if process.name == "web")
    assert not page.essential and page.ends_last
