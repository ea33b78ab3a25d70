# SPDX-License-Identifier: Apache-2.0
"""However a session is ended: arms compliant first, data kept, no process left, a status that says what happened."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from session_runs import RUNNER, SessionRun

from h1_training_msgs.msg import ArmStatus, RecorderStatus
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph, wait_until

pytestmark = [pytest.mark.graph, pytest.mark.timeout(180)]

END_S = 20.0
"""The session's own processes have 15 s; its peers end after them."""


class Onlooker(BaseNode):
    """Observes from another process: the arms' modes, in order, and the rows recorded so far."""

    def __init__(self) -> None:
        super().__init__("onlooker")
        self.modes: list[int] = []
        self.policy_rows = self.human_rows = 0
        self.create_subscription(ArmStatus, "arm_status", self._on_arms, qos.STATE)
        self.create_subscription(RecorderStatus, "recorder/status", self._on_recorder, qos.STATE)

    def _on_arms(self, status: ArmStatus) -> None:
        if not self.modes or self.modes[-1] != status.mode:
            self.modes.append(status.mode)

    def _on_recorder(self, status: RecorderStatus) -> None:
        self.policy_rows, self.human_rows = status.policy_frames, status.human_frames


class Watched:
    """A running session and an onlooker in its graph."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.run = SessionRun(folder, *arguments)
        self._graph = Graph(self.run.domain_id)
        self.onlooker = self._graph.add(Onlooker())

    def spin_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Observe until `condition()`; fails, with all that the session said, if it ends or takes too long instead."""
        try:
            self._graph.spin_until(lambda: condition() or self.run.popen.poll() is not None, what, timeout_s)
        except pytest.fail.Exception as error:
            raise AssertionError(f"{error}\n{self.run.evidence()}") from None
        assert condition(), f"ended before: {what}\n{self.run.evidence()}"

    def spin_on_until(self, condition: Callable[[], bool], what: str) -> None:
        """The same after the runner was killed."""
        self._graph.spin_until(condition, what, END_S)

    def spin_until_policy_is_recorded(self) -> None:
        self.spin_until(lambda: self.onlooker.policy_rows > 25, "half a second of policy rows")

    def spin_until_person_is_recorded(self) -> None:
        self.spin_until(lambda: self.onlooker.human_rows > 25, "half a second of human rows")

    def spin_until_ended(self) -> int:
        self.spin_until(lambda: self.run.popen.poll() is not None, "the runner has ended", END_S)
        return self.run.popen.wait()

    def close(self) -> None:
        self._graph.close()
        self.run.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path, "--epochs", "1", "--episodes", "1")
    yield watched
    watched.close()


def kept(run: SessionRun) -> list[Path]:
    """The episode as a file, else as its journal."""
    found = run.episodes() or list(run.save_dir.glob("*/.episode_*.mcap"))
    assert found, run.evidence()
    return found


def assert_arms_went_compliant_and_were_released(watched: Watched) -> None:
    modes = watched.onlooker.modes
    after = modes[len(modes) - modes[::-1].index(ArmStatus.MODE_POLICY) :]
    assert after == [ArmStatus.MODE_DAMPING, ArmStatus.MODE_RELEASED], watched.run.evidence()


def test_ctrl_c_while_the_policy_runs_and_a_second_one_shortens_nothing(watched: Watched) -> None:
    watched.spin_until_policy_is_recorded()
    watched.run.press_ctrl_c()
    watched.spin_until(lambda: watched.onlooker.modes[-1] == ArmStatus.MODE_DAMPING, "the arms are compliant", END_S)
    watched.run.press_ctrl_c()
    assert watched.spin_until_ended() == 130, watched.run.evidence()
    assert_arms_went_compliant_and_were_released(watched)
    assert all(path.name in watched.run.output for path in kept(watched.run)), watched.run.evidence()
    assert watched.run.processes() == []


def test_a_camera_node_that_dies_is_started_again_and_sigterm_to_the_runner_ends_well(watched: Watched) -> None:
    watched.spin_until(lambda: ArmStatus.MODE_HOLD in watched.onlooker.modes, "the arms are taken")
    watched.run.process("head_camera").kill()
    watched.run.wait_for("! head_camera ended (killed by SIGKILL); started again")
    watched.spin_until_person_is_recorded()
    watched.run.popen.send_signal(signal.SIGTERM)
    assert watched.spin_until_ended() == 130, watched.run.evidence()
    assert_arms_went_compliant_and_were_released(watched)
    assert all(path.name in watched.run.output for path in kept(watched.run)), watched.run.evidence()
    assert watched.run.processes() == []


def test_a_connection_that_drops_takes_the_terminal_but_neither_status_nor_lines(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    save_dir = tmp_path / "episodes"
    runner = subprocess.Popen(
        [RUNNER, "--sim", "--operator", "none", "--log-dir", tmp_path / "log", "--save-dir", save_dir],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    try:
        os.close(theirs)
        shown = b""
        while b"[WAITING]" not in shown:
            shown += os.read(ours, 4096)
        os.close(ours)
        assert runner.wait(END_S) == 130
        (lines,) = tmp_path.glob("log/*/operator.log")
        assert "the end of the terminal (SIGHUP)" in lines.read_text()
        assert "No episode was finished in this session." in lines.read_text()
    finally:
        runner.kill()
        runner.wait()


def test_kill_9_of_the_runner_leaves_no_process_and_loses_no_data(watched: Watched) -> None:
    watched.spin_until_policy_is_recorded()
    watched.run.popen.kill()
    watched.spin_on_until(lambda: watched.onlooker.modes[-1] == ArmStatus.MODE_RELEASED, "the arms are released")
    wait_until(lambda: watched.run.processes() == [], "every process has ended", END_S)
    assert_arms_went_compliant_and_were_released(watched)
    kept(watched.run)


@pytest.mark.parametrize("executable", ["arm_driver", "recorder", "session_manager"])
def test_a_session_that_loses_a_node_it_cannot_live_without_ends_with_status_1(
    watched: Watched, executable: str
) -> None:
    watched.spin_until_policy_is_recorded()
    watched.run.process(executable).kill()
    assert watched.spin_until_ended() == 1, watched.run.evidence()
    assert f"! {executable} was lost (killed by SIGKILL); ending the session" in watched.run.output
    assert watched.run.processes() == []
    for path in kept(watched.run):
        assert path.suffix == ".mcap" or f"Saved: {path}" in watched.run.output, watched.run.evidence()
