# SPDX-License-Identifier: Apache-2.0
"""Cores import neither rclpy nor message packages: only `*_node.py` files do (and launch files)."""

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("h1_training_bringup", "h1_inspire_driver", "h1_policy_bridge", "h1_recorder", "h1_session_manager")
ROS = {
    "rclpy",
    "rcl_interfaces",
    "builtin_interfaces",
    "unitree_hg",
    "cv_bridge",
    "h1_training_msgs",
    "launch",
    "launch_ros",
}
ROS_PARTS_OF_OURS = {"polled_subscription", "node_main", "qos", "base_node", "stamps"}


def folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def modules(package: str) -> Iterator[Path]:
    """All but the shells: nodes, what turns messages into a core's values, the command's client, launch's actions."""
    shells = {"launch_description", "launch_supervisor", "ros_interface", "session_client"}
    paths = (path for path in sorted(folder(package).rglob("*.py")) if not path.stem.endswith("_node"))
    return (path for path in paths if path.stem not in shells)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_ros(name: str) -> bool:
    top, *rest = name.split(".")
    if top == "h1_training_node":
        return bool(rest) and rest[0] in ROS_PARTS_OF_OURS
    return top in ROS or top.endswith("_msgs") or top.endswith("_srvs")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_core_module_imports_ros(package: str) -> None:
    offenders = [f"{path.name}: {name}" for path in modules(package) for name in imported(path) if is_ros(name)]
    assert offenders == []


MAY_IMPORT = {
    ("h1_training_bringup", "sim"): ("h1_policy_bridge.", "h1_inspire_driver."),
    ("h1_policy_bridge", "training_server"): ("h1_recorder.episode.", "h1_recorder.export."),
}
"""The folders that may use others' public cores: a simulated peer that of whose peer it is, the training server what
reads, checks and exports episodes."""


def is_allowed(package: str, path: Path, name: str) -> bool:
    parts = path.relative_to(folder(package)).parts
    return name.startswith(MAY_IMPORT.get((package, parts[0]), ())) and not name.split(".")[-1].endswith("_node")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_another_packages_python(package: str) -> None:
    others = set(PACKAGES) - {package}
    offenders = [
        f"{path.name}: {name}"
        for path in sorted(folder(package).rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] in others and not is_allowed(package, path, f"{name}.")
    ]
    assert offenders == []


def test_the_rule_about_imports_would_notice() -> None:
    server = folder("h1_policy_bridge") / "training_server" / "rows.py"
    assert is_allowed("h1_policy_bridge", server, "h1_recorder.episode.episode")
    assert not is_allowed("h1_policy_bridge", server, "h1_recorder.recorder.journal")
    assert not is_allowed("h1_policy_bridge", server, "h1_session_manager.values")
    assert not is_allowed("h1_policy_bridge", server.parents[1] / "bridge.py", "h1_recorder.episode.episode")
    person = folder("h1_training_bringup") / "sim" / "person.py"
    assert is_allowed("h1_training_bringup", person, "h1_policy_bridge.strategies")
    assert not is_allowed("h1_training_bringup", person, "h1_policy_bridge.policy_bridge_node")
    assert not is_allowed("h1_training_bringup", person, "h1_recorder.episode.episode")


def test_the_rule_would_notice() -> None:
    assert is_ros("rclpy.node")
    assert is_ros("sensor_msgs.msg")
    assert is_ros("h1_training_node.qos")
    assert not is_ros("h1_training_node.clock")
