# SPDX-License-Identifier: Apache-2.0
"""The hand's register map, and what its numbers mean.

Source: the vendor's RH56DFTP manual (PRJ-02-TS-U-010 V1.0.0, register table) as shipped in
`NaCl-1374/inspire_hand_ws:inspire_R1/`, read against `inspire_hand_sdk/inspire_sdkpy/inspire_sdk.py`.

The manual counts addresses in bytes, the vendor's own SDK reads six consecutive registers from each base. Only whole
blocks from their base mean the same in both readings, so only whole blocks are ever read or written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FINGERS = ("little", "ring", "middle", "index", "thumb bend", "thumb rotation")
"""The order of every array of six."""

ANGLE_UNITS = 1000
"""Raw angle of a fully open finger; 0 is closed. Of the thumb's rotation sources disagree which end is the open one;
here it is what the hand says, unturned."""

LEAVE = -1
"""Written as an angle: this finger stays where it is."""

NEWTON_PER_GRAM = 9.81e-3
AMPERE_PER_MILLIAMPERE = 1e-3


class ImplausibleError(ValueError):
    """An answer whose numbers no hand can mean."""


@dataclass(frozen=True)
class Block:
    """Consecutive holding registers that are read or written together.

    Attributes:
        name: as in the manual.
        address: of the first register.
        count: registers, each 16 bit and big-endian on the wire.
    """

    name: str
    address: int
    count: int = 6


CLEAR_ERROR = Block("CLEAR_ERROR", 1004, 1)
ANGLE_SET = Block("ANGLE_SET", 1486)
FORCE_SET = Block("FORCE_SET", 1498)
SPEED_SET = Block("SPEED_SET", 1522)
ANGLE_ACT = Block("ANGLE_ACT", 1546)
FORCE_ACT = Block("FORCE_ACT", 1582)
CURRENT = Block("CURRENT", 1594)
ERROR = Block("ERROR", 1606, 3)
STATUS = Block("STATUS", 1612, 3)
TEMPERATURE = Block("TEMP", 1618, 3)
"""ERROR, STATUS and TEMP hold six bytes in three registers."""

SECONDARY = (FORCE_ACT, CURRENT, STATUS, ERROR, TEMPERATURE)
"""What is read besides the angles, the most wanted first."""

STATUS_FAULTS = {5: "stopped by over-current", 7: "actuator fault", 255: "error"}
ERROR_BITS = ("stalled", "over-temperature", "over-current", "motor abnormal", "communication error")

_ANGLE_RANGE = (-50, 1050)
"""ANGLE_ACT is documented as 0..1000; hands overshoot by a few units. Beyond this it is no angle."""
_FORCE_RANGE = (-5000, 5000)
"""FORCE_ACT is documented as -4000..4000 g."""


def signed(registers: Sequence[int]) -> tuple[int, ...]:
    """16-bit registers as signed numbers."""
    return tuple(value - 0x10000 if value & 0x8000 else value for value in registers)


def unpacked_bytes(registers: Sequence[int], *, high_first: bool) -> tuple[int, ...]:
    """The two bytes of each register as numbers of their own, (3,) -> (6,)."""
    return tuple(
        byte
        for value in registers
        for byte in ((value >> 8, value & 0xFF) if high_first else (value & 0xFF, value >> 8))
    )


def angles_of(registers: Sequence[int]) -> tuple[int, ...]:
    """ANGLE_ACT as six raw angles.

    Raises:
        ImplausibleError: one is far outside 0..1000.
    """
    return _within(signed(registers), _ANGLE_RANGE, ANGLE_ACT)


def forces_of(registers: Sequence[int]) -> tuple[int, ...]:
    """FORCE_ACT as six forces, g.

    Raises:
        ImplausibleError: one is far outside -4000..4000 g.
    """
    return _within(signed(registers), _FORCE_RANGE, FORCE_ACT)


def _within(values: tuple[int, ...], allowed: tuple[int, int], block: Block) -> tuple[int, ...]:
    for finger, value in zip(FINGERS, values, strict=True):
        if not allowed[0] <= value <= allowed[1]:
            raise ImplausibleError(f"{block.name} of {finger} is {value}; expected {allowed[0]} to {allowed[1]}")
    return values


def opening_of(angle: int) -> float:
    """A raw angle as 0 (closed) to 1 (open)."""
    return angle / ANGLE_UNITS


def raw_angle(opening: float) -> int:
    """0 (closed) to 1 (open) as a raw angle inside the hand's range; NaN means `LEAVE`."""
    if math.isnan(opening):
        return LEAVE
    return round(min(max(opening, 0.0), 1.0) * ANGLE_UNITS)


def faults_of(errors: Sequence[int], statuses: Sequence[int]) -> tuple[str, ...]:
    """What the ERROR bits and STATUS codes complain about, one phrase each, e.g. `"index over-current"`."""
    found = []
    for finger, error, status in zip(FINGERS, errors, statuses, strict=True):
        found += [f"{finger} {name}" for bit, name in enumerate(ERROR_BITS) if error >> bit & 1]
        if status in STATUS_FAULTS:
            found.append(f"{finger} {STATUS_FAULTS[status]}")
    return tuple(found)
