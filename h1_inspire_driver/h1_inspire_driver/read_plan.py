# SPDX-License-Identifier: Apache-2.0
"""Which registers to read when: all of them in every round while the hand is quick, the angles first when it is not.

A hand that answers in 3 ms is read whole at the configured rate. One that answers in 25 ms (as reported of real ones)
would give six blocks at 6 Hz; then every round reads the angles, and the others take turns in the time that is left.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

from h1_inspire_driver.registers import SECONDARY, Block

_ANGLE_ROUNDS = 2
"""Rounds that may pass in a row with nothing but the angles."""

AGED_NS = 200_000_000
"""A block that was read longer ago than this is named in `reason`."""


@dataclass(frozen=True)
class Timed:
    """The registers of a block and when they arrived, session time."""

    registers: list[int]
    stamp_ns: int


class ReadPlan:
    """Decides block by block; learns of each answer.

    Args:
        period_ns: time between two rounds.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._answers_ns: deque[int] = deque(maxlen=9)
        self._turn = deque(SECONDARY)
        self._rounds_without = 0
        self._read_in_round = 0

    @property
    def answer_ns(self) -> int:
        """How long the hand takes to answer: the median of the last nine, so that one pause does not count."""
        return int(statistics.median(self._answers_ns)) if self._answers_ns else 0

    def answered(self, took_ns: int) -> None:
        """A request took this long."""
        self._answers_ns.append(took_ns)

    def begin_round(self) -> None:
        """The angles are being read."""
        self._rounds_without = 0 if self._read_in_round else self._rounds_without + 1
        self._read_in_round = 0

    def next_block(self, elapsed_ns: int) -> Block | None:
        """The block to read now, or None: the round is over.

        Args:
            elapsed_ns: since the round began.
        """
        if self._read_in_round == len(SECONDARY):
            return None
        is_owed = self._read_in_round == 0 and self._rounds_without >= _ANGLE_ROUNDS
        if not is_owed and elapsed_ns + self.answer_ns > self._period_ns:
            return None
        self._read_in_round += 1
        self._turn.rotate(-1)
        return self._turn[-1]
