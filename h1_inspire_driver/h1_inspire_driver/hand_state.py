# SPDX-License-Identifier: Apache-2.0
"""One hand as it was measured, in the units of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from h1_inspire_driver.read_plan import AGED_NS, Timed
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
