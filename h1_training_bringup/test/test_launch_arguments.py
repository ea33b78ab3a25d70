# SPDX-License-Identifier: Apache-2.0
"""The launch arguments, without launch: what each asks for, and that a wrong one is named before anything starts."""

from pathlib import Path

import pytest

from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.keys import BY_PATH
from h1_training_bringup.session.launch_arguments import ARGUMENTS, arguments_of, request_from
from h1_training_bringup.session.process import TOOLS
from h1_training_bringup.session.session_setup import SessionRequest, prepared


def request(part: str = "session", **given: str) -> SessionRequest:
    return request_from({argument.name: argument.default for argument in arguments_of(part)} | given, part)


def test_with_no_argument_at_all_a_person_runs_the_robot_as_configured() -> None:
    assert request() == SessionRequest(simulated=False)
    _, session = prepared(request())
    assert not session.simulated
    assert session.operator == "keyboard"


def test_arguments_go_over_the_configuration(tmp_path: Path) -> None:
    configuration, session = prepared(
        request(
            policy_host="policy.lab",
            policy_port="9000",
            hands="true",
            speed_scale="0.25",
            save_dir=str(tmp_path),
            rsync_target="user@host:/data",
        )
    )
    assert (configuration["policy_server.host"], configuration["policy_server.port"]) == ("policy.lab", 9000)
    assert configuration["robot.include_hands"] is True
    assert configuration["robot.speed_scale"] == 0.25
    assert configuration["rsync.target"] == "user@host:/data"
    assert session.save_dir == tmp_path


def test_a_task_that_looks_like_a_number_stays_text() -> None:
    assert request(save_dir="123").changes == {"save_dir": "123"}


@pytest.mark.parametrize("value", ["1", "yes", "sim", ""])
def test_whether_it_is_a_simulation_is_never_guessed(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'sim' is '.*'; expected one of true, false"):
        request(sim=value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("policy_port", "http", "'policy_server.port' is 'http' \\(str\\); expected a whole number"),
        ("policy_port", "[", "'policy_server.port' is '\\[': is not YAML"),
        ("policy_port", "70000", "'policy_server.port' is 70000; the greatest allowed is 65535"),
        ("hands", "2", "'robot.include_hands' is 2 \\(int\\); expected true or false"),
        ("speed_scale", "2", "'robot.speed_scale' is 2"),
        ("log_level", "loud", "'log_level' is 'loud'; expected one of debug, info, warn, error, fatal"),
        ("operator", "robot", "operator is 'robot'; expected one of keyboard, scripted, none"),
        ("namespace", "robot-1", "namespace 'robot-1': expected letters, digits and _, e.g. robot1"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_would(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        prepared(request(**{name: value}))


@pytest.mark.parametrize(("name", "value"), [("policy_host", "policy.lab"), ("policy_port", "8000")])
def test_a_simulation_cannot_be_pointed_at_a_real_policy_server(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' does not go with sim:=true"):
        request(sim="true", **{name: value})


def test_the_session_has_every_argument() -> None:
    assert arguments_of("session") == ARGUMENTS
    wanted = "config namespace sim operator console hands cameras rviz rqt foxglove bag log_level"
    wanted += " policy_host policy_port save_dir"
    assert set(wanted.split()) <= {argument.name for argument in ARGUMENTS}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_runs_only_if_it_is_asked_for(tool: str) -> None:
    assert request().tools == frozenset()
    assert request(**{tool: "true"}).tools == {tool}
    with pytest.raises(ConfigurationError, match=f"'{tool}' is 'yes'; expected one of true, false"):
        request(**{tool: "yes"})


def test_the_peers_alone_are_a_simulation_at_the_configured_ports(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("policy_server: {port: 8123}\nrobot: {head_camera_server_port: 5556}")
    configuration, session = prepared(request("sim", config=str(config)))
    assert session.simulated
    assert (configuration["policy_server.host"], configuration["policy_server.port"]) == ("127.0.0.1", 8123)
    assert configuration["robot.head_camera_server_port"] == 5556
    assert configuration["robot.left_hand_port"] != configuration["robot.right_hand_port"]


def test_drivers_alone_meet_the_peers_that_were_started_alone() -> None:
    drivers, _ = prepared(request("robot", sim="true"))
    peers, _ = prepared(request("sim"))
    assert drivers.values == peers.values


def test_every_argument_says_what_it_means() -> None:
    for argument in ARGUMENTS:
        assert argument.meaning
        if argument.key:
            assert BY_PATH[argument.key].about.description in argument.description
            assert argument.key in argument.description
            assert argument.default == ""
