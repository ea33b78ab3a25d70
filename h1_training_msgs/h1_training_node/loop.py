# SPDX-License-Identifier: Apache-2.0
"""Work that a node does again and again, at absolute deadlines; and the same as a timer of rclpy's form."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from h1_training_node.clock import NS_PER_S


class Loop:
    """Work on a grid of times of the steady clock.

    A run that is late moves none of those after it; times that have passed altogether are left out.

    Args:
        period_s: from one run to the next; the first one is a period from now.
        work: called at each.
    """

    def __init__(self, period_s: float, work: Callable[[], None]) -> None:
        self._period_s, self._work = period_s, work
        self.restart()

    def run(self, now_s: float) -> None:
        """Do what is due at `now_s` (`time.monotonic`)."""
        self.due_s += self._period_s * (math.floor((now_s - self.due_s) / self._period_s) + 1)
        self._work()

    def restart(self) -> None:
        """The next run is a period from now."""
        self.due_s = time.monotonic() + self._period_s

    def cancel(self) -> None:
        """No more runs, until `restart`."""
        self.due_s = math.inf


class LoopTimer(Loop):
    """What `BaseNode.create_timer` returns: a loop with the attributes and methods of `rclpy.timer.Timer`.

    Args:
        period_s: as of `Loop`.
        callback: called without arguments; `rclpy.timer.Rate` sets its own later.
        callback_group, clock: as given to `create_timer`; kept for whoever asks, without effect.
    """

    def __init__(
        self, period_s: float, callback: Callable[[], Any] | None, *, callback_group: Any = None, clock: Any = None
    ) -> None:
        super().__init__(period_s, self._call)
        self.callback, self.callback_group, self.clock = callback, callback_group, clock
        self.handle: object | None = self  # `Rate` asks whether there is one
        self._last_s = time.monotonic()

    def _call(self) -> None:
        self._last_s = time.monotonic()
        if self.callback is not None:
            self.callback()

    def reset(self) -> None:
        """The next call is a period from now; a cancelled timer runs again."""
        self.restart()

    def destroy(self) -> None:
        self.cancel()
        self.handle = None

    def is_canceled(self) -> bool:
        return math.isinf(self.due_s)

    def is_ready(self) -> bool:
        return time.monotonic() >= self.due_s

    def time_since_last_call(self) -> int:
        """Since the last call, or since the timer was made, ns."""
        return round((time.monotonic() - self._last_s) * NS_PER_S)

    def time_until_next_call(self) -> int | None:
        """Until the next call, ns; negative if it is overdue, None if the timer is cancelled."""
        return None if self.is_canceled() else round((self.due_s - time.monotonic()) * NS_PER_S)

    @property
    def timer_period_ns(self) -> int:
        return round(self._period_s * NS_PER_S)

    @timer_period_ns.setter
    def timer_period_ns(self, period_ns: int) -> None:
        """In effect from the call after the next one, as in rclpy."""
        self._period_s = period_ns / NS_PER_S
