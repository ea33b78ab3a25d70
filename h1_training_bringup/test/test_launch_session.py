"""The launch file under the real launch: where that is installed."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from h1_training_bringup.launch_arguments import arguments_of
from h1_training_bringup.process import PARTS, Process
from h1_training_node.process import EXIT_EXPLAINED
from h1_training_node.testing import wait_until

pytest.importorskip("launch", reason="needs upstream launch")
pytest.importorskip("launch_ros", reason="needs upstream launch")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.events import Shutdown
from launch.events.process import ProcessExited, ProcessStarted, ProcessStderr, ProcessStdout

from h1_training_bringup.launching.watch import Watch

LAUNCH_FILES = Path(__file__).parents[1] / "launch"
AS_ROS2_LAUNCH_DOES = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService(argv=sys.argv[2:], noninteractive=False)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)]))
sys.exit(service.run())
"""


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


class Watched:
    """A `Watch` over actions that stand for processes; nothing runs."""

    def __init__(self, folder: Path, *processes: Process) -> None:
        self.context = LaunchContext()
        self.actions = {process.name: object() for process in processes}
        self.watch = Watch({self.actions[process.name]: process for process in processes}, folder)
        for process in processes:
            self.start(process.name)

    def _event(self, kind: type, name: str, **fields: Any) -> Any:
        return kind(action=self.actions[name], name=name, cmd=[name], cwd=None, env=None, pid=1, **fields)

    def start(self, name: str) -> list[tuple[str, str]]:
        return self._signals(self.watch._on_start(self._event(ProcessStarted, name), self.context))

    def end(self, name: str, code: int = 0) -> list[tuple[str, str]]:
        return self._signals(self.watch._on_exit(self._event(ProcessExited, name, returncode=code), self.context))

    def say(self, name: str, text: bytes) -> None:
        self.watch._on_stdout(self._event(ProcessStdout, name, text=text))

    def write(self, name: str, text: bytes) -> None:
        self.watch._on_stderr(self._event(ProcessStderr, name, text=text))

    def shutdown(self, *, due_to_sigint: bool) -> list[tuple[str, str]]:
        self.context._set_is_shutdown(True)
        event = Shutdown(reason="test", due_to_sigint=due_to_sigint)
        return self._signals(self.watch._on_shutdown(event, self.context))

    def _signals(self, actions: list[Any]) -> list[tuple[str, str]]:
        """Who gets which signal, and `session` for the whole session's end."""
        found = []
        for event in (action.event for action in actions):
            if isinstance(event, Shutdown):
                found.append(("session", "end"))
            else:
                found += [
                    (name, event.signal_name) for name, action in self.actions.items() if event.process_matcher(action)
                ]
        return sorted(found)


ARMS = Process("any", "arm_driver", "arm_driver")
MANAGER = Process("any", "session_manager", "session_manager", on_terminal=True)
CAMERA = Process("any", "camera", "camera", essential=False, respawn=True)
ROBOT = Process("any", "sim_robot", "sim_robot", ends_last=True)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, ARMS, MANAGER, CAMERA, ROBOT)


def test_a_ctrl_c_reaches_the_sessions_own_even_where_no_terminal_sends_it(watched: Watched) -> None:
    own = [("arm_driver", "SIGINT"), ("camera", "SIGINT"), ("session_manager", "SIGINT")]
    assert watched.shutdown(due_to_sigint=True) == own


def test_peers_are_ended_once_when_the_last_of_the_sessions_own_has_ended(watched: Watched) -> None:
    assert watched.shutdown(due_to_sigint=False) == []
    assert watched.end("camera") == []
    assert watched.end("session_manager", 130) == []
    assert watched.end("arm_driver") == [("sim_robot", "SIGTERM")]
    assert watched.end("sim_robot") == []


