"""However a session is ended: arms compliant first, data kept, no process left, a status that says what happened."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from session_runs import SessionRun

from h1_training_msgs.msg import ArmStatus, SessionState
from h1_training_node import qos
from h1_training_node.session_node import SessionNode
from h1_training_node.testing import Graph, wait_until

pytestmark = [pytest.mark.graph, pytest.mark.timeout(180)]

END_S = 20.0
"""The session's own processes have 15 s; its peers end after them."""


class Onlooker(SessionNode):
    """Looks on from another process: the arms' modes, in order, and the session's state."""

    def __init__(self) -> None:
        super().__init__("onlooker")
        self.modes: list[int] = []
        self.state = ""
        self.create_subscription(ArmStatus, "arm_status", self._on_arms, qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_state, qos.LATCHED)

    def _on_arms(self, status: ArmStatus) -> None:
        if not self.modes or self.modes[-1] != status.mode:
            self.modes.append(status.mode)

    def _on_state(self, state: SessionState) -> None:
        self.state = state.state


class Watched:
    """A running session and an onlooker in its graph."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.run = SessionRun(folder, *arguments)
        self._graph = Graph(self.run.domain_id)
        self.onlooker = self._graph.add(Onlooker())

    def spin_until_mode(self, mode: int) -> None:
        self._graph.spin_until(
            lambda: self.onlooker.modes[-1:] == [mode] or self.run.popen.poll() is not None,
            f"arms in mode {mode}",
            60.0,
        )
        assert self.onlooker.modes[-1:] == [mode], self.run.evidence()

    def spin_until_ended(self) -> int:
        self._graph.spin_until(lambda: self.run.popen.poll() is not None, "the runner has ended", END_S)
        return self.run.popen.wait()

    def close(self) -> None:
        self._graph.close()
        self.run.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path, "--epochs", "1", "--episodes", "1")
    yield watched
    watched.close()


def assert_data_is_kept(run: SessionRun) -> None:
    """The running episode is a file, or its journal is there and named on the terminal."""
    journals = list(run.save_dir.glob("*/.episode_*.mcap"))
    assert run.episodes() or journals, run.evidence()
    for path in run.episodes() or journals:
        assert path.name in run.output, run.evidence()


def assert_arms_went_compliant_and_were_given_back(modes: list[int]) -> None:
    after = modes[modes.index(ArmStatus.MODE_POLICY) + 1 :]
    assert after[0] == ArmStatus.MODE_DAMPING
    assert after[-1] == ArmStatus.MODE_RELEASED
    assert set(after) == {ArmStatus.MODE_DAMPING, ArmStatus.MODE_RELEASED}


def test_ctrl_c_while_the_policy_runs(watched: Watched) -> None:
    watched.spin_until_mode(ArmStatus.MODE_POLICY)
    watched.run.wait_for("[EXECUTING]")
    watched.run.press_ctrl_c()
    assert watched.spin_until_ended() == 130, watched.run.evidence()
    assert_arms_went_compliant_and_were_given_back(watched.onlooker.modes)
    assert_data_is_kept(watched.run)
    assert watched.run.processes() == []


def test_sigterm_to_the_runner_alone_while_a_person_guides_the_arms(watched: Watched) -> None:
    watched.spin_until_mode(ArmStatus.MODE_POLICY)
    watched.spin_until_mode(ArmStatus.MODE_DAMPING)
    watched.run.popen.send_signal(signal.SIGTERM)
    assert watched.spin_until_ended() == 130, watched.run.evidence()
    assert_arms_went_compliant_and_were_given_back(watched.onlooker.modes)
    assert_data_is_kept(watched.run)
    assert watched.run.processes() == []


def test_kill_9_of_the_runner_leaves_no_process_and_loses_no_data(watched: Watched) -> None:
    watched.spin_until_mode(ArmStatus.MODE_POLICY)
    watched.run.popen.kill()
    watched.run.popen.wait()
    watched.spin_until_mode(ArmStatus.MODE_DAMPING)
    wait_until(lambda: watched.run.processes() == [], "every process has ended", END_S)
    assert watched.run.episodes() or list(watched.run.save_dir.glob("*/.episode_*.mcap")), watched.run.evidence()


def test_a_second_ctrl_c_shortens_nothing(watched: Watched) -> None:
    watched.spin_until_mode(ArmStatus.MODE_POLICY)
    watched.run.press_ctrl_c()
    watched.spin_until_mode(ArmStatus.MODE_DAMPING)
    watched.run.press_ctrl_c()
    assert watched.spin_until_ended() == 130, watched.run.evidence()
    assert_arms_went_compliant_and_were_given_back(watched.onlooker.modes)


@pytest.mark.parametrize("executable", ["arm_driver", "policy_bridge", "recorder", "session_manager"])
def test_a_session_that_loses_a_node_it_cannot_live_without_ends_with_status_1(
    watched: Watched, executable: str
) -> None:
    watched.spin_until_mode(ArmStatus.MODE_POLICY)
    watched.run.process(executable).kill()
    assert watched.spin_until_ended() == 1, watched.run.evidence()
    assert f"! {executable} was lost (killed by SIGKILL); ending the session" in watched.run.output
    assert watched.run.processes() == []
    assert watched.run.episodes() or list(watched.run.save_dir.glob("*/.episode_*.mcap")), watched.run.evidence()


def test_a_camera_node_that_dies_is_started_again_and_the_session_goes_on(watched: Watched) -> None:
    watched.spin_until_mode(ArmStatus.MODE_HOLD)
    watched.run.process("head_camera").kill()
    watched.run.wait_for("! head_camera ended (killed by SIGKILL); started again")
    assert watched.run.wait_for_exit(90) == 0, watched.run.evidence()
    assert len(watched.run.episodes()) == 1
