# SPDX-License-Identifier: Apache-2.0
"""Ending `learn` early: a line that says so, a status, and nothing of what it started is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from session_runs import StartedSession

from h1_training_bringup.sim import learn_graph
from h1_training_bringup.sim.learn import Plan
from h1_training_testing import wait_until

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def learn(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartedSession]:
    """`learn` with these options, in a process session of its own."""
    command = [sys.executable, "-m", "h1_training_bringup.sim.learn", "--out", str(tmp_path), *request.param]
    started = StartedSession(tmp_path, command)
    yield started
    started.close()


def listening(run: StartedSession) -> set[int]:
    """TCP ports on which its processes listen."""
    pids = {process.pid for process in run.processes()}
    return {
        one.laddr.port
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.pid in pids and one.laddr
    }


@pytest.mark.parametrize("learn", [("--fast",)], indirect=True)
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "Ctrl+C"), (signal.SIGTERM, "SIGTERM")])
def test_the_fast_lane_ends_at_once_and_says_why(learn: StartedSession, number: signal.Signals, said: str) -> None:
    learn.wait_for("seed 1")
    learn.popen.send_signal(number)
    assert learn.wait_for_exit(30.0) == 128 + number, learn.evidence()
    assert f"interrupted by {said}; all that was started has ended" in learn.output
    assert "Traceback" not in learn.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("train: [", "is not YAML"),
        ("- a", "expected a mapping"),
        ("serves: 1", "unknown parameter 'serves'"),
    ],
)
def test_settings_of_a_trainer_that_cannot_be_used_cost_no_earlier_run(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    settings, earlier = tmp_path / "trainer.yaml", tmp_path / "seed1" / "uploaded" / "episode_0.hdf5"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    if text is not None:
        settings.write_text(text)
    with pytest.raises(learn_graph.LearnError, match=f"trainer.yaml.*{expected}"):
        learn_graph.over_the_graph(Plan(), tmp_path, settings)
    assert earlier.exists()


def test_a_session_that_does_not_end_is_named_and_no_verdict_on_the_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn_graph, "_ENDING_LIMIT_S", 0.1)
    with subprocess.Popen(["sleep", "60"]) as session:
        with pytest.raises(learn_graph.LearnError, match=r"the session did not end.*session\.txt"):
            learn_graph.await_end(session, tmp_path)
        session.kill()


@pytest.mark.graph
@pytest.mark.parametrize("learn", [("--evaluated", "1")], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_learn_ends_session_and_training_server_too(learn: StartedSession, number: signal.Signals) -> None:
    wait_until(lambda: learn.runs("arm_driver") and learn.runs("sim_operator"), "a session that runs", 60.0)
    ports = listening(learn)
    assert ports, "training server, cameras and hands listen"
    learn.popen.send_signal(number)
    if number == signal.SIGINT:  # a second one, from somebody without patience
        learn.popen.send_signal(number)
    status = learn.wait_for_exit(60.0)
    wait_until(lambda: not learn.processes(), "the end of all that it started", 45.0)
    left = {one.laddr.port for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.laddr}
    assert not ports & left
    assert status == (-number if number == signal.SIGKILL else 128 + number), learn.evidence()
    assert number == signal.SIGKILL or "all that was started has ended" in learn.output
