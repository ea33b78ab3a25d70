# SPDX-License-Identifier: Apache-2.0
"""A session's load and recorder processes, for benches and the soak."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from recorder_load import SessionLoad

from h1_training_msgs.msg import RecorderStatus
from h1_training_msgs.srv import FinishEpisode, StartEpisode
from h1_training_node.clock import SessionClock

_END_S = 10.0


class Rig:
    """The load, an executor, and recorder processes that write into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.clock = SessionClock.from_environment()
        self.clock.export(os.environ)
        self.folder = folder
        rclpy.init()
        self.load = SessionLoad(self.clock)
        self._executor = EventsExecutor()
        self._executor.add_node(self.load)

    def spin(self, until: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s} s: {what}")
            self._executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.spin(lambda: time.monotonic() >= end, "time", seconds + 10)

    @contextmanager
    def recorder(self) -> Iterator[psutil.Process]:
        """A recorder process that has heard every stream."""
        self.load.status = RecorderStatus()
        command = [
            sys.executable,
            "-m",
            "h1_recorder.recorder.recorder_node",
            "--ros-args",
            "-p",
            "min_free_start_gb:=0.0",
        ]
        with process(command, self.folder / "recorder.log") as recorder:
            names = ("arm_status", "ego_cam", "cam_left_wrist", "cam_right_wrist")

            def heard() -> bool:
                status = self.load.status
                rates = dict(zip(status.streams, status.rates, strict=True))
                return all(rates.get(name, 0) > 5 for name in names)

            self.spin(heard, "the recorder hears the load", 45.0)
            yield recorder

    def start(self) -> str:
        future = self.load.start.call_async(StartEpisode.Request(directory=str(self.folder), epoch=0))
        self.spin(future.done, "recorder/start")
        answer = future.result()
        if not answer.accepted:
            raise RuntimeError(answer.reason)
        return str(answer.episode_id)

    def finish(self, episode_id: str) -> None:
        request = FinishEpisode.Request(episode_id=episode_id, end_reason="operator", outcome="success")
        future = self.load.finish.call_async(request)
        self.spin(future.done, "recorder/finish")
        self.spin(lambda: self.load.status.state in (RecorderStatus.SAVED, RecorderStatus.FAILED), "saved", 170.0)
        if self.load.status.state != RecorderStatus.SAVED:
            raise RuntimeError(self.load.status.last_error)


@contextmanager
def process(command: list[str], log: Path) -> Iterator[psutil.Process]:
    """A process that is asked to end at the end, so that it leaves the graph and its shared memory, and then killed."""
    with log.open("a") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(_END_S)
        started.kill()
        started.wait()


def cpu_seconds(of: psutil.Process) -> float:
    """Of a core, so far, of all its threads: its CPU clock (clock_getcpuclockid(3)), not the 10 ms of /proc."""
    return time.clock_gettime(~of.pid << 3 | 2)
