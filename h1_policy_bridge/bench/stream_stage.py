# SPDX-License-Identifier: Apache-2.0
"""Node, simulated policy server and surroundings as processes of their own: the stream as others see it."""

from __future__ import annotations

import array
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from h1_training_msgs.msg import ArmStatus, PolicyAction, PolicyStatus, SessionState
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_node.clock import SessionClock
from h1_training_node.domain import DomainClaim
from h1_training_node.process import PRIORITY_VARIABLE, REALTIME
from h1_training_node.stamps import to_ns, to_stamp

TICK_MS = 20.0
START_TIMEOUT_S = 20.0


@dataclass
class Stream:
    """One entry of POLICY as it went over `policy/action`."""

    actions: list[PolicyAction] = field(default_factory=list)
    largest_step_inside: float = float("nan")
    cpu_percent: float = 0.0

    @property
    def periods_ms(self) -> np.ndarray:
        return np.diff([to_ns(action.header.stamp) for action in self.actions]) * 1e-6

    @property
    def missing_ticks(self) -> int:
        """Ticks for which no action went out."""
        return int(np.maximum(np.rint(self.periods_ms / TICK_MS) - 1, 0).sum())

    @property
    def held_ticks(self) -> int:
        return sum(action.holding for action in self.actions)

    @property
    def tick_p99_ms(self) -> float:
        return float(np.percentile(self.periods_ms, 99))

    @property
    def seam_ratio(self) -> float:
        """Largest step of all, in largest steps inside the chunks that the server sent."""
        steps = np.abs(np.diff([action.positions for action in self.actions], axis=0))
        return float(steps.max() / self.largest_step_inside)

    def line(self, name: str) -> str:
        longest = self.periods_ms.max()
        return (
            f"  {name:<20}{len(self.actions)} actions, {self.missing_ticks} missing, {self.held_ticks} held; "
            f"period p99 {self.tick_p99_ms:.1f} ms, longest {longest:.1f} ms; seam {self.seam_ratio:.2f}; "
            f"{self.cpu_percent:.0f} % of a core"
        )


class Surroundings(Node):
    """Arms that follow, a session that executes, three cameras at 30 Hz."""

    def __init__(self, jpegs: list[bytes]) -> None:
        super().__init__("surroundings")
        self.clock_ns = SessionClock.from_environment()
        self.stream = Stream()
        self.status = PolicyStatus()
        self._mode, self._since_ns = ArmStatus.MODE_HOLD, self.clock_ns.now_ns()
        self._q = np.zeros(14, np.float32)
        self._seq = 0
        self._jpegs = [array.array("B", jpeg) for jpeg in jpegs]
        self._arm = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._cameras = [self.create_publisher(CompressedImage, topic, qos.IMAGE) for topic in CAMERA_TOPICS.values()]
        self.create_subscription(PolicyAction, "policy/action", self._on_action, qos.STATE)
        self.create_subscription(PolicyStatus, "policy/status", self._on_status, qos.STATE)
        self.create_timer(0.02, self._report)
        self.create_timer(1 / 30, self._show)

    def _on_action(self, action: PolicyAction) -> None:
        self.stream.actions.append(action)
        self._q = np.array(action.positions, np.float32)

    def _on_status(self, status: PolicyStatus) -> None:
        self.status = status
        if status.chunk_ready and self._mode == ArmStatus.MODE_HOLD:
            self._mode, self._since_ns = ArmStatus.MODE_POLICY, self.clock_ns.now_ns()

    def _report(self) -> None:
        self._seq += 1
        header = Header(stamp=to_stamp(self.clock_ns.now_ns()))
        since = to_stamp(self._since_ns)
        self._session.publish(SessionState(header=header, seq=self._seq, state="EXECUTING", task="reach"))
        self._arm.publish(ArmStatus(header=header, seq=self._seq, mode=self._mode, mode_since=since, q=self._q))

    def _show(self) -> None:
        header = Header(stamp=to_stamp(self.clock_ns.now_ns()))
        for camera, jpeg in zip(self._cameras, self._jpegs, strict=True):
            camera.publish(CompressedImage(header=header, format="jpeg", data=jpeg))


def measured_stream(strategy: str, inference_ms: float, jpegs: list[bytes], *, seconds: float) -> Stream:
    """Let the bridge stream for `seconds`."""
    claim = DomainClaim()
    environment = {"ROS_DOMAIN_ID": str(claim.domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    os.environ.update(environment)
    with simulated_server(inference_ms=inference_ms) as server, bridge(server.port, strategy) as process:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node, executor = Surroundings(jpegs), EventsExecutor()
        executor.add_node(node)
        try:
            spin(executor, lambda: bool(node.stream.actions), START_TIMEOUT_S)
            before_s = cpu_seconds(process.pid)
            end = time.monotonic() + seconds
            spin(executor, lambda: time.monotonic() > end, seconds + 1.0)
            node.stream.cpu_percent = 100 * (cpu_seconds(process.pid) - before_s) / seconds
        finally:
            executor.remove_node(node)
            node.destroy_node()
            rclpy.try_shutdown()
            claim.release()
    node.stream.largest_step_inside = server.largest_step
    return node.stream


def spin(executor: EventsExecutor, condition, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the bridge did not stream")
        executor.spin_once(timeout_sec=0.02)


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one read of a pseudo-file
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def bridge(port: int, strategy: str) -> Iterator[subprocess.Popen]:
    parameters = [f"port:={port}", f"strategy:={strategy}"]
    arguments = [part for parameter in parameters for part in ("-p", parameter)]
    command = [sys.executable, "-m", "h1_policy_bridge.policy_bridge_node", "--ros-args", *arguments]
    # With the priority that the session's graph gives it.
    environment = {**os.environ, PRIORITY_VARIABLE: REALTIME}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Server:
    """A server that runs, and when it has ended what it sent."""

    port: int
    largest_step: float = float("nan")


@contextlib.contextmanager
def simulated_server(*, inference_ms: float) -> Iterator[Server]:
    """The simulation's policy server on a free port."""
    command = [sys.executable, "-m", "h1_policy_bridge.training_server.main", "--trainer", "scripted", "--port", "0"]
    command += ["--inference-ms", str(inference_ms), "--jitter", "0.3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"listening on ws://127.0.0.1:(\d+)", process.stdout.readline())
    if found is None:
        process.kill()
        raise RuntimeError("the simulated policy server did not start")
    server = Server(int(found[1]))
    try:
        yield server
    finally:
        process.terminate()
        words, _ = process.communicate(timeout=20)
    if reported := re.search(r"largest step inside their chunks (\S+)", words):
        server.largest_step = float(reported[1])
