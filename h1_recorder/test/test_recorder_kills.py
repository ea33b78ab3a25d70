# SPDX-License-Identifier: Apache-2.0
"""Thirty recorders of one simulation, each killed at a moment of chance: what that costs each time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rclpy.client import Client
from recorder_stage import CLOCK, Endpoints

from h1_recorder.episode.save import save_journal
from h1_recorder.episode.validate import problems
from h1_recorder.recorder.journal_file import JournalFile, read_journal
from h1_recorder.recorder.peek import Peek
from h1_training_msgs.msg import ArmStatus, RecorderStatus
from h1_training_msgs.srv import StartEpisode
from h1_training_node import qos
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_testing import Graph

ROUNDS, AT_ONCE = 3, 10
WATCHED = ("arm_status", *CAMERA_TOPICS)


@dataclass
class Victim:
    """A recorder process, what it reported last, and how many rows it is left to record.

    `acknowledged` is what it reported one status earlier than its last: when it reported the last one, its writer was
    at its queue many times since. A test that went by the clock would be one of the machine's.
    """

    name: str
    folder: Path
    pid: int
    start: Client
    rows: int
    status: RecorderStatus = field(default_factory=RecorderStatus)
    acknowledged: RecorderStatus = field(default_factory=RecorderStatus)

    def reported(self, status: RecorderStatus) -> None:
        self.acknowledged, self.status = self.status, status

    @property
    def hears_all(self) -> bool:
        ages = dict(zip(self.status.streams, self.status.ages, strict=True))
        return all(0 <= ages.get(name, -1) < 0.5 for name in WATCHED)

    def received_ns(self) -> dict[str, int]:
        """Of each stream, when the newest message that is acknowledged came, by the recorder's own clock."""
        stamp = stamp_ns_of(self.acknowledged)
        ages = zip(self.acknowledged.streams, self.acknowledged.ages, strict=True)
        return {name: stamp - round(age * 1e9) for name, age in ages if name in WATCHED}


def stamp_ns_of(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


@pytest.fixture
def farm() -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "H1_SESSION_CLOCK_OFFSET_NS": str(CLOCK.offset_ns)}
    command = [sys.executable, str(Path(__file__).with_name("recorder_farm.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H1_SESSION_CLOCK_OFFSET_NS", str(CLOCK.offset_ns))


class Simulation:
    """Arms in POLICY and three cameras, and the recorders that hear them."""

    def __init__(self, graph: Graph, farm: subprocess.Popen[str], folder: Path) -> None:
        self.graph, self._farm, self._folder = graph, farm, folder
        self.endpoints = graph.add(Endpoints())
        self.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)

    def recorder(self, name: str, rows: int) -> Victim:
        assert self._farm.stdin is not None and self._farm.stdout is not None
        print(name, self._folder / name, file=self._farm.stdin, flush=True)
        pid = int(self._farm.stdout.readline())
        victim = Victim(
            name, self._folder / name / "epoch", pid, self.endpoints.create_client(StartEpisode, f"{name}/start"), rows
        )
        self.endpoints.create_subscription(RecorderStatus, f"{name}/status", victim.reported, qos.STATE)
        return victim

    def start(self, victims: list[Victim]) -> None:
        self.graph.spin_until(lambda: all(v.hears_all and v.start.service_is_ready() for v in victims), "all", 120.0)
        answers = [v.start.call_async(StartEpisode.Request(directory=str(v.folder), epoch=3)) for v in victims]
        self.graph.spin_until(lambda: all(answer.done() for answer in answers), "all have begun", 120.0)
        for answer in answers:
            assert answer.result().accepted, answer.result().reason


def test_thirty_kills_cost_nothing_but_the_last_moment(
    graph: Graph, farm: subprocess.Popen[str], tmp_path: Path, one_clock: None
) -> None:
    chosen = random.Random(30)
    simulation = Simulation(graph, farm, tmp_path)
    for number in range(ROUNDS):
        victims = [simulation.recorder(f"victim_{number}_{k}", chosen.randrange(5, 30)) for k in range(AT_ONCE)]
        simulation.start(victims)
        alive = list(victims)

        def kill_those_whose_time_has_come(alive: list[Victim] = alive) -> bool:
            due = [victim for victim in alive if victim.acknowledged.policy_frames >= victim.rows]
            for victim in [victim for victim in due if chosen.random() < 0.05]:
                os.kill(victim.pid, signal.SIGKILL)
                alive.remove(victim)
            return not alive

        graph.spin_until(kill_those_whose_time_has_come, "all are dead", 120.0)
        for victim in victims:
            assert_nothing_is_missing(victim, simulation.endpoints.sent)


def assert_nothing_is_missing(victim: Victim, sent: dict[str, list[int]]) -> None:
    path = victim.folder / ".episode_0.mcap"
    journal = read_journal(path)
    for name, received_ns in victim.received_ns().items():
        assert journal.streams[name].log_ns[-1] >= received_ns - 100_000, f"{name}: what it reported is in the file"
        stamps = stamps_of(journal, name)
        first = sent[name].index(stamps[0])
        assert stamps == sent[name][first : first + len(stamps)], f"{name}: none is missing in between"
    saved = save_journal(path)
    assert saved.policy_frames > 0, "how many is for the publisher to say, which may have been held up"
    assert problems(Path(saved.path), decode_images=False) == []


def stamps_of(journal: JournalFile, name: str) -> list[int]:
    recorded = journal.streams[name]
    peek = Peek(recorded.name, recorded.schema, recorded.type)
    return [peek.read(bytes(raw)).stamp_ns for raw in recorded.data]
