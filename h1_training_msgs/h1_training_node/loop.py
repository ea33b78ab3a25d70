"""Work that a node does again and again, at absolute deadlines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


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
