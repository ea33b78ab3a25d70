# SPDX-License-Identifier: Apache-2.0
"""One thread for all of a process's nodes: their messages and services, and their loops at absolute deadlines.

The EventsExecutor hands what comes to the nodes; the time until the next loop is due is its time-out. rclpy's own
timers go through a second thread, which is woken three times a period: at 250 Hz an empty one takes 2.5 % of a core, an
empty loop half of that.

The EventsExecutor must never be spun without a time-out. And it waits by the system's clock (rclpy 7.1.6; so do its
timers, those on a steady clock included): set back by a minute, it would sleep that minute, with the arms in its hands.
So it is woken when the clock is set.
"""

from __future__ import annotations

import time

from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node

from h1_training_node.base_node import BaseNode
from h1_training_node.clock_watch import ClockWatch
from h1_training_node.loop import Loop


class Spinner:
    """Spins nodes, and the loops of those that are of the session. See the module.

    Args:
        context: of rclpy; None is the default one.
    """

    def __init__(self, context: Context | None = None) -> None:
        self._executor = EventsExecutor(context=context)
        self._clock_watch = ClockWatch(lambda: self._executor.create_task(lambda: None))
        self._nodes: list[Node] = []
        self._loops: list[list[Loop]] = []

    def add(self, node: Node) -> None:
        """Spin `node` from now on."""
        self._executor.add_node(node)
        self._nodes.append(node)
        if isinstance(node, BaseNode):
            self._loops.append(node.loops)

    def spin_once(self, timeout_s: float) -> None:
        """Handle what has come, or wait for it, for at most `timeout_s`; then run the loops that are due."""
        due_s = self._due_s(timeout_s)
        self._executor.spin_once(timeout_sec=max(0.0, due_s - time.monotonic()))
        self._run_loops(due_s)

    def _due_s(self, timeout_s: float) -> float:
        due_s = time.monotonic() + timeout_s
        for loops in self._loops:
            for loop in loops:
                due_s = min(due_s, loop.due_s)
        return due_s

    def _run_loops(self, due_s: float) -> None:
        now_s = time.monotonic()
        if now_s < due_s:  # nor is one due that was started meanwhile: its first run is a period away
            return
        for loops in self._loops:
            for loop in tuple(loops):  # a run may start another, or destroy one
                if loop.due_s <= now_s:
                    loop.run(now_s)

    def close(self) -> None:
        """Let go of all nodes."""
        self._clock_watch.close()
        for node in self._nodes:
            self._executor.remove_node(node)
        self._nodes.clear()
        self._loops.clear()
        self._executor.shutdown()
