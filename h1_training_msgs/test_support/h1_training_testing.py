# SPDX-License-Identifier: Apache-2.0
"""For the tests of all packages: a ROS domain of the run's own, and a graph to spin.

Imported by each package's `test/conftest.py`; `pyproject.toml` names this folder (`pythonpath`). Tests wait on
conditions with a deadline, never on a sleep.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from h1_training_node.domain import DomainClaim

_claim = DomainClaim()
os.environ["ROS_DOMAIN_ID"] = str(_claim.domain_id)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# A machine that is busy with something else makes no example wrong.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")

N = TypeVar("N")


class Graph:
    """Nodes of one process under one Spinner, spun until a condition holds.

    Args:
        domain_id: the ROS domain to join; None is the test run's own.
    """

    def __init__(self, domain_id: int | None = None) -> None:
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        from h1_training_node.spinner import Spinner

        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO, domain_id=domain_id)
        self._rclpy = rclpy
        self._spinner = Spinner()
        self._nodes: list[Any] = []

    def add(self, node: N) -> N:
        """Spin `node` with the others, and destroy it at the end of the test."""
        self._spinner.add(node)
        self._nodes.append(node)
        return node

    def spin_until(self, condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> None:
        """Spin until `condition()` is true; fail with `what` if it is not within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {timeout_s} s: {what}")
            self._spinner.spin_once(0.02)

    def close(self) -> None:
        """Destroy all nodes and leave the domain; what the executor still refers to would stay on the wire."""
        self._spinner.close()
        for node in self._nodes:
            node.destroy_node()
        self._nodes.clear()
        del self._spinner
        self._rclpy.try_shutdown()
        gc.collect()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """A graph of this test alone; torn down with it."""
    graph = Graph()
    yield graph
    graph.close()


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> None:
    """Wait, without spinning anything, until `condition()` is true; fail with `what` if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.005)
