# SPDX-License-Identifier: Apache-2.0
"""Every way in which a node may be asked to end, against real processes."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from h1_training_node.process import ENDING_VARIABLE, announce_ending
from h1_training_testing import wait_until

NODE = """
    import sys
    from h1_training_node.node_main import run_node
    from h1_training_node.base_node import BaseNode

    class Probe(BaseNode):
        def __init__(self):
            super().__init__("probe")
            self.every(0.02, lambda: None)
            print("up", flush=True)

        def request_stop(self, why):
            print(f"stopping {why}", flush=True)
            self.end(7)

    sys.exit(run_node(Probe, late=LATE))
"""


def start(tmp_path: Path, *, late: bool = False, parent: list[str] | None = None) -> subprocess.Popen[str]:
    script = tmp_path / "probe.py"
    script.write_text(textwrap.dedent(NODE).replace("LATE", str(late)))
    popen = subprocess.Popen(
        [*(parent or []), sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert popen.stdout is not None
    assert popen.stdout.readline() == "up\n"
    return popen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_the_node_to_stop_and_its_status_is_returned(tmp_path: Path, number: signal.Signals) -> None:
    popen = start(tmp_path)
    popen.send_signal(number)
    output, _ = popen.communicate(timeout=10)
    words = {signal.SIGINT: "Ctrl+C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of the terminal (SIGHUP)"}
    assert output == f"stopping interrupted by {words[number]}\n"
    assert popen.returncode == 7


def test_what_was_announced_as_the_cause_goes_before_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDING_VARIABLE, str(tmp_path / "ending"))
    popen = start(tmp_path)
    announce_ending(tmp_path / "ending", "recorder lost: killed by SIGKILL")
    popen.send_signal(signal.SIGINT)
    output, _ = popen.communicate(timeout=10)
    assert output == "stopping recorder lost: killed by SIGKILL\n"


def test_a_process_that_ends_last_ignores_ctrl_c_and_ends_on_sigterm(tmp_path: Path) -> None:
    popen = start(tmp_path, late=True)
    popen.send_signal(signal.SIGINT)
    popen.send_signal(signal.SIGTERM)
    output, _ = popen.communicate(timeout=10)
    assert output == "stopping interrupted by SIGTERM\n"


def test_a_node_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    spawn = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    popen = start(tmp_path, parent=[sys.executable, "-c", spawn])
    (child,) = (
        process for process in psutil.Process(popen.pid).children() if "probe.py" in " ".join(process.cmdline())
    )
    popen.kill()
    popen.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the orphan ends")
    assert popen.stdout is not None
    assert popen.stdout.read() == "stopping interrupted by SIGTERM\n"


def test_a_node_whose_parent_is_gone_before_it_starts_does_not_start(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(textwrap.dedent(NODE).replace("LATE", "False"))
    environment = os.environ | {"H1_SESSION_PARENT_PID": "1"}
    result = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
