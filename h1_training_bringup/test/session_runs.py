# SPDX-License-Identifier: Apache-2.0
"""Starts whole sessions as a user would, and observes them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from ament_index_python.packages import get_package_prefix

from h1_training_testing import wait_until

SLOW_CAMERAS = "simulation: {camera_fps: 10.0}\n"
RUNNER = Path(get_package_prefix("h1_training_bringup")) / "lib/h1_training_bringup/run_session"
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


def _busiest() -> str:
    """This computer's load and who takes most of it, for whoever reads why a session was too slow."""
    processes = list(psutil.process_iter(["cmdline"]))
    shares = {}
    for interval in (1.0, None):  # the first reading begins what the second one ends
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                shares[process] = process.cpu_percent()
        psutil.cpu_percent(interval)
    first = sorted(shares, key=lambda process: -shares[process])[:8]
    lines = [f"{shares[process]:5.1f} %  {' '.join(process.info['cmdline'] or ())[:100]}" for process in first]
    return "\n".join([f"load {os.getloadavg()}, {os.cpu_count()} cores", *lines])


class StartedSession:
    """One session in a process session of its own.

    Args:
        folder: where its data, uploads, logs and output go.
        command: what starts it.
        variables: added to the environment.
    """

    def __init__(self, folder: Path, command: Sequence[str], **variables: str) -> None:
        self.save_dir, self.target, self.log_dir = folder / "episodes", folder / "uploaded", folder / "log"
        self._output = folder / "output.txt"
        with self._output.open("wb") as output:
            # A process session of its own: killpg reaches all of it, as a terminal's Ctrl+C does, and nobody else.
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What the terminal shows so far."""
        return self._output.read_text(errors="replace")

    @property
    def domain_id(self) -> int:
        """The ROS domain that the session claimed."""
        self.wait_for("ROS_DOMAIN_ID=")
        match = re.search(r"ROS_DOMAIN_ID=(\d+)", self.output)
        assert match
        return int(match[1])

    def wait_for(self, text: str, timeout_s: float = 40.0) -> None:
        """Wait until the terminal shows `text`."""
        wait_until(lambda: text in self.output or self.popen.poll() is not None, f"'{text}' shown", timeout_s)
        assert text in self.output, self.evidence()

    def wait_for_exit(self, timeout_s: float) -> int:
        """Wait for the runner's end; its exit status."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s\n{self.evidence()}") from None

    def press_ctrl_c(self) -> None:
        """What a terminal does: SIGINT to the whole group."""
        os.killpg(self.popen.pid, signal.SIGINT)

    def processes(self) -> list[psutil.Process]:
        """Every living process of this session, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.popen.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def runs(self, executable: str) -> bool:
        """Whether a process runs `executable`."""
        return bool(self._running(executable))

    def process(self, executable: str) -> psutil.Process:
        """The process that runs `executable`."""
        (process,) = self._running(executable)
        return process

    def _running(self, executable: str) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            try:
                if any(part.endswith(f"/{executable}") for part in process.cmdline()[:2]):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def ask(self, package: str, executable: str, *arguments: str, timeout_s: float = 60.0) -> None:
        """Run one of our commands beside the session, in its ROS domain; it has to succeed."""
        result = self.asked(package, executable, *arguments, timeout_s=timeout_s)
        assert result.returncode == 0, result.stdout + result.stderr + self.evidence()

    def asked(
        self, package: str, executable: str, *arguments: str, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """The same, whether it succeeds or not."""
        command = [str(Path(get_package_prefix(package)) / "lib" / package / executable), *arguments]
        variables = {"ROS_DOMAIN_ID": str(self.domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        return subprocess.run(
            command,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def log(self, name: str) -> str:
        """The log of one node."""
        return "\n".join(path.read_text(errors="replace") for path in self.log_dir.glob(f"*/{name}.log"))

    def episodes(self) -> list[Path]:
        """The finished episodes, in order."""
        return sorted(self.save_dir.glob("training_session_epoch*/episode_*.hdf5"))

    def evidence(self) -> str:
        """Terminal and logs, for the message of a failed test."""
        logs = "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.log_dir.glob("*/*.log"))
        )
        return f"--- terminal\n{self.output}\n{logs}\n--- computer\n{_busiest()}"

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self.processes():
            process.kill()
        self.popen.wait()


class SessionRun(StartedSession):
    """A simulated one, as `make session` starts it where there is no `ros2 launch`.

    Args:
        folder: where its data, uploads, logs and output go.
        arguments: further arguments of the runner.
        configuration: YAML. Cameras are slower than a robot's, for computers that others slow down.
    """

    def __init__(self, folder: Path, *arguments: str, configuration: str = SLOW_CAMERAS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text(configuration)
        given = ["--sim", "--config", str(folder / "config.yaml"), "--log-dir", str(folder / "log")]
        given += ["--save-dir", str(folder / "episodes"), "--rsync-target", str(folder / "uploaded")]
        super().__init__(folder, [str(RUNNER), *given, *arguments])


class LaunchRun(StartedSession):
    """One under upstream launch, by the file of the session or of a part of it."""

    def __init__(self, folder: Path, *arguments: str, part: str = "session", **variables: str) -> None:
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", AS_ROS2_LAUNCH_DOES, str(LAUNCH_FILES / f"{part}.launch.py")]
        if part == "session":
            command += [f"save_dir:={folder / 'episodes'}", f"rsync_target:={folder / 'uploaded'}"]
        super().__init__(folder, [*command, *arguments], ROS_LOG_DIR=str(folder / "log"), **variables)
