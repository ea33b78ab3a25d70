# SPDX-License-Identifier: Apache-2.0
"""The node over its real wires: ROS on one side, Modbus TCP on the other."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import TypeVar

import pytest
from quirky_hand import ANGLE_ACT, ANGLE_SET, CLEAR_ERROR, QuirkyHand
from std_srvs.srv import Trigger

from h1_inspire_driver.inspire_driver_node import InspireDriverNode
from h1_training_msgs.msg import Event, HandCommand, HandState, SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.parameter import from_values
from h1_training_node.stamps import to_ns
from h1_training_testing import Graph, wait_until

T = TypeVar("T")

OPEN_HAND = (1000, 900, 800, 700, 600, 500)


class Peer(BaseNode):
    """The rest of the graph, as far as the hands see it."""

    def __init__(self) -> None:
        super().__init__("peer")
        self.states: dict[str, list[HandState]] = {"left": [], "right": []}
        self.events: list[Event] = []
        self.session_state = ""
        self._seq = 0
        for side in self.states:
            self.create_subscription(HandState, f"hands/{side}/state", self.states[side].append, qos.STATE)
        self.create_subscription(Event, "session/event", self.events.append, qos.STATE)
        self._session = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._commands = {
            side: self.create_publisher(HandCommand, f"hands/{side}/command", qos.STATE) for side in self.states
        }
        self.clear = {side: self.create_client(Trigger, f"hands/{side}/clear_error") for side in self.states}
        self.opening: float | None = None
        self.every(0.02, self._tick)

    def _tick(self) -> None:
        if self.session_state:
            self._seq += 1
            self._session.publish(SessionState(header=self.header(), seq=self._seq, state=self.session_state))
        if self.opening is not None:
            for publisher in self._commands.values():
                publisher.publish(HandCommand(header=self.header(), angle=[self.opening] * 6))

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]


@pytest.fixture
def hands() -> Iterator[dict[str, QuirkyHand]]:
    hands = {"left": QuirkyHand(), "right": QuirkyHand()}
    yield hands
    for hand in hands.values():
        hand.close()


def a_driver(graph: Graph, left_port: int, right_port: int) -> InspireDriverNode:
    gc.collect()  # the test before may still hold publishers, which would be foreign commanders here
    values = {"left_host": "127.0.0.1", "right_host": "127.0.0.1", "left_port": left_port, "right_port": right_port}

    class Driver(InspireDriverNode):
        """With parameters of its own, since those of the command line belong to the whole process."""

        def parameters(self, cls: type[T]) -> T:
            return from_values(cls, values | {"reconnect_pause_max_s": 0.35})

    return graph.add(Driver())


def test_both_hands_are_published_from_one_clock_with_seq(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    graph.spin_until(lambda: all(len(states) > 5 for states in peer.states.values()), "states of both hands")
    for states in peer.states.values():
        assert [b.seq - a.seq for a, b in itertools.pairwise(states)] == [1] * (len(states) - 1)
        assert 0 <= peer.now_ns() - to_ns(states[-1].header.stamp) < 5_000_000_000
        assert states[-1].angle[0] == 1.0
        assert states[-1].gated
        assert states[-1].reason == "no session/state yet"


def test_commands_reach_the_fingers_in_executing_and_a_stop_makes_them_stay(
    graph: Graph, hands: dict[str, QuirkyHand]
) -> None:
    peer = graph.add(Peer())
    driver = a_driver(graph, hands["left"].port, hands["right"].port)
    peer.session_state, peer.opening = "EXECUTING", 0.25
    graph.spin_until(
        lambda: all((250,) * 6 in hand.written(ANGLE_SET) for hand in hands.values()), "both hands are commanded"
    )
    graph.spin_until(lambda: not peer.states["left"][-1].gated, "the state says that commands are followed")
    driver.request_stop("SIGINT")
    graph.spin_until(lambda: driver.exit_status == 0, "the node has ended")
    assert [hand.written(ANGLE_SET)[-1] for hand in hands.values()] == [OPEN_HAND] * 2


def test_leaving_executing_makes_the_fingers_stay(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    peer.session_state, peer.opening = "EXECUTING", 0.25
    graph.spin_until(lambda: (250,) * 6 in hands["left"].written(ANGLE_SET), "the hand is commanded")
    hands["left"].registers[ANGLE_ACT] = [333] * 6
    peer.session_state = "DAMPING"
    graph.spin_until(lambda: hands["left"].written(ANGLE_SET)[-1] == (333,) * 6, "the hold")
    graph.spin_until(lambda: peer.states["left"][-1].reason == "session is DAMPING", "the state says why")


def test_a_command_in_raw_units_is_refused_with_an_event(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    peer.session_state, peer.opening = "EXECUTING", 950.0
    graph.spin_until(lambda: "hand_command_refused" in peer.reasons(), "the event")
    assert (1000,) * 6 not in hands["left"].written(ANGLE_SET)


def test_errors_are_cleared_by_service_of_the_hand_that_was_meant(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    graph.spin_until(lambda: peer.states["right"] and peer.clear["right"].service_is_ready(), "the right hand")
    answers: list[Trigger.Response] = []
    peer.clear["right"].call_async(Trigger.Request()).add_done_callback(lambda future: answers.append(future.result()))
    graph.spin_until(lambda: "hand_errors_cleared" in peer.reasons(), "the event")
    assert answers[0].success
    assert hands["right"].written(CLEAR_ERROR) == [(1,)]
    assert hands["left"].written(CLEAR_ERROR) == []


def test_a_dead_hand_delays_nobody_and_its_service_says_why(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead_port = free.getsockname()[1]
    peer = graph.add(Peer())
    a_driver(graph, dead_port, hands["right"].port)
    graph.spin_until(lambda: "hand_lost" in peer.reasons() and peer.clear["left"].service_is_ready(), "the left hand")
    graph.spin_until(lambda: len(peer.states["right"]) > 20, "the right hand goes on")
    answers: list[Trigger.Response] = []
    peer.clear["left"].call_async(Trigger.Request()).add_done_callback(lambda future: answers.append(future.result()))
    graph.spin_until(lambda: answers, "the answer")
    assert not answers[0].success
    assert "cannot be reached" in answers[0].message
    assert peer.states["left"] == []


def test_a_mute_hand_goes_stale_and_the_other_one_does_not(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    graph.spin_until(lambda: all(peer.states.values()), "both hands")
    hands["left"].quirks.is_mute = True
    graph.spin_until(lambda: "hand_lost" in peer.reasons(), "the loss is reported")
    left, right = (len(peer.states[side]) for side in ("left", "right"))
    graph.spin_until(lambda: len(peer.states["right"]) > right + 20, "the right hand goes on")
    assert len(peer.states["left"]) == left
    hands["left"].quirks.is_mute = False
    graph.spin_until(lambda: len(peer.states["left"]) > left, "the left hand is back")


def test_sigterm_makes_the_fingers_stay_and_ends_the_process_with_0(graph: Graph, hands: dict[str, QuirkyHand]) -> None:
    peer = graph.add(Peer())
    peer.session_state, peer.opening = "EXECUTING", 0.25
    parameters = [f"{side}_{what}:={value}" for side, hand in hands.items() for what, value in _address(hand)]
    arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
    program = "import sys; from h1_inspire_driver.inspire_driver_node import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", program, "--ros-args", *arguments], env=os.environ)
    try:
        graph.spin_until(lambda: (250,) * 6 in hands["left"].written(ANGLE_SET), "the hand is commanded", 30.0)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None, "the process has ended")
        assert process.returncode == 0
        assert hands["left"].written(ANGLE_SET)[-1] == OPEN_HAND
    finally:
        process.kill()
        process.wait()


def _address(hand: QuirkyHand) -> tuple[tuple[str, str], ...]:
    return ("host", "127.0.0.1"), ("port", str(hand.port))


@pytest.mark.parametrize("topic", ["hands/left/command", "session/state"])
def test_a_second_commander_stops_the_fingers_and_is_reported(
    graph: Graph, hands: dict[str, QuirkyHand], topic: str
) -> None:
    peer = graph.add(Peer())
    a_driver(graph, hands["left"].port, hands["right"].port)
    peer.session_state, peer.opening = "EXECUTING", 0.25
    graph.spin_until(lambda: (250,) * 6 in hands["left"].written(ANGLE_SET), "the hand is commanded")
    other = peer.create_publisher(HandCommand if topic.startswith("hands") else SessionState, topic, qos.STATE)
    graph.spin_until(lambda: peer.states["left"][-1].reason.startswith("foreign_commander: "), "seen")
    assert peer.states["left"][-1].gated
    graph.spin_until(lambda: peer.reasons().count("foreign_commander") == 1, "reported")
    assert hands["left"].written(ANGLE_SET)[-1] == OPEN_HAND, "the fingers stay where they were measured"
    peer.destroy_publisher(other)
    graph.spin_until(lambda: not peer.states["left"][-1].gated, "followed again")
