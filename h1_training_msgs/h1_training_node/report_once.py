# SPDX-License-Identifier: Apache-2.0
"""One report of a condition that lasts, however often it is looked at."""

from __future__ import annotations

from collections.abc import Hashable


class ReportOnce:
    """Remembers what has been reported, by any name.

    Args:
        again_after_ns: pause after which what lasts is reported again, ns; None: only once it was cleared.
    """

    def __init__(self, again_after_ns: int | None = None) -> None:
        self._again_after_ns = again_after_ns
        self._reported_ns: dict[Hashable, int] = {}

    def is_due(self, what: Hashable = None, now_ns: int = 0) -> bool:
        """Whether `what` is to be reported now; from then on it counts as reported."""
        last_ns = self._reported_ns.get(what)
        if last_ns is not None and (self._again_after_ns is None or now_ns - last_ns < self._again_after_ns):
            return False
        self._reported_ns[what] = now_ns
        return True

    def clear(self, what: Hashable = None) -> bool:
        """`what` is over, its next occurrence is due; returns whether it had been reported, so that its end can be."""
        return self._reported_ns.pop(what, None) is not None
