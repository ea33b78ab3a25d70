"""The graph speaks on the robot's interface, or on none but this machine's own."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from h1_training_bringup.configuration import ConfigurationError
from h1_training_bringup.middleware import robot_variables, simulation_variables

CYCLONE = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    for name in ("lo", "eno1"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_cyclonedds_is_led_to_the_configured_interface(interfaces: Path) -> None:
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


def test_a_simulation_forgets_the_robots_interface() -> None:
    variables = simulation_variables(42)
    assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert variables["CYCLONEDDS_URI"] == ""
