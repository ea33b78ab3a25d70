# SPDX-License-Identifier: Apache-2.0
"""A live recorder process, killed without a chance to do anything: what it had received is in the episode."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorder_stage import CLOCK, Endpoints, Session

from h1_recorder.episode.save import save_journal
from h1_recorder.episode.validate import problems
from h1_recorder.recorder.definitions import Decoder, stamp_ns
from h1_recorder.recorder.jobs import CHILD_OPTION, SaveProcess
from h1_recorder.recorder.journal_file import read_journal
from h1_recorder.recorder.recorder_node import RecorderNode
from h1_training_msgs.msg import ArmStatus
from h1_training_node.folder_lock import RECORDER_LOCK, FolderLock
from h1_training_testing import Graph, wait_until


class LiveSession(Session):
    """A session whose recorder is a process of its own."""

    def __init__(self, graph: Graph, save_dir: Path) -> None:
        self.graph, self.folder = graph, save_dir / "training_session_epoch3"
        self.endpoints = graph.add(Endpoints())
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "h1_recorder.recorder.recorder_node", "--ros-args"),
                *("-p", f"save_dir:={save_dir}", "-p", "min_free_start_gb:=0.0"),
            ],
            env={**os.environ, "H1_SESSION_CLOCK_OFFSET_NS": str(CLOCK.offset_ns)},
        )
        self.graph.spin_until(lambda: self.endpoints.status.seq > 0, "recorder/status")


@pytest.fixture
def live(graph: Graph, tmp_path: Path) -> Iterator[LiveSession]:
    session = LiveSession(graph, tmp_path)
    yield session
    session.process.kill()
    session.process.wait()


def test_killed_while_recording_nothing_is_lost_but_the_last_moment(live: LiveSession) -> None:
    live.until_heard()
    assert live.start().accepted
    live.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
    live.until_rows(30, 0)
    live.process.kill()
    live.process.wait()
    journal = live.folder / ".episode_0.mcap"
    recorded = read_journal(journal).streams["arm_status"]
    decoder = Decoder(recorded.schema, recorded.type)
    arms = [decoder.decode(raw) for raw in recorded.data]
    assert [arm.seq for arm in arms] == list(range(arms[0].seq, arms[-1].seq + 1)), "none is missing"
    policy_ns = [stamp_ns(arm) for arm in arms if arm.mode == ArmStatus.MODE_POLICY]
    assert policy_ns[-1] - policy_ns[0] >= 29 * 20_000_000, "what the recorder had reported is there"
    assert problems(Path(save_journal(journal).path)) == []
    FolderLock(live.folder, RECORDER_LOCK, leased=False).release()


def test_killed_while_saving_the_saver_dies_too_and_the_next_start_saves(live: LiveSession, graph: Graph) -> None:
    live.record()
    assert _savers(live.process.pid), "one was made ready at the start"
    live.process.kill()
    live.process.wait()
    wait_until(lambda: not _savers(live.process.pid), "the saver is gone")
    journal, episode = live.folder / ".episode_0.mcap", live.folder / "episode_0.hdf5"
    assert journal.exists()

    class Configured(RecorderNode):
        def parameters(self, cls: type[Any]) -> Any:
            return cls(save_dir=str(live.folder.parent))

    graph.add(Configured())
    graph.spin_until(lambda: episode.exists() and not journal.exists(), "the next recorder saves it")
    assert problems(episode) == []


def test_asked_to_end_by_a_signal_it_saves_and_leaves_nothing_running(live: LiveSession) -> None:
    live.until_heard()
    assert live.start().accepted
    live.endpoints.enter("EXECUTING", ArmStatus.MODE_POLICY)
    live.until_rows(10, 0)
    live.process.send_signal(signal.SIGINT)
    live.graph.spin_until(lambda: live.process.poll() is not None, "the recorder ends")
    assert live.process.returncode == 0
    assert problems(live.folder / "episode_0.hdf5") == []
    assert _savers(live.process.pid) == []


def test_a_saver_is_as_nice_as_a_sessions_other_nodes_and_no_nicer() -> None:
    saver = SaveProcess()
    expected = max(5, os.getpriority(os.PRIO_PROCESS, 0))
    try:
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, saver._process.pid) == expected, "it steps back")
    finally:
        saver.kill()


def _savers(recorder: int) -> list[int]:
    """Children of a recorder, dead or alive, that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{CHILD_OPTION}\0{recorder}\0" in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
