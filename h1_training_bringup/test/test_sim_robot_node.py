# SPDX-License-Identifier: Apache-2.0
"""The simulated robot over the wire: states come, commands act, and it never leaves this machine."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rclpy
from sim_robot_builders import broken_crc, command
from std_msgs.msg import String
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver.wire import CrcError, decode_low_state
from h1_training_bringup.sim.robot import OWN_POSE
from h1_training_bringup.sim.robot_node import SimulatedRobotNode
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.domain import require_own_topic
from h1_training_node.parameter import ParameterError


class Peer:
    """Whoever is on the other side of the robot's wire."""

    def __init__(self, graph) -> None:
        self._graph = graph
        self.robot = graph.add(SimulatedRobotNode())
        self.node = graph.add(rclpy.create_node("peer"))
        self.samples: list[bytes] = []
        self.slow_samples: list[bytes] = []
        self.reports: list[dict] = []
        self.done: list[str] = []
        self.node.create_subscription(LowState, "sim/lowstate", self.samples.append, qos.STATE, raw=True)
        self.node.create_subscription(LowState, "sim/lf/lowstate", self.slow_samples.append, qos.STATE, raw=True)
        self.node.create_subscription(
            String, "sim/robot/report", lambda message: self.reports.append(json.loads(message.data)), qos.STATE
        )
        self.node.create_subscription(
            String, "sim/person/done", lambda message: self.done.append(message.data), qos.STATE
        )
        self.commands = self.node.create_publisher(LowCmd, "sim/arm_sdk", qos.STATE)
        self.faults = self.node.create_publisher(String, "sim/robot/fault", qos.STATE)
        self.session = self.node.create_publisher(SessionState, "session/state", qos.LATCHED)
        matched = (self.commands, self.faults, self.session)
        graph.spin_until(lambda: all(p.get_subscription_count() for p in matched) and self.samples, "the robot's wires")

    def until(self, condition, what: str) -> None:
        self._graph.spin_until(condition, what)

    @property
    def q(self) -> np.ndarray:
        return decode_low_state(self.samples[-1])["motor_state"]["q"][12:27]


def test_states_come_on_both_topics_with_a_right_crc_and_an_advancing_tick(graph) -> None:
    peer = Peer(graph)
    peer.until(lambda: len(peer.samples) > 100 and len(peer.slow_samples) > 5, "states")
    ticks = [int(decode_low_state(sample)["tick"]) for sample in peer.samples]
    assert ticks == sorted(ticks) and ticks[-1] > ticks[0]
    assert len(peer.samples) / len(peer.slow_samples) == pytest.approx(10, rel=0.5)
    np.testing.assert_allclose(peer.q, OWN_POSE, atol=0.02)


def test_a_command_moves_the_arms_and_a_wrong_crc_does_not(graph) -> None:
    peer = Peer(graph)
    peer.commands.publish(broken_crc(command(q=OWN_POSE + 0.3, kp=100.0, kd=3.0)))
    peer.until(lambda: peer.reports and peer.reports[-1]["wrong_crc"] == 1, "the refusal's count")
    np.testing.assert_allclose(peer.q, OWN_POSE, atol=0.02)
    peer.commands.publish(command(q=OWN_POSE + 0.3, kp=100.0, kd=3.0))
    peer.until(lambda: np.abs(peer.q - OWN_POSE).max() > 0.2, "motion")
    peer.until(lambda: peer.reports[-1]["accepted"] == 1 and peer.reports[-1]["weight"] == 1.0, "the count")


def test_a_fault_is_on_the_wire_and_cleared_again(graph) -> None:
    peer = Peer(graph)

    def is_bad() -> bool:
        try:
            decode_low_state(peer.samples[-1])
        except CrcError:
            return True
        return False

    peer.faults.publish(String(data="nonsense"))
    peer.faults.publish(String(data="bad_crc"))
    peer.until(is_bad, "a state with a wrong CRC")
    peer.faults.publish(String(data="clear"))
    peer.until(lambda: not is_bad(), "a sound state")


def test_a_person_guides_the_arms_in_damping_and_says_so(graph) -> None:
    peer = Peer(graph)
    heartbeat = SessionState(state="DAMPING", epoch=1, episode=1, episode_id="epoch1/episode_0")
    peer.node.create_timer(0.1, lambda: peer.session.publish(heartbeat))
    own_weight = peer.robot._robot.body.carrying_torque.copy()
    peer.commands.publish(command(kd=3.0, tau=own_weight))
    peer.until(lambda: peer.done, "the demonstration's end")
    assert peer.done[0] == "epoch1/episode_0"
    assert np.abs(peer.q - OWN_POSE).max() > 0.05


def test_it_refuses_to_start_where_others_could_hear_it(graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    with pytest.raises(ParameterError, match="export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"):
        SimulatedRobotNode()
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    with pytest.raises(ParameterError, match="LOCALHOST"):
        SimulatedRobotNode()


def test_a_remapping_to_the_robots_own_topic_is_refused() -> None:
    require_own_topic("/some/where/sim/lowstate", "sim/lowstate")
    for resolved in ("/lowstate", "/lf/lowstate", "/notsim/lowstate"):
        with pytest.raises(ParameterError, match="remapped"):
            require_own_topic(resolved, "sim/lowstate")


def test_nothing_is_published_under_the_robots_own_names(graph) -> None:
    peer = Peer(graph)
    assert not peer.node.count_publishers("/lowstate") and not peer.node.count_publishers("/lf/lowstate")
    assert not peer.node.count_subscribers("/arm_sdk") and not peer.node.count_subscribers("/lowcmd")
