# SPDX-License-Identifier: Apache-2.0
"""The arm guard's node over real DDS: a driver that stops, and one that ends in good order."""

from __future__ import annotations

import time

import pytest
from arm_peer import Peer
from arm_robot_stub import RobotStub
from arm_stage import quick_parameters
from std_msgs.msg import Bool

from h1_training_bringup.arm_driver.arm_driver_node import ArmDriverNode
from h1_training_bringup.arm_driver.arm_guard_node import ArmGuardNode
from h1_training_node import qos
from h1_training_node.clock import NS_PER_S
from h1_training_testing import Graph


@pytest.fixture(autouse=True)
def quick_programs_without_predecessors(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_parameters(monkeypatch, needs_guard=True)


def test_a_driver_that_stops_is_followed_by_the_guard_until_it_has_released_the_arms(graph: Graph) -> None:
    driver, guard, robot = graph.add(ArmDriverNode()), graph.add(ArmGuardNode()), graph.add(RobotStub())
    peer = graph.add(Peer(graph, driver.clock_ns))
    heard: list[bool] = []
    peer.create_subscription(Bool, "arm_guard/active", lambda message: heard.append(message.data), qos.LATCHED)
    peer.take(robot)
    assert not peer.call("arm_guard/release").success
    assert "foreign_commander" not in peer.reasons("arm_driver"), "the guard's publisher is no intruder"
    for loop in driver.loops:
        loop.cancel()
    graph.spin_until(lambda: "guard_took_over" in peer.reasons("arm_guard"), "the guard takes over")
    graph.spin_until(lambda: robot.is_damped and robot.weight == 1.0, "damped, weight kept")
    graph.spin_until(lambda: heard[-1:] == [True], "the guard says that it is active")
    assert robot.crc_failures == 0
    guard.request_stop("SIGTERM")
    graph.spin_until(lambda: guard.exit_status is not None, "released, ended")
    assert guard.exit_status == 0 and robot.weight == 0.0


def test_the_drivers_good_end_is_seen_through_in_silence(graph: Graph) -> None:
    driver, guard, robot = graph.add(ArmDriverNode()), graph.add(ArmGuardNode()), graph.add(RobotStub())
    peer = graph.add(Peer(graph, driver.clock_ns))
    peer.take(robot)
    guard.request_stop("SIGINT")
    driver.request_stop("SIGINT")
    graph.spin_until(lambda: driver.exit_status is not None, "the driver has ended")
    graph.spin_until(lambda: guard.exit_status is not None, "and then the guard")
    assert (driver.exit_status, guard.exit_status) == (0, 0)
    assert peer.reasons("arm_guard") == [] and robot.weight == 0.0


def test_after_the_computer_slept_both_are_silent_until_a_person_calls_the_guards_release(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_ns, real = 0, time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + slept_ns)
    driver, _, robot = graph.add(ArmDriverNode()), graph.add(ArmGuardNode()), graph.add(RobotStub())
    peer = graph.add(Peer(graph, driver.clock_ns))
    peer.take(robot)
    slept_ns = 60 * NS_PER_S
    graph.spin_until(lambda: peer.status.fault == "driver_hung", "the driver knows")
    commands, states = len(robot.commands), robot.states
    graph.spin_until(lambda: robot.states > states + 1000, "time passes, longer than the guard's patience")
    assert len(robot.commands) <= commands + 2 and "guard_took_over" not in peer.reasons("arm_guard")
    assert any("slept for 60" in event.detail for event in peer.events)
    refusal = peer.call("arm_driver/release")
    assert not refusal.success and "arm_guard/release" in refusal.message
    assert peer.call("arm_guard/release").success
    graph.spin_until(lambda: robot.weight == 0.0, "released")
