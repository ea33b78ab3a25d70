# SPDX-License-Identifier: Apache-2.0
"""The graph is on the robot's interface, or on none but this machine's own."""

import re
import shlex
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from h1_training_bringup.session import runner
from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.middleware import (
    check_domain,
    graph_variables,
    installed_middlewares,
    logging_variables,
    middleware_variables,
    reach_notice,
    robot_notice,
    robot_variables,
    simulation_variables,
)

CYCLONE = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    for name in ("lo", "eno1"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_cyclonedds_is_bound_to_the_configured_interface(interfaces: Path) -> None:
    text = robot_variables("eno1", CYCLONE, interfaces)["CYCLONEDDS_URI"]
    (chosen,) = ElementTree.fromstring(text).iter("NetworkInterface")
    assert chosen.get("name") == "eno1"


def test_an_interface_that_is_not_there_is_named_with_those_that_are(interfaces: Path) -> None:
    with pytest.raises(ConfigurationError, match="'enp3s0', which this machine does not have; it has eno1, lo"):
        robot_variables("enp3s0", CYCLONE, interfaces)


@pytest.mark.parametrize(
    "environ", [{}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, {**CYCLONE, "CYCLONEDDS_URI": "<CycloneDDS/>"}]
)
def test_another_middleware_and_a_persons_own_choice_are_left_alone(environ: dict[str, str], interfaces: Path) -> None:
    assert robot_variables("nowhere", environ, interfaces) == {}


def test_the_line_for_other_terminals_sets_there_what_the_session_has(interfaces: Path) -> None:
    variables = robot_variables("eno1", CYCLONE, interfaces)
    line = robot_notice("eno1", CYCLONE, variables)
    command, assignment = shlex.split(line.partition(": ")[2])
    assert command == "export" and dict([assignment.split("=", 1)]) == variables
    # Where it was exported the interface is still checked, and nothing more is to be said.
    exported = CYCLONE | variables
    assert robot_variables("eno1", exported, interfaces) == variables
    assert robot_notice("eno1", exported, variables) == ""


def test_the_line_that_the_installation_has_exported_is_the_sessions_own(interfaces: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs/installing.md").read_text()
    (text,) = re.findall(r"^export CYCLONEDDS_URI=(.*)$", page, re.MULTILINE)
    (interfaces / "IFACE").mkdir()
    for name in ("eno1", "IFACE"):
        assert shlex.split(text.replace("eno1", name)) == [robot_variables(name, CYCLONE, interfaces)["CYCLONEDDS_URI"]]


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "RMW_IMPLEMENTATION is not set"),
        ({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}, "RMW_IMPLEMENTATION is rmw_fastrtps_cpp"),
        ({**CYCLONE, "CYCLONEDDS_URI": '<NetworkInterface name="eno10"/>'}, "CYCLONEDDS_URI goes before it"),
    ],
)
def test_an_interface_that_has_no_effect_is_said_to_have_none(environ: dict[str, str], why: str) -> None:
    line = robot_notice("eno1", environ, {})
    assert line.startswith("! 'robot.network_interface' (eno1) has no effect") and why in line and "\n" not in line


def test_a_persons_own_choice_of_the_same_interface_needs_no_words() -> None:
    environ = {**CYCLONE, "CYCLONEDDS_URI": '<CycloneDDS><NetworkInterface name="eno1" priority="5"/></CycloneDDS>'}
    assert robot_notice("eno1", environ, {}) == ""


def test_a_simulation_forgets_the_robots_interface() -> None:
    variables = simulation_variables(42)
    assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert variables["CYCLONEDDS_URI"] == ""


def test_a_simulation_takes_another_middleware_than_one_that_is_not_there_and_says_so() -> None:
    variables, lines = middleware_variables(CYCLONE, {"rmw_fastrtps_cpp"}, simulated=True)
    assert variables == {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    (line,) = lines
    assert "RMW_IMPLEMENTATION=rmw_cyclonedds_cpp is not installed here; this simulation uses rmw_fastrtps_cpp" in line


def test_a_robots_session_refuses_a_middleware_that_is_not_there_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match=r"not installed here \(there is rmw_fastrtps_cpp\)") as error:
        middleware_variables(CYCLONE, {"rmw_fastrtps_cpp"}, simulated=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("environ", [{}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}])
@pytest.mark.parametrize("simulated", [True, False])
def test_a_middleware_that_is_there_is_obeyed(environ: dict[str, str], simulated: bool) -> None:
    assert middleware_variables(environ, installed_middlewares(), simulated=simulated) == ({}, [])


def test_a_middleware_of_this_machine_is_known() -> None:
    assert installed_middlewares() & {"rmw_fastrtps_cpp", "rmw_cyclonedds_cpp"}


@pytest.mark.parametrize("text", ["abc", "-1", "233", "1.5", " 1"])
def test_a_domain_that_is_none_is_refused_before_any_node_dies_of_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ROS_DOMAIN_ID is"):
        check_domain({"ROS_DOMAIN_ID": text})
    check_domain({"ROS_DOMAIN_ID": "0"})
    check_domain({})


@pytest.mark.parametrize(
    "environ",
    [
        {"ROS_LOCALHOST_ONLY": "1"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        {"ROS_AUTOMATIC_DISCOVERY_RANGE": "off"},
    ],
)
def test_an_environment_that_keeps_ros_on_this_machine_is_pointed_out(environ: dict[str, str]) -> None:
    assert next(iter(environ)) in reach_notice(environ)
    assert reach_notice({"ROS_LOCALHOST_ONLY": "0", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}) == ""


def test_a_log_format_of_ones_own_gives_way_with_a_word() -> None:
    variables, lines = logging_variables(
        {"RCUTILS_CONSOLE_OUTPUT_FORMAT": "{message}", "RCUTILS_LOGGING_USE_STDOUT": "1"}
    )
    assert variables["RCUTILS_CONSOLE_OUTPUT_FORMAT"].startswith("[{severity}]")
    assert [line.split("=")[0] for line in lines] == ["! RCUTILS_CONSOLE_OUTPUT_FORMAT", "! RCUTILS_LOGGING_USE_STDOUT"]
    assert logging_variables({})[1] == []


def test_what_would_reach_beyond_this_machine_is_unset_in_a_simulation() -> None:
    environ = {"ROS_DISCOVERY_SERVER": "10.0.0.1:11811", "ROS_LOCALHOST_ONLY": "1", "ROS_DOMAIN_ID": "abc"}
    variables, lines = graph_variables(environ, "eno1", 42)
    assert (variables["ROS_DOMAIN_ID"], variables["ROS_DISCOVERY_SERVER"]) == ("42", "")
    assert lines == ["Simulation: ROS_DOMAIN_ID=42 ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"]


class NotRun:
    """In the place of what starts the processes."""

    def __init__(self, *_: object) -> None: ...

    def run(self) -> int:
        return 0


def test_the_runner_shows_the_line_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    monkeypatch.setattr(runner, "Runner", NotRun)
    monkeypatch.setattr(runner.graph, "processes", lambda *_: ())
    monkeypatch.setattr(sys, "argv", ["run_session", "--log-dir", str(tmp_path), "--save-dir", str(tmp_path)])
    assert runner.main() == 0
    assert "! 'robot.network_interface' (eno1) has no effect" in capsys.readouterr().out
