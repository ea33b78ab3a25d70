# SPDX-License-Identifier: Apache-2.0
"""What went wrong with a stream, dropped frames above all: counted by cause, reported at most once a second each."""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.report_once import ReportOnce

REPORT_EVERY_NS = 1_000_000_000


@dataclass
class _Cause:
    detail: str = ""
    unreported: int = 0
    total: int = 0


class LossCount:
    """Counts; used from one thread.

    Args:
        what: happened, as it follows a number.
    """

    def __init__(self, what: str = "dropped") -> None:
        self._what = what
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._reports = ReportOnce(REPORT_EVERY_NS)

    def add(self, stream: str, cause: str, detail: str, count: int = 1) -> None:
        """It happened `count` times to `stream`, the last time because of `detail`."""
        entry = self._causes.setdefault((stream, cause), _Cause())
        entry.detail = detail
        entry.unreported += count
        entry.total += count

    def total(self, cause: str) -> int:
        """How often so far for `cause`, in all streams."""
        return sum(entry.total for (_, name), entry in self._causes.items() if name == cause)

    def due(self, now_ns: int) -> list[str]:
        """What is to be reported now, one line a stream and cause."""
        lines = []
        for (stream, cause), entry in self._causes.items():
            if entry.unreported and self._reports.is_due((stream, cause), now_ns):
                lines.append(
                    f"{stream}: {entry.unreported} {self._what}, {cause} ({entry.detail}); {entry.total} so far"
                )
                entry.unreported = 0
        return lines
