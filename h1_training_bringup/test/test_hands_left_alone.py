# SPDX-License-Identifier: Apache-2.0
"""A hand whose driver was killed: real processes, the real wire, and fingers that close on an object meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from h1_inspire_driver.hand_link import HandLink, HandLostError
from h1_inspire_driver.parameters import DriverParameters
from h1_inspire_driver.registers import ANGLE_ACT, ANGLE_SET, ANGLE_UNITS, FORCE_ACT, FORCE_SET, SPEED_SET, signed
from h1_training_bringup.sim.hand_registers import FULL_TRAVEL_S
from h1_training_msgs.msg import HandCommand, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_testing import Graph, wait_until

CONTACT = 500
DRIVER = "import sys; from h1_inspire_driver.inspire_driver_node import main; sys.exit(main())"
SAFE = DriverParameters()


class Peer(BaseNode):
    """A session in EXECUTING whose policy closes the hand."""

    def __init__(self) -> None:
        super().__init__("peer")
        self._seq = 0
        self._session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._commands = self.create_publisher(HandCommand, "hands/left/command", qos.STATE)
        self.every(0.02, self._tick)

    def _tick(self) -> None:
        self._seq += 1
        self._session.publish(SessionState(header=self.header(), seq=self._seq, state="EXECUTING"))
        self._commands.publish(HandCommand(header=self.header(), angle=[0.0] * 6))


@pytest.fixture
def port() -> Iterator[int]:
    """Of a simulated hand that holds an object between four fingers, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        left, right = one.getsockname()[1], other.getsockname()[1]
    program = [sys.executable, "-m", "h1_training_bringup.sim.hands", "--object", str(CONTACT)]
    process = subprocess.Popen([*program, f"--left-port={left}", f"--right-port={right}"], stderr=subprocess.DEVNULL)
    yield left
    process.kill()
    process.wait()


def wire_to(port: int) -> HandLink:
    link = HandLink("127.0.0.1", port, unit_id=1, timeout_s=5.0)
    wait_until(lambda: _connects(link), "the hand answers")
    return link


def _connects(link: HandLink) -> bool:
    try:
        link.connect()
    except HandLostError:
        return False
    return True


@pytest.mark.parametrize("killed_at", [950, CONTACT], ids=["on_the_way", "while_it_squeezes"])
def test_after_kill_9_of_the_driver_the_hand_goes_on_no_faster_and_squeezes_no_harder_than_was_set(
    graph: Graph, port: int, killed_at: int
) -> None:
    link = wire_to(port)
    link.write(FORCE_SET, (1000,) * 6)  # as somebody before may have left it
    link.write(SPEED_SET, (1000,) * 6)
    graph.add(Peer())
    arguments = ["left_host:=127.0.0.1", f"left_port:={port}", "right_host:=''"]
    command = [part for argument in arguments for part in ("-p", argument)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, "--ros-args", *command], env=os.environ)
    try:
        graph.spin_until(lambda: link.read(ANGLE_ACT)[0] <= killed_at, "the fingers close", 30.0)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert driver.returncode == -signal.SIGKILL
    assert link.read(ANGLE_SET) == [0] * 6, "the hand still has its last target, and nobody takes that back"
    assert link.read(FORCE_SET) == [SAFE.force_g] * 6 and link.read(SPEED_SET) == [SAFE.speed_raw] * 6
    pressed, thumb = [], []
    end = time.monotonic() + 2.5 * FULL_TRAVEL_S * ANGLE_UNITS / SAFE.speed_raw
    while time.monotonic() < end:
        pressed.append(max(signed(link.read(FORCE_ACT))))
        thumb.append((time.monotonic(), link.read(ANGLE_ACT)[4]))
    assert max(pressed) == pressed[-1] == SAFE.force_g, "it presses until the limit, and stays there"
    (began, first), (_, last) = thumb[0], thumb[-1]
    assert last == 0, "what meets nothing closes"
    arrived = next(at for at, angle in thumb if angle == 0) - began
    least = first / ANGLE_UNITS * FULL_TRAVEL_S * ANGLE_UNITS / SAFE.speed_raw
    assert arrived >= 0.8 * least, "no faster than was set"
    assert link.read(FORCE_SET) == [SAFE.force_g] * 6
    link.close()
