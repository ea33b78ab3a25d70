# SPDX-License-Identifier: Apache-2.0
"""The recorder's core, and so the `episodes` command, works where there is no ROS."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from recorder_builders import ordinary

import h1_recorder

PACKAGE = Path(h1_recorder.__file__).parent
WITHOUT_ROS = """
import sys, runpy
class Refuse:
    def find_spec(self, name, path=None, target=None):
        package = name.split(".")[0]
        is_ros = package in ("rclpy", "ament_index_python") or name.endswith(("_msgs", ".msg", ".srv"))
        if is_ros and package != "rosbags":
            raise ImportError(f"the core imported {name}")
sys.meta_path.insert(0, Refuse())
"""


def run_without_ros(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_ROS + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_episodes_command_recovers_and_validates_without_ros(tmp_path: Path) -> None:
    ordinary().write(tmp_path / ".episode_0.mcap")
    for verb in ("recover", "validate"):
        done = run_without_ros(
            "from h1_recorder.__main__ import main; sys.exit(main(sys.argv[1:]))", verb, str(tmp_path)
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "episode_0.hdf5").exists()


def test_only_nodes_import_rclpy_or_message_packages() -> None:
    nodes = {path for path in PACKAGE.rglob("*.py") if path.stem.endswith("_node")}
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in sorted(set(PACKAGE.rglob("*.py")) - nodes)
    ]
    done = run_without_ros(f"import importlib\nfor name in {modules!r}: importlib.import_module(name)")
    assert done.returncode == 0, done.stderr
    assert len(modules) > 20


def test_a_reader_that_has_enough_is_no_error() -> None:
    sample = Path(__file__).parent / "data/format_1.hdf5"
    command = f"{shlex.quote(sys.executable)} -m h1_recorder info {shlex.quote(str(sample))} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 rows" in done.stdout
