# SPDX-License-Identifier: Apache-2.0
"""From what was asked for to a session: names that become folders, and peers that are shared."""

from pathlib import Path
from typing import Any

import pytest

from h1_training_bringup.session import graph
from h1_training_bringup.session.configuration import Configuration, ConfigurationError
from h1_training_bringup.session.process import Process, SessionOptions
from h1_training_bringup.session.processes import ProcessGroup, StartError
from h1_training_bringup.session.session_setup import SessionRequest, prepared


def simulated(**changes: Any) -> tuple[Configuration, SessionOptions]:
    return prepared(SessionRequest(True, "none", None, {name.replace("__", "."): v for name, v in changes.items()}))


def test_without_a_name_the_folders_are_as_configured(tmp_path: Path) -> None:
    configuration, session = simulated(save_dir=str(tmp_path / "here"), rsync__target=str(tmp_path / "there"))
    assert session.save_dir == tmp_path / "here"
    assert configuration["rsync.target"] == str(tmp_path / "there")


def test_a_robots_name_is_a_folder_here_and_at_the_target(tmp_path: Path) -> None:
    given = {"save_dir": str(tmp_path / "here"), "rsync__target": str(tmp_path / "there")}
    configuration, session = simulated(robot__name="alice", **given)
    assert session.save_dir == tmp_path / "here/alice"
    assert configuration["rsync.target"] == str(tmp_path / "there/alice")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("user@host:/data/h1", "user@host:/data/h1/alice"),
        ("user@host:/data/h1/", "user@host:/data/h1/alice"),
        ("user@host:", "user@host:alice"),
        ("rsync://host/module", "rsync://host/module/alice"),
        ("", ""),
    ],
)
def test_the_name_goes_behind_any_kind_of_target(target: str, expected: str) -> None:
    request = SessionRequest(False, "keyboard", None, {"robot.name": "alice", "rsync.target": target})
    assert prepared(request)[0]["rsync.target"] == expected


def test_an_upload_into_the_episodes_own_folder_is_refused_since_it_would_be_no_copy(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    for target in ("here", "here/", "there/../here", "link"):
        with pytest.raises(ConfigurationError, match="are the same folder"):
            simulated(save_dir=str(tmp_path / "here"), rsync__target=f"{tmp_path}/{target}")
    simulated(save_dir=str(tmp_path / "here"), rsync__target=str(tmp_path / "here"), rsync__enabled=False)
    simulated(save_dir=str(tmp_path / "here"), rsync__target=str(tmp_path / "here/uploaded"))


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "-x", "1st", "ä", "a:b", "a" * 64, ".hidden"])
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"robot\.name"):
        simulated(robot__name=name)


def test_a_shared_policy_server_is_used_and_none_is_started() -> None:
    configuration, session = simulated(simulation__policy_server_port=4711)
    listed = {process.name: process for process in graph.processes(configuration, session)}
    assert "sim_policy_server" not in listed
    for name, port in (("policy_bridge", "port"), ("session_manager", "policy_port")):
        assert listed[name].parameters[port] == 4711


@pytest.mark.parametrize("namespace", ["robot-1", "1", "a//b", "a b", "/"])
def test_a_namespace_that_is_none_is_refused_before_anything_starts(tmp_path: Path, namespace: str) -> None:
    with pytest.raises(StartError, match="namespace"):
        ProcessGroup([Process("h1_recorder", "recorder", "recorder")], tmp_path, {}, namespace=namespace)
