# SPDX-License-Identifier: Apache-2.0
"""The literal `ros2 topic pub` lines of the pages reach every subscriber each time, not only the first one found."""

import os
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from std_msgs.msg import String

from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph

pytestmark = pytest.mark.timeout(240)

CHECK = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs/check.py"))
LINES = sorted(
    line
    for page in CHECK["pages"]()
    for block in CHECK["blocks"](page)
    for line in block.commands
    if line.startswith("ros2 topic pub")
)
TIMES = 10


class Subscriber(BaseNode):
    """One of those that a key has to reach: session manager, recorder."""

    def __init__(self, name: str, topic: str) -> None:
        super().__init__(name)
        self.received: list[str] = []
        self.create_subscription(String, topic, lambda message: self.received.append(message.data), qos.STATE)


def test_every_line_says_how_many_subscribers_it_waits_for() -> None:
    assert all(shlex.split(line)[3:5] == ["--once", "-w"] for line in LINES)
    assert {(shlex.split(line)[-3], shlex.split(line)[5]) for line in LINES} == {
        ("/keyboard", "2"),  # recorder, session manager
        ("/emergency_stop", "4"),  # these, and the arm driver for either reliability
        ("/sim/cameras/fault", "1"),
    }


def test_the_key_line_reaches_both_of_two_subscribers_ten_times_out_of_ten(graph: Graph) -> None:
    """By `ros2` where it is installed, else by what does the same."""
    (line,) = (line for line in set(LINES) if line.endswith('/keyboard std_msgs/msg/String "{data: s}"'))
    command = shlex.split(line if shutil.which("ros2") else CHECK["without_ros2cli"](line))
    subscribers = [graph.add(Subscriber(name, "/keyboard")) for name in ("one", "other")]
    for number in range(1, TIMES + 1):
        with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL) as publishing:
            graph.spin_until(lambda publishing=publishing: publishing.poll() is not None, "the line ends", 40.0)
            assert publishing.poll() == 0
        assert [one.received for one in subscribers] == [["s"] * number] * 2
