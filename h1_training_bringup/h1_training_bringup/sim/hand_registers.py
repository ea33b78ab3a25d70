"""The register map of a simulated hand as a device of pymodbus' own server.

The server asks `HandDevice` before each read or write; it moves the fingers up to now and refreshes what they measure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

from h1_inspire_driver.registers import (
    ANGLE_ACT,
    ANGLE_SET,
    CLEAR_ERROR,
    CURRENT,
    ERROR,
    FORCE_ACT,
    FORCE_SET,
    SPEED_SET,
    STATUS,
    TEMPERATURE,
    Block,
    signed,
)
from h1_training_bringup.sim.hand_fingers import Fingers

HAND_ID = Block("HAND_ID", 1000, 1)
_WRITABLE = (CLEAR_ERROR, ANGLE_SET, FORCE_SET, SPEED_SET)
_MEASURED = (ANGLE_ACT, FORCE_ACT, CURRENT, ERROR, STATUS, TEMPERATURE)
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
        }

    def device(self) -> SimDevice:
        """For `ModbusTcpServer`."""
        opened = [1000] * 6
        values = {ANGLE_SET: opened, SPEED_SET: opened, FORCE_SET: opened, ANGLE_ACT: opened, HAND_ID: [1]}
        blocks = [
            SimData(
                block.address,
                values=values.get(block, [0] * block.count),
                datatype=DataType.REGISTERS,
                readonly=block not in _WRITABLE,
            )
            for block in (HAND_ID, *_WRITABLE, *_MEASURED)
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
        for block, values in self._measured().items():
            begin = block.address - start
            registers[begin : begin + block.count] = values
        return None

    def _write(self, address: int, values: list[int]) -> ExcCodes | None:
        if address == CLEAR_ERROR.address:
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
        }


def _packed(values: Sequence[int]) -> list[int]:
    """Six bytes in three registers, the high byte first, as the vendor's SDK takes them apart."""
    return [high << 8 | low for high, low in zip(values[::2], values[1::2], strict=True)]
