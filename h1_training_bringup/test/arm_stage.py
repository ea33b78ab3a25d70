# SPDX-License-Identifier: Apache-2.0
"""Driver, robot and peer in one graph: real messages over real DDS, in one process."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from arm_builders import QuickGuardParameters, QuickParameters
from arm_peer import Peer
from arm_robot_stub import RobotStub

from h1_training_bringup.arm_driver.arm_driver_node import ArmDriverNode
from h1_training_testing import Graph


def quick_parameters(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Give driver and guard the parameters of `arm_builders`, with `changes` to the driver's."""
    gc.collect()  # the test before may still hold publishers, which would be foreign commanders here
    driver = (
        type("Parameters", (QuickParameters,), {"__init__": _changed_init(changes)}) if changes else QuickParameters
    )
    monkeypatch.setattr("h1_training_bringup.arm_driver.arm_driver_node.ArmParameters", driver)
    monkeypatch.setattr("h1_training_bringup.arm_driver.arm_guard_node.GuardParameters", QuickGuardParameters)


def _changed_init(changes: dict[str, Any]) -> Callable[..., None]:
    def init(self: QuickParameters, **values: Any) -> None:
        QuickParameters.__init__(self, **{**values, **changes})

    return init


class Stage:
    """See the module. `driver` may be stopped, `robot` made to misbehave."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.driver = graph.add(ArmDriverNode())
        self.robot = graph.add(RobotStub())
        self.peer = graph.add(Peer(graph, self.driver.clock_ns))

    def take(self) -> None:
        """From the start to HOLD with all of the weight."""
        self.peer.take(self.robot)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> None:
        """Spin until `condition()` holds."""
        self.graph.spin_until(condition, what, timeout_s)