def test_when_all_have_ended_the_table_is_shown(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.shutdown(due_to_sigint=False)
    for name in ("arm_driver", "session_manager", "camera"):
        watched.end(name)
        assert "No episode" not in capsys.readouterr().out
    watched.end("sim_robot")
    assert "No episode was finished in this session." in capsys.readouterr().out


def test_one_that_starts_while_all_is_being_ended_is_ended_too(watched: Watched) -> None:
    watched.end("camera", 1)
    watched.shutdown(due_to_sigint=True)
    assert watched.start("camera") == [("camera", "SIGINT")]


def test_the_session_managers_clean_end_ends_the_session(watched: Watched) -> None:
    assert watched.end("session_manager", 0) == [("session", "end")]


def test_an_end_that_the_session_manager_has_explained_is_no_loss_of_it(watched: Watched) -> None:
    with pytest.raises(RuntimeError, match="the session ended without the arm driver"):
        watched.end("session_manager", EXIT_EXPLAINED)


def test_the_loss_of_an_essential_node_is_an_error_with_its_last_words(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.write("arm_driver", b"Traceback\nKeyErr")
    watched.write("arm_driver", b"or: 'x'\n")
    with pytest.raises(RuntimeError, match="arm_driver was lost \\(killed by SIGKILL\\); ending the session"):
        watched.end("arm_driver", -9)
    assert capsys.readouterr().out == "    Traceback\n    KeyError: 'x'\n"


def test_another_may_end_a_few_times(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        assert watched.end("camera", 1) == []
        assert capsys.readouterr().out == "! camera ended (exit status 1); started again\n"
        watched.start("camera")
    watched.end("camera", 1)
    assert capsys.readouterr().out == "! camera ended (exit status 1); going on without it\n"


def test_warnings_of_nodes_reach_the_terminal_and_information_does_not(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.write("camera", b"[INFO] [1.5] [camera]: fine\n[WARN] [1.6] [robot1.camera]: no pic")
    watched.write("camera", b"tures\n")
    assert capsys.readouterr().out == "! camera: no pictures\n"


def test_a_prompt_is_shown_at_once_and_stays_last(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.say("session_manager", b"[READY]\n  Press 'y': ")
    watched.say("arm_driver", b"not for the terminal\n")
    assert capsys.readouterr().out == "[READY]\n  Press 'y': "
    watched.write("camera", b"[WARN] [1.5] [camera]: late\n")
    assert capsys.readouterr().out == "\n! camera: late\n  Press 'y': "
    watched.say("session_manager", b"\n[WAITING]\n")
    watched.write("camera", b"[WARN] [1.6] [camera]: gone\n")
    assert capsys.readouterr().out == "\n[WAITING]\n! camera: gone\n"


class LaunchRun:
    """A session under launch, in a process session of its own."""

    def __init__(self, folder: Path, *arguments: str, part: str = "session") -> None:
        self._output = folder / "output.txt"
        command = [sys.executable, "-c", AS_ROS2_LAUNCH_DOES, str(LAUNCH_FILES / f"{part}.launch.py")]
        command += [f"save_dir:={folder / 'episodes'}", f"rsync_target:={folder / 'uploaded'}", *arguments]
        with self._output.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"ROS_LOG_DIR": str(folder / "log")},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.output or self.popen.poll() is not None, f"'{text}' shown", 60.0)
        assert text in self.output

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.popen.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def close(self) -> None:
        for process in self.processes():
            process.kill()
        self.popen.wait()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[LaunchRun]:
    run = LaunchRun(tmp_path, "sim:=true", "epochs:=1", "episodes:=1")
    yield run
    run.close()


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_a_session_runs_to_its_end(simulated: LaunchRun) -> None:
    assert simulated.popen.wait(120) == 0, simulated.output
    assert "training_session_epoch0/episode_0.hdf5" in simulated.output
    assert simulated.output.count("uploaded, verified") == 1
    assert simulated.processes() == []


@pytest.mark.graph
@pytest.mark.timeout(180)
@pytest.mark.parametrize("times", [1, 10])
def test_ctrl_c_at_launch_alone_ends_all_and_keeps_the_data(simulated: LaunchRun, times: int) -> None:
    simulated.wait_for("[EXECUTING]")
    for _ in range(times):
        simulated.popen.send_signal(signal.SIGINT)
    assert simulated.popen.wait(25) == 0, simulated.output
    assert "Session interrupted" in simulated.output
    assert "episode_0" in simulated.output
    assert "escalating" not in simulated.output
    assert simulated.processes() == []


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_sigterm_to_launch_leaves_no_node_behind(simulated: LaunchRun, tmp_path: Path) -> None:
    simulated.wait_for("[EXECUTING]")
    simulated.popen.terminate()
    simulated.popen.wait(10)
    wait_until(lambda: simulated.processes() == [], "every node has ended", 25.0)
    assert list((tmp_path / "episodes").rglob("*episode_0.*"))


@pytest.mark.graph
@pytest.mark.timeout(180)
def test_the_loss_of_the_arm_driver_ends_the_session_with_status_1(simulated: LaunchRun) -> None:
    simulated.wait_for("[EXECUTING]")
    (driver,) = (p for p in simulated.processes() if any(part.endswith("/arm_driver") for part in p.cmdline()[:2]))
    driver.kill()
    assert simulated.popen.wait(25) == 1, simulated.output
    assert "arm_driver was lost (killed by SIGKILL); ending the session" in simulated.output
    assert simulated.processes() == []


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
        assert run.popen.wait(30) == 1
        assert message in run.output
        assert "Traceback" not in run.output
        assert "process started" not in "".join(path.read_text() for path in tmp_path.glob("log/*/launch.log"))
    finally:
        run.close()


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


CAMERA_NODE = """#!/bin/sh
printf '[WARN] [1.0] [camera]: stand-in\\n' >&2
printf '%s\\n' "$*" >>"$STARTS"
trap 'exit 0' INT TERM
while :; do sleep 0.1; done
"""
CAMERA_LAUNCH = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
NAMES = ["camera_name", "camera_namespace", "config_file", "log_level", "output"]
def setup(context):
    print("known here:", sorted(context.launch_configurations))
    return [Node(
        package="stand_in_camera", executable="camera_node",
        name=LaunchConfiguration("camera_name"), namespace=LaunchConfiguration("camera_namespace"),
    )]
def generate_launch_description():
    declared = [DeclareLaunchArgument(name, default_value="") for name in NAMES]
    return LaunchDescription([*declared, OpaqueFunction(function=setup)])
"""
AS_A_SESSION_DOES = """
import sys
from pathlib import Path
from launch import LaunchDescription, LaunchService
from launch.actions import PushLaunchConfigurations, SetLaunchConfiguration
from h1_training_bringup.launching.included import inclusion
from h1_training_bringup.launching.screen import keep_the_terminal_for_the_operator
from h1_training_bringup.launching.watch import Watch
from h1_training_bringup.process import Process
camera = Process("stand_in_camera", "camera_node", "left_camera", parameters={"a": 1},
    remappings=(("~/old", "new"),), essential=False, respawn=True, foreign=True, launch_file="camera.launch.py")
def actions():
    return inclusion(camera, "robot1", "info", Path(sys.argv[1]))
keep_the_terminal_for_the_operator()
watch = Watch({}, None, {"left_camera": (camera, actions)})
service = LaunchService(noninteractive=False)
service.include_launch_description(
    LaunchDescription([SetLaunchConfiguration("config", "mine"), *watch.handlers(), *actions()])
)
sys.exit(service.run())
"""


@pytest.mark.timeout(120)
def test_a_camera_of_another_packages_launch_file_is_watched_and_started_again(tmp_path: Path) -> None:
    prefix, starts, output = tmp_path / "prefix", tmp_path / "starts.txt", tmp_path / "output.txt"
    for name, text in {
        "share/ament_index/resource_index/packages/stand_in_camera": "",
        "share/stand_in_camera/launch/camera.launch.py": CAMERA_LAUNCH,
        "lib/stand_in_camera/camera_node": CAMERA_NODE,
    }.items():
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(text)
    (prefix / "lib/stand_in_camera/camera_node").chmod(0o755)
    environment = os.environ | {
        "AMENT_PREFIX_PATH": f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}",
        "ROS_LOG_DIR": str(tmp_path / "log"),
        "STARTS": str(starts),
    }
    with output.open("wb") as file:
        command = [sys.executable, "-c", AS_A_SESSION_DOES, str(tmp_path)]
        launched = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True)

    def lines() -> list[str]:
        return starts.read_text().splitlines() if starts.exists() else []

    try:
        wait_until(lambda: len(lines()) == 1, "the camera runs", 30.0)
        assert "__node:=left_camera" in lines()[0]
        assert "__ns:=/robot1" in lines()[0]
        assert "~/old:=new" in lines()[0]
        wait_until(lambda: psutil.Process(launched.pid).children(), "its process", 30.0)
        psutil.Process(launched.pid).children()[0].kill()
        wait_until(lambda: len(lines()) == 2, "it runs again", 30.0)
        launched.send_signal(signal.SIGINT)
        assert launched.wait(30) == 0
    finally:
        launched.kill()
        launched.wait()
    shown = output.read_text()
    assert "! left_camera ended (killed by SIGKILL); started again" in shown
    assert "! left_camera: stand-in" in shown
    assert "known here" not in shown
    log = next((tmp_path / "log").glob("*/launch.log")).read_text()
    assert "known here: ['camera_name', 'camera_namespace', 'config_file', 'launch-prefix'" in log
    assert "'config'," not in log
