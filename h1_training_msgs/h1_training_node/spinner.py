# SPDX-License-Identifier: Apache-2.0
"""One thread for all of a process's nodes: their messages and services, and their loops at absolute deadlines.

The EventsExecutor hands what comes to the nodes; the time until the next loop is due is its time-out. rclpy's own
timers go through a second thread, which is woken three times a period: at 250 Hz an empty one takes 2.5 % of a core, an
empty loop half of that.

The EventsExecutor must never be spun without a time-out. And it waits by the system's clock (rclpy 7.1.6; so do its
timers, those on a steady clock included): set back by a minute, as NTP does where a machine woke up with a wrong one,
it would sleep that minute, with the arms in its hands. So it is woken when the clock is set.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator

from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node

from h1_training_node.base_node import BaseNode
from h1_training_node.loop import Loop

_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_FAR_S = 1 << 40
_SPIN_S = 0.1
_libc = ctypes.CDLL(None, use_errno=True)


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


@contextlib.contextmanager
def spun(node: Node) -> Iterator[threading.Thread]:
    """Spin `node` in a thread of its own for the time of the block, then destroy it: for a main with another loop."""
    leaving = threading.Event()

    def spin() -> None:
        spinner = Spinner()
        spinner.add(node)
        while not leaving.is_set():
            spinner.spin_once(_SPIN_S)
        spinner.close()

    thread = threading.Thread(target=spin, name="graph", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        leaving.set()
        thread.join(5 * _SPIN_S)
        node.destroy_node()


class ClockWatch:
    """A thread that sleeps until the clock is set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET), then calls.

    Args:
        on_set: called in that thread, each time.

    Raises:
        OSError: the kernel cannot report it.
    """

    def __init__(self, on_set: Callable[[], object]) -> None:
        self._on_set = on_set
        self._timer, self._end = _timer(), os.eventfd(0)
        self._thread = threading.Thread(target=self._wait_for_set, name="clock_watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        os.eventfd_write(self._end, 1)
        self._thread.join()
        os.close(self._timer)
        os.close(self._end)

    def _wait_for_set(self) -> None:
        poll = select.poll()
        for fd in (self._timer, self._end):
            poll.register(fd, select.POLLIN)
        while self._end not in dict(poll.poll()):
            with contextlib.suppress(OSError):  # cancelled: the clock was set
                os.read(self._timer, 8)
            _arm(self._timer)
            self._on_set()


def _timer() -> int:
    """File descriptor of a timer that is due in ages, and that is readable when the clock is set."""
    fd: int = _libc.timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC)
    if fd < 0:
        raise _error("timerfd_create")
    _arm(fd)
    return fd


def _arm(fd: int) -> None:
    when = struct.pack("4q", 0, 0, _FAR_S, 0)
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, when, None) < 0:
        raise _error("timerfd_settime")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}; this kernel does not report when the system's clock is set")
