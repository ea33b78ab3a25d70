"""Starts whole sessions as a user would, and looks on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
from ament_index_python.packages import get_package_prefix

from h1_training_node.testing import wait_until

RUNNER = Path(get_package_prefix("h1_training_bringup")) / "lib/h1_training_bringup/run_session"


class SessionRun:
    """One simulated session in a process session of its own, as `make session` starts it.

    Args:
        folder: where its data, uploads, logs and output go.
        arguments: further arguments of the runner.
    """

    def __init__(self, folder: Path, *arguments: str, sim: bool = True) -> None:
        self.save_dir, self.target, self.log_dir = folder / "episodes", folder / "uploaded", folder / "log"
        self._output = folder / "output.txt"
        command = [str(RUNNER), *(["--sim"] if sim else []), "--save-dir", str(self.save_dir)]
        command += ["--rsync-target", str(self.target), "--log-dir", str(self.log_dir), *arguments]
        with self._output.open("wb") as output:
            # A process session of its own: killpg reaches all of it, as a terminal's Ctrl+C does, and nobody else.
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
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

    def process(self, executable: str) -> psutil.Process:
        """The process that runs `executable`."""
        (process,) = (p for p in self.processes() if any(part.endswith(f"/{executable}") for part in p.cmdline()[:2]))
        return process

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
        return f"--- terminal\n{self.output}\n{logs}"

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self.processes():
            process.kill()
        self.popen.wait()
