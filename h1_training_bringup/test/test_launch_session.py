# SPDX-License-Identifier: Apache-2.0
"""The launch files under the real launch, where that is installed: each way in which what they start can end."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from session_runs import LAUNCH_FILES, LaunchRun

from h1_training_bringup.session.launch_arguments import arguments_of
from h1_training_bringup.session.process import PARTS
from h1_training_bringup.session.supervisor import MAX_RESPAWNS
from h1_training_testing import wait_until

pytest.importorskip("launch", reason="needs upstream launch")
pytest.importorskip("launch_ros", reason="needs upstream launch")

from launch.actions import DeclareLaunchArgument


def loaded(part: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{part}_launch", LAUNCH_FILES / f"{part}.launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", PARTS)
def test_it_declares_every_argument_with_its_description(part: str) -> None:
    entities = loaded(part).generate_launch_description().entities
    declared = {entity.name: entity.description for entity in entities if isinstance(entity, DeclareLaunchArgument)}
    assert declared == {argument.name: argument.description for argument in arguments_of(part)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config:=/nowhere.yaml"], "/nowhere.yaml: cannot be read: No such file or directory"),
        (["sim:=1"], "'sim' is '1'; expected one of true, false"),
        (["sim:=true", "rsync_target:=user@host:/data"], "the simulation uploads only to a local folder"),
    ],
)
def test_what_cannot_be_started_is_said_in_a_line_before_anything_is(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    run = LaunchRun(tmp_path, *arguments)
    try:
        assert run.wait_for_exit(30) == 1
        assert message in run.output
        assert "Traceback" not in run.output
        assert "process started" not in "".join(path.read_text() for path in tmp_path.glob("log/*/launch.log"))
    finally:
        run.close()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[LaunchRun]:
    run = LaunchRun(tmp_path, "sim:=true", "epochs:=1", "episodes:=1")
    yield run
    run.close()


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_a_session_runs_to_its_end(simulated: LaunchRun) -> None:
    assert simulated.wait_for_exit(120) == 0, simulated.output
    (line,) = (line for line in simulated.output.splitlines() if line.startswith("epoch0/episode_0 "))
    assert line.endswith(" verified")
    assert simulated.processes() == []


@pytest.mark.graph
@pytest.mark.timeout(180)
@pytest.mark.parametrize("times", [1, 10])
def test_ctrl_c_at_launch_alone_ends_all_and_keeps_the_data(simulated: LaunchRun, times: int) -> None:
    simulated.wait_for("[EXECUTING]", 60)
    for _ in range(times):
        simulated.popen.send_signal(signal.SIGINT)
    assert simulated.wait_for_exit(30) == 0, simulated.output
    assert "Session interrupted" in simulated.output
    assert "episode_0" in simulated.output
    assert "escalating" not in simulated.output
    assert simulated.processes() == []


@pytest.mark.graph
@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name)
def test_no_node_outlives_launch_however_it_ends(simulated: LaunchRun, number: signal.Signals) -> None:
    simulated.wait_for("[EXECUTING]", 60)
    wait_until(lambda: list(simulated.save_dir.rglob(".episode_0.mcap")) != [], "the recording has begun", 30.0)
    simulated.popen.send_signal(number)
    simulated.wait_for_exit(30)
    wait_until(lambda: simulated.processes() == [], "every node has ended", 30.0)
    assert list(simulated.save_dir.rglob("*episode_0.*")), "episode or journal"


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_the_loss_of_the_arm_driver_ends_the_session_with_status_1(simulated: LaunchRun) -> None:
    simulated.wait_for("[EXECUTING]", 60)
    simulated.process("arm_driver").kill()
    assert simulated.wait_for_exit(30) == 1, simulated.output
    assert "arm_driver was lost (killed by SIGKILL); ending the session" in simulated.output
    assert simulated.processes() == []


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_an_end_that_the_session_manager_explains_ends_launch_with_status_1(tmp_path: Path) -> None:
    run = LaunchRun(tmp_path, "sim:=true", "operator:=none")
    try:
        run.wait_for("Press 'y' to start epoch 0", 60)
        run.process("arm_driver").suspend()
        run.wait_for("guard_took_over", 30)
        run.ask("h1_session_manager", "session", "release")
        assert run.wait_for_exit(60) == 1, run.output
        assert "Session ended without the arm driver" in run.output
        assert "was lost" not in run.output
        assert run.processes() == []
    finally:
        run.close()


def was_reported(run: LaunchRun, text: str, times: int) -> bool:
    return run.output.count(text) == times


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_a_camera_that_dies_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    run = LaunchRun(tmp_path, "sim:=true", "operator:=none")
    reported = "! head_camera ended (killed by SIGKILL)"
    try:
        run.wait_for("Press 'y' to start epoch 0", 60)
        for count in range(1, MAX_RESPAWNS + 2):
            wait_until(lambda: run.runs("head_camera"), "the camera's process", 30.0)
            run.process("head_camera").kill()
            wait_until(partial(was_reported, run, reported, count), f"its end number {count} is reported", 30.0)
        run.wait_for(f"{reported}; going on without it")
        assert run.output.count(f"{reported}; started again") == MAX_RESPAWNS
        run.popen.send_signal(signal.SIGINT)
        assert run.wait_for_exit(30) == 0, run.output
        assert run.processes() == []
    finally:
        run.close()


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_drivers_alone_move_a_joint_of_peers_alone(tmp_path: Path) -> None:
    peers = LaunchRun(tmp_path / "peers", part="sim")
    try:
        drivers = LaunchRun(tmp_path / "drivers", "sim:=true", part="robot", ROS_DOMAIN_ID=str(peers.domain_id))
        try:
            wait_until(lambda: drivers.runs("arm_guard"), "the drivers' processes", 30.0)
            peers.ask("h1_training_bringup", "arm_driver", "jog", "--joint", "left_wrist_yaw", "--by", "0.05", "--yes")
            drivers.popen.send_signal(signal.SIGINT)
            assert drivers.wait_for_exit(30) == 0, drivers.output
            assert drivers.processes() == []
        finally:
            drivers.close()
        peers.popen.send_signal(signal.SIGINT)
        assert peers.wait_for_exit(30) == 0, peers.output
        assert peers.processes() == []
    finally:
        peers.close()


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_a_session_under_launch_testing_begins_and_ends_as_it_should(tmp_path: Path) -> None:
    pytest.importorskip("launch_testing", reason="needs upstream launch_testing")
    file = Path(__file__).with_name("launch_testing_session.py")
    environment = os.environ | {"SAVE_DIR": str(tmp_path), "ROS_LOG_DIR": str(tmp_path / "log")}
    command = [sys.executable, "-m", "launch_testing.launch_test", str(file)]
    result = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
