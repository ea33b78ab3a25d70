# SPDX-License-Identifier: Apache-2.0
"""What an installation is made by is right: package.xml, Docker files, .repos. No container engine runs here."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKER = REPOSITORY / "docker"
PACKAGES = sorted(path.parent.name for path in REPOSITORY.glob("h1_*/package.xml"))
KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "yaml": "python3-yaml",
    "zmq": "python3-zmq",
}
"""Modules whose rosdep key (ros/rosdistro:rosdep/python.yaml) is not python3-MODULE."""
NOT_OF_ROSDEP = {
    "av",
    "axe_playwright_python",
    "json_numpy",
    "lerobot",
    "mcap",
    "mcap_ros2",
    "mfusepy",
    "mujoco",
    "openpi_client",
    "playwright",
    "pyarrow",
    "rosbags",
    "simplejpeg",
    "starlette",
    "turbojpeg",
}
"""Have no key there; `h1_training_bringup/scripts/bootstrap.py` installs them."""
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")
OF_ROS = {"ament_index_python", "cv_bridge", "launch", "launch_testing", "launch_ros", "rclpy", "rosidl_runtime_py"}
STANDARD = {*sys.stdlib_module_names, "h1_training_node", "h1_training_testing"}


def imports(package: str, part: str = "") -> Iterator[str]:
    """Top-level modules that a part of `package` imports; by default what is installed of it."""
    folder = REPOSITORY / package / (part or ("h1_training_node" if package == "h1_training_msgs" else package))
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0]


def declared(package: str) -> set[str]:
    root = ElementTree.parse(REPOSITORY / package / "package.xml").getroot()
    return {element.text or "" for element in root if element.tag.endswith("depend")}


def key_of(module: str) -> str:
    if module in OF_ROS or module.startswith("h1_") or module.endswith(("_msgs", "_srvs", "_interfaces", "_hg")):
        return module
    return KEYS.get(module, f"python3-{module}")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_declares_everything_that_it_imports(package: str) -> None:
    known = STANDARD | NOT_OF_ROSDEP | {package, "pytest", "hypothesis"}
    assert {key_of(module) for module in imports(package) if module not in known} <= declared(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_colcon_test_needs_nothing_that_a_package_does_not_declare(package: str) -> None:
    own = {path.stem for path in [*REPOSITORY.glob("h1_*/test/*.py"), *REPOSITORY.glob("h1_*/scripts/*.py")]}
    used = {module for module in imports(package, "test") if module not in STANDARD | NOT_OF_ROSDEP | own | {package}}
    options = {"python3-pytest-timeout", "python3-hypothesis"}  # of pyproject.toml, which holds for each package alone
    assert {key_of(module) for module in used} | options <= declared(package) | {"python3-pytest"}


def test_what_rosdep_does_not_know_is_installed_by_the_set_up() -> None:
    text = (REPOSITORY / "h1_training_bringup/scripts/bootstrap.py").read_text()
    used = {module for package in PACKAGES for module in imports(package)} & NOT_OF_ROSDEP
    for module in used:
        assert f'"{"pyturbojpeg" if module == "turbojpeg" else module}"' in text


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_licence_version_and_changelog(package: str) -> None:
    root = ElementTree.parse(REPOSITORY / package / "package.xml").getroot()
    assert root.findtext("license") == "Apache-2.0"
    changelog = (REPOSITORY / package / "CHANGELOG.rst").read_text()
    title = f"Changelog for package {package}"
    assert changelog.splitlines()[1] == title
    assert len(changelog.splitlines()[0]) >= len(title)
    assert f"\n{root.findtext('version')} (" in changelog


def stages() -> dict[str, str]:
    """Every stage of the Dockerfile, by name."""
    text = (DOCKER / "Dockerfile").read_text()
    return {match[1]: match[0] for match in re.finditer(r"^FROM \S+ AS (\w+)$.*?(?=^FROM|\Z)", text, re.M | re.S)}


def composed() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in DOCKER.glob("compose.*.yaml"):
        for service in yaml.safe_load(path.read_text())["services"].values():
            yield path, service


def test_there_is_an_image_for_robot_simulation_and_tests_and_a_file_that_runs_it() -> None:
    targets = {service["build"]["target"] for _, service in composed()}
    assert targets == {"robot", "simulation", "tests"} == set(stages()) - {"base"}


def test_every_image_runs_as_an_ordinary_user_and_those_of_a_session_report_their_health() -> None:
    for name in ("simulation", "tests", "robot"):
        assert re.findall(r"^USER (\w+)$", stages()[name], re.M)[-1] == "h1"
    for name in ("simulation", "robot"):
        assert "HEALTHCHECK" in stages()[name] and "docker/healthy.sh" in stages()[name]


def test_everything_of_ours_that_the_images_use_exists() -> None:
    text = "".join(stages().values())
    for source in re.findall(r"^COPY (?:--\S+ )?(\S+) ", text, re.M):
        assert (REPOSITORY / source).exists()
    for script in {*re.findall(r"docker/\w+\.(?:sh|py)", text)}:
        assert (REPOSITORY / script).is_file()
    for script in DOCKER.glob("*.sh"):
        assert os.access(script, os.X_OK), script.name
    for path, service in composed():
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file(), path.name


def test_what_the_images_leave_out_is_declared_by_a_package() -> None:
    known = {key for package in PACKAGES for key in declared(package)}
    for keys in re.findall(r'--skip-keys "([^"]+)"', "".join(stages().values())):
        assert set(keys.split()) <= known


def test_the_data_outlive_the_container_and_the_key_is_a_secret() -> None:
    services = {path.stem: service for path, service in composed()}
    for name in ("compose.robot", "compose.simulation"):
        assert any(str(volume).endswith(":/data") for volume in services[name]["volumes"])
    assert services["compose.robot"]["secrets"] == ["h1_ssh_key"]


def test_the_folder_of_the_data_is_made_before_the_daemon_would_make_it_as_root() -> None:
    for path, service in composed():
        if service.get("volumes"):
            header = path.read_text().partition("name:")[0]
            assert f"mkdir -p data && docker compose -f docker/{path.name} run" in header
    page = (REPOSITORY / "h1_training_bringup/docs/installing.md").read_text()
    commands = re.findall(r"`([^`]*docker compose[^`]*)`", page)
    assert len(commands) == 3
    assert all(command.startswith("mkdir -p data && ") for command in commands if "compose.tests" not in command)


def test_every_variable_that_the_robots_compose_file_takes_is_explained_at_its_head() -> None:
    head, _, body = (DOCKER / "compose.robot.yaml").read_text().partition("\nname:")
    assert set(re.findall(r"\$\{(\w+)", body)) <= set(re.findall(r"\w+", head))


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ((), "session --timeout 8 status --healthy"),
        (("-r", "__ns:=/robot1"), "session --timeout 8 --namespace /robot1 status --healthy"),
    ],
)
def test_the_health_is_asked_in_the_sessions_own_namespace_and_domain(
    arguments: tuple[str, ...], asked: str, tmp_path: Path
) -> None:
    (tmp_path / "docker").mkdir()
    entry, pgrep = tmp_path / "docker/entrypoint.sh", tmp_path / "pgrep"
    entry.write_text('#!/bin/sh\necho "$ROS_DOMAIN_ID" "$@"\n')
    waits = [sys.executable, "-c", "print(flush=True); input()", "--ros-args", "-r", "__node:=session_manager"]
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [*waits, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment | {"ROS_DOMAIN_ID": "77"},
    ) as manager:
        assert manager.stdin is not None and manager.stdout is not None
        manager.stdout.readline()
        pgrep.write_text(f"#!/bin/sh\necho {manager.pid}\n")
        for script in (entry, pgrep):
            script.chmod(0o755)
        command = [str(DOCKER / "healthy.sh")]
        said = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        manager.stdin.write(b"\n")
    assert said.stdout.strip() == f"77 {asked}"


def test_a_container_is_given_the_time_that_a_session_takes_to_end() -> None:
    for path, service in composed():
        if "tests" not in path.name:
            assert float(service["stop_grace_period"].removesuffix("s")) > 17.0


def test_a_container_of_the_simulation_reaches_nobody() -> None:
    services = {path.stem: service for path, service in composed()}
    assert services["compose.simulation"]["network_mode"] == "none"


def test_the_robots_messages_come_from_one_commit() -> None:
    (entry,) = yaml.safe_load((DOCKER / "unitree.repos").read_text())["repositories"].values()
    assert re.fullmatch(r"[0-9a-f]{40}", entry["version"])


def test_the_public_hosts_workflow_runs_targets_that_there_are() -> None:
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    used = {target for job in jobs.values() for step in job["steps"] for target in TARGET.findall(step.get("run", ""))}
    assert {"test", "lint", "session"} <= used <= targets
    assert jobs["jazzy"]["container"].startswith("ros:jazzy")


def test_what_is_linted_before_a_commit_is_linted_by_make() -> None:
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "ruff check" in makefile and "ruff format" in makefile
    assert {"ruff", "ruff-format", "lint"} <= {hook["id"] for hook in local["hooks"]}
