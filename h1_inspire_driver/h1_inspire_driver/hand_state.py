# SPDX-License-Identifier: Apache-2.0
"""Which registers of a hand are read when, and the state in the graph's units that comes of them.

A hand that answers in 3 ms is read whole at the configured rate. One that answers in 25 ms (as reported of real ones)
would give six blocks at 6 Hz; then every round reads the angles, and the others take turns in the time that is left.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from h1_inspire_driver.registers import (
    AMPERE_PER_MILLIAMPERE,
    CURRENT,
    ERROR,
    FORCE_ACT,
    NEWTON_PER_GRAM,
    SECONDARY,
    STATUS,
    TEMPERATURE,
    Block,
    faults_of,
    forces_of,
    opening_of,
    signed,
    unpacked_bytes,
)

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


@dataclass(frozen=True)
class HandState:
    """Everything (6,), in the order of `registers.FINGERS`.

    Attributes:
        stamp_ns: when the angles arrived, session time.
        angle: 0 closed .. 1 open.
        command: likewise, as last written; NaN = never.
        force: N.
        current: A.
        status: codes of the manual.
        error: bits of the manual.
        temperature: degC.
        gated: why commands are ignored, empty if they are followed.
        degraded: what else is to be known of this state, empty if nothing.
    """

    stamp_ns: int
    angle: tuple[float, ...]
    command: tuple[float, ...]
    force: tuple[float, ...]
    current: tuple[float, ...]
    status: tuple[int, ...]
    error: tuple[int, ...]
    temperature: tuple[int, ...]
    gated: str
    degraded: str

    @property
    def reason(self) -> str:
        """Why gated or degraded, one line."""
        return "; ".join(filter(None, (self.gated, self.degraded)))


def hand_state(
    stamp_ns: int,
    angles: tuple[int, ...],
    others: Mapping[Block, Timed],
    *,
    command: tuple[float, ...],
    gated: str,
    bytes_high_first: bool,
) -> HandState:
    """The state from raw registers.

    Args:
        stamp_ns: when the angles arrived.
        angles: (6,) raw.
        others: the last answer of each block of `registers.SECONDARY`.
        command: (6,) openings as last written.
        gated: why commands are ignored, or empty.
        bytes_high_first: order of the bytes in ERROR, STATUS and TEMP.

    Raises:
        ImplausibleError: a force is none.
    """
    status, error, temperature = (
        unpacked_bytes(others[block].registers, high_first=bytes_high_first) for block in (STATUS, ERROR, TEMPERATURE)
    )
    oldest_ns = stamp_ns - min(others[block].stamp_ns for block in SECONDARY)
    aged = f"slow answers: all but the angles up to {oldest_ns / 1e9:.1f} s old" if oldest_ns > AGED_NS else ""
    return HandState(
        stamp_ns=stamp_ns,
        angle=tuple(map(opening_of, angles)),
        command=command,
        force=tuple(grams * NEWTON_PER_GRAM for grams in forces_of(others[FORCE_ACT].registers)),
        current=tuple(value * AMPERE_PER_MILLIAMPERE for value in signed(others[CURRENT].registers)),
        status=status,
        error=error,
        temperature=temperature,
        gated=gated,
        degraded="; ".join(filter(None, (aged, ", ".join(faults_of(error, status))))),
    )
