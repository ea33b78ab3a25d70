# SPDX-License-Identifier: Apache-2.0
"""Processes that are not ours, such as the wrist cameras': they, too, end when whoever started them is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from h1_training_bringup.session import graph
from h1_training_bringup.session.configuration import load
from h1_training_bringup.session.process import Process, SessionOptions
from h1_training_testing import wait_until

STARTS_AND_WAITS = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
child.wait()
"""


def test_a_foreign_process_does_not_survive_the_death_of_its_parent() -> None:
    foreign = Process("any", "sleep", "sleep", foreign=True, priority="7")
    command = [sys.executable, "-c", STARTS_AND_WAITS, *graph.wrapper(foreign), "sleep", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        try:
            wait_until(lambda: child.name() == "sleep", "the program itself runs")
            assert child.nice() == min(19, os.nice(0) + 7)
            parent.kill()
            wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it has ended")
        finally:
            parent.kill()
            if child.is_running():
                child.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("name", ["arm_driver", "recorder", "keyboard"])
def test_our_own_are_started_as_they_are(name: str) -> None:
    session = SessionOptions(False, "keyboard", Path("/data"))
    processes = {process.name: process for process in graph.processes(load(), session)}
    assert graph.wrapper(processes[name]) == ()
    assert graph.wrapper(processes["left_wrist_camera"])[:3] == ("nice", "-n", "5")
