# SPDX-License-Identifier: Apache-2.0
"""A simulated hand: fingers that move as the manual says, and their registers as a device of pymodbus' own server.

Six fingers go at SPEED_SET's rate towards ANGLE_SET, until FORCE_SET stops them. No dynamics: a finger of the real hand
is a screw-driven, self-locking actuator that runs at constant speed, so its angle over time is a straight line. Numbers
of force and current are plausible, not measured. The server asks `HandDevice` before each read or write; it moves the
fingers up to now and refreshes what they measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

from h1_inspire_driver.registers import (
    ANGLE_ACT,
    ANGLE_SET,
    ANGLE_UNITS,
    CLEAR_ERROR,
    CURRENT,
    ERROR,
    FINGERS,
    FORCE_ACT,
    FORCE_SET,
    LEAVE,
    SPEED_SET,
    STATUS,
    TEMPERATURE,
    Block,
    signed,
)

FULL_TRAVEL_S = 0.6
"""From open to closed at SPEED_SET 1000, unloaded (manual)."""

RELEASING, GRASPING, REACHED, FORCE_REACHED = 0, 1, 2, 3
"""Codes of STATUS."""

_STIFFNESS_G = 20.0
"""Force that one unit of angle of squeezing costs, g."""
_IDLE_MA, _RUN_MA, _MA_PER_G = 60.0, 220.0, 0.5
_AMBIENT_C, _HOTTEST_C = 31.0, 45.0
_WARMING_C_PER_S, _COOLING_PER_S = 0.05, 0.005


@dataclass
class Finger:
    """One finger. Angles in units of 0 (closed) to 1000 (open), forces in g.

    Attributes:
        angle: where it is.
        target: ANGLE_SET.
        speed: SPEED_SET, 0..1000.
        force_limit: FORCE_SET.
        contact: angle at which it meets what it grasps; None: nothing is there.
    """

    angle: float = float(ANGLE_UNITS)
    target: float = float(ANGLE_UNITS)
    speed: float = float(ANGLE_UNITS)
    force_limit: float = 1000.0
    contact: float | None = None
    temperature: float = _AMBIENT_C
    status: int = field(default=REACHED, init=False)
    is_running: bool = field(default=False, init=False)

    @property
    def force(self) -> float:
        """With which it presses, g."""
        return 0.0 if self.contact is None else max(0.0, (self.contact - self.angle) * _STIFFNESS_G)

    @property
    def current(self) -> float:
        """mA."""
        return (_RUN_MA if self.is_running else _IDLE_MA) + self.force * _MA_PER_G

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        way = self.target - self.angle
        if way < 0 and self.contact is not None:
            way = max(way, min(0.0, self.contact - self.force_limit / _STIFFNESS_G - self.angle))
        step = self.speed / FULL_TRAVEL_S * seconds
        moved = min(max(way, -step), step)
        self.angle += moved
        self.is_running = abs(way) > abs(moved)
        self.status = self._status(way)
        self.temperature += _WARMING_C_PER_S * seconds if self.is_running else 0.0
        self.temperature -= (self.temperature - _AMBIENT_C) * min(1.0, _COOLING_PER_S * seconds)
        self.temperature = min(self.temperature, _HOTTEST_C)

    def _status(self, way: float) -> int:
        if self.is_running:
            return RELEASING if way > 0 else GRASPING
        return REACHED if abs(self.target - self.angle) < 1 else FORCE_REACHED


class Fingers:
    """The six of one hand, in the order of `registers.FINGERS`.

    Args:
        contact: angle at which little to index meet an object, or None.
    """

    def __init__(self, contact: float | None = None) -> None:
        self.fingers = [Finger(contact=contact if name in FINGERS[:4] else None) for name in FINGERS]

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        for finger in self.fingers:
            finger.advance(seconds)

    def set_angles(self, values: Sequence[int]) -> None:
        """ANGLE_SET, (6,) 0..1000 or -1 to leave a finger where it is going."""
        for finger, value in zip(self.fingers, values, strict=True):
            if value != LEAVE:
                finger.target = min(max(value, 0), ANGLE_UNITS)

    def set_speeds(self, values: Sequence[int]) -> None:
        """SPEED_SET, (6,) 0..1000."""
        for finger, value in zip(self.fingers, values, strict=True):
            finger.speed = min(max(value, 0), ANGLE_UNITS)

    def set_forces(self, values: Sequence[int]) -> None:
        """FORCE_SET, (6,) g."""
        for finger, value in zip(self.fingers, values, strict=True):
            finger.force_limit = min(max(value, 0), 3000)


HAND_ID = Block("HAND_ID", 1000, 2)
POS_SET, POS_ACT = Block("POS_SET", 1474), Block("POS_ACT", 1534)
_SETTINGS = (
    Block("SAVE", 1005, 1),
    Block("RESET_PARA", 1006, 1),
    Block("GESTURE_FORCE_CLB", 1009, 1),
    Block("DEFAULT_SPEED_SET", 1032),
    Block("DEFAULT_FORCE_SET", 1044),
    Block("IP_PART", 1700, 4),
)
_WRITABLE = (CLEAR_ERROR, ANGLE_SET, FORCE_SET, SPEED_SET, POS_SET, *_SETTINGS)
_MEASURED = (ANGLE_ACT, FORCE_ACT, CURRENT, ERROR, STATUS, TEMPERATURE, POS_ACT)
_STROKE = 2000
"""POS_SET and POS_ACT of a closed finger; 0 is open."""
_FINGER_PADS = (("tip", 0, 9), ("nail", 18, 96), ("pad", 210, 80))
_THUMB_PADS = (("tip", 0, 9), ("nail", 18, 96), ("middle", 210, 9), ("pad", 228, 96))
_FINGERS_AT = {"little": 3000, "ring": 3370, "middle": 3740, "index": 4110}
_THUMB_AT, _PALM = 4480, Block("TOUCH palm", 4900, 112)
TOUCH = (
    *(
        Block(f"TOUCH {name} {pad}", at + by, cells)
        for name, at in _FINGERS_AT.items()
        for pad, by, cells in _FINGER_PADS
    ),
    *(Block(f"TOUCH thumb {pad}", _THUMB_AT + by, cells) for pad, by, cells in _THUMB_PADS),
    _PALM,
)
"""Touch sensors, one register a cell, 0..4095 (manual; `inspire_hand_sdk/inspire_sdkpy/inspire_hand_defaut.py`)."""
_MOST_TOUCH, _TOUCH_PER_G = 4095, 1.0
_ALL_DEVICES = 0
"""Over TCP the hand answers to every unit id (manual)."""


class HandDevice:
    """Answers for one hand's registers.

    Args:
        fingers: what moves.
        clock_ns: any clock that only advances.
    """

    def __init__(self, fingers: Fingers, clock_ns: Callable[[], int]) -> None:
        self.fingers = fingers
        self._clock_ns = clock_ns
        self._moved_ns = clock_ns()
        self._setters = {
            ANGLE_SET.address: fingers.set_angles,
            SPEED_SET.address: fingers.set_speeds,
            FORCE_SET.address: fingers.set_forces,
            POS_SET.address: self._set_positions,
        }
        self._plain = {block.address: block.count for block in (CLEAR_ERROR, *_SETTINGS)}

    def device(self) -> SimDevice:
        """For `ModbusTcpServer`."""
        opened = [1000] * 6
        values = {ANGLE_SET: opened, SPEED_SET: opened, FORCE_SET: opened, ANGLE_ACT: opened, HAND_ID: [1, 0]}
        values |= {Block("DEFAULT_SPEED_SET", 1032): opened, Block("DEFAULT_FORCE_SET", 1044): opened}
        values |= {Block("IP_PART", 1700, 4): [192, 168, 11, 210]}
        blocks = [
            SimData(
                block.address,
                values=values.get(block, [0] * block.count),
                datatype=DataType.REGISTERS,
                readonly=block not in _WRITABLE,
            )
            for block in sorted((HAND_ID, *_WRITABLE, *_MEASURED, *TOUCH), key=lambda block: block.address)
        ]
        return SimDevice(_ALL_DEVICES, simdata=blocks, action=self._on_access)

    async def _on_access(
        self,
        _function: int,
        start: int,
        address: int,
        _count: int,
        registers: list[int],
        written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """pymodbus' hook before an access; `registers` begins at address `start`."""
        now_ns = self._clock_ns()
        self.fingers.advance((now_ns - self._moved_ns) / 1e9)
        self._moved_ns = now_ns
        if written is not None:
            return self._write(address, [int(value) for value in written])
        measured = self._measured() if address < TOUCH[0].address else self._touched()
        for block, values in measured.items():
            begin = block.address - start
            registers[begin : begin + block.count] = values
        return None

    def _write(self, address: int, values: list[int]) -> ExcCodes | None:
        if self._plain.get(address) == len(values):
            return None
        if address not in self._setters or len(values) != ANGLE_SET.count:
            return ExcCodes.ILLEGAL_ADDRESS
        self._setters[address](signed(values))
        return None

    def _measured(self) -> dict[Block, list[int]]:
        fingers = self.fingers.fingers
        return {
            ANGLE_ACT: [round(finger.angle) for finger in fingers],
            FORCE_ACT: [round(finger.force) for finger in fingers],
            CURRENT: [round(finger.current) for finger in fingers],
            ERROR: [0] * ERROR.count,
            STATUS: _packed([finger.status for finger in fingers]),
            TEMPERATURE: _packed([round(finger.temperature) for finger in fingers]),
            POS_ACT: [round((ANGLE_UNITS - finger.angle) * _STROKE / ANGLE_UNITS) for finger in fingers],
        }

    def _touched(self) -> dict[Block, list[int]]:
        """Each finger's pads feel what it presses with, the palm what all do together."""
        forces = dict(zip(FINGERS, (finger.force for finger in self.fingers.fingers), strict=True))
        forces |= {"palm": sum(forces.values()), "thumb": forces["thumb bend"]}
        felt = {}
        for block in TOUCH:
            part = block.name.split()[1]
            felt[block] = [min(round(forces[part] * _TOUCH_PER_G), _MOST_TOUCH)] * block.count
        return felt

    def _set_positions(self, values: Sequence[int]) -> None:
        """POS_SET, (6,) 0 open .. 2000 closed, or -1 to leave a finger where it is going."""
        self.fingers.set_angles(
            [LEAVE if p == LEAVE else round(ANGLE_UNITS - p * ANGLE_UNITS / _STROKE) for p in values]
        )


def _packed(values: Sequence[int]) -> list[int]:
    """Six bytes in three registers, the high byte first, as the vendor's SDK takes them apart."""
    return [high << 8 | low for high, low in zip(values[::2], values[1::2], strict=True)]
