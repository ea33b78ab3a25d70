# SPDX-License-Identifier: Apache-2.0
"""The main of every node: start, spin with a time-out, end in good order.

rclpy's own signal handlers are off: they shut the context down before a last command or save can go out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import rclpy
from rclpy.signals import SignalHandlerOptions

from h1_training_node.base_node import BaseNode
from h1_training_node.parameter import ParameterError
from h1_training_node.process import StopSignal, ending_cause, take_priority
from h1_training_node.spinner import Spinner

_SPIN_TIMEOUT_S = 0.1
EXIT_USAGE = 2


def run_node(make_node: Callable[[], BaseNode], *, args: list[str] | None = None, late: bool = False) -> int:
    """Run one node until it ends by itself or is asked to; returns the process's exit status.

    SIGINT, SIGTERM, SIGHUP and the parent's death all become one `request_stop`. With `late` this process is one
    that ends last (see `StopSignal`).
    """
    stop = StopSignal(late=late)
    if not stop.end_with_parent():
        return 1
    priority = take_priority()
    rclpy.init(args=sys.argv if args is None else args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        try:
            node = make_node()
        except ParameterError as error:
            print(f"[ERROR] {error}", file=sys.stderr, flush=True)
            return EXIT_USAGE
        try:
            node.report_priority(priority)
            return _spin(node, stop)
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def _spin(node: BaseNode, stop: StopSignal) -> int:
    spinner = Spinner()
    spinner.add(node)
    deadline: float | None = None
    while node.exit_status is None:
        spinner.spin_once(_SPIN_TIMEOUT_S)
        if stop.received is not None and deadline is None:
            deadline = time.monotonic() + node.STOP_TIMEOUT_S
            node.request_stop(ending_cause(stop.received))
        if deadline is not None and time.monotonic() > deadline:
            node.get_logger().error(f"did not end within {node.STOP_TIMEOUT_S:.0f} s; ending now")
            node.end(1)
    spinner.close()
    return node.exit_status
