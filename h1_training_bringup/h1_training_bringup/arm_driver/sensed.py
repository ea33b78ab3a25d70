"""What one robot state says about the arms, in the units and order that the rest of this package works in."""

from __future__ import annotations

import struct
from math import isfinite
from operator import le
from typing import NamedTuple

import numpy as np

from h1_training_bringup.arm_driver.joints import (
    ARM_MOTORS,
    LOWER,
    MOTOR_DISABLED,
    REMOTE_BUTTONS,
    REMOTE_BUTTONS_OFFSET,
    UPPER,
    WAIST_MOTOR,
    Joints,
)
from h1_training_bringup.arm_driver.robot_model import gravity_direction
from h1_training_bringup.arm_driver.wire import MOTOR_STATE, MOTORS, Record

_RANGE_TOLERANCE_RAD = 0.3
"""A joint measured further outside its range than this is a bad reading."""
_LOWEST, _HIGHEST = (LOWER - _RANGE_TOLERANCE_RAD).tolist(), (UPPER + _RANGE_TOLERANCE_RAD).tolist()

_EACH = MOTOR_STATE.itemsize
_READ = struct.Struct(
    "<9x B 6x 4f 40x"  # mode_machine, the IMU's quaternion
    + f"{_EACH}x" * WAIST_MOTOR
    + "B 3x 4f 2h 32x" * (ARM_MOTORS.stop - WAIST_MOTOR)  # mode; q, dq, ddq, tau_est; two temperatures
    + f"{_EACH}x" * (MOTORS - ARM_MOTORS.stop)
    + f"{REMOTE_BUTTONS_OFFSET}x H"
)
"""What is wanted of a LowState, at one go; through the structured dtype it takes five times as long."""
_VALUES = 7
"""Of each motor among them."""


class Sensed(NamedTuple):
    """One good robot state.

    Attributes:
        stamp_ns: when it came off the wire, session clock.
        q, dq, tau_est: (14,), rad, rad/s, N·m.
        temperature: (14,), °C, the hotter of each motor's two sensors.
        waist_q: rad.
        down: (3,), direction of gravity in the IMU's frame.
        mode_machine: the robot's own, to be echoed.
        enabled: whether waist and arm motors all are.
        buttons: of the remote, one bit each in the order of `REMOTE_BUTTONS`.
    """

    stamp_ns: int
    q: Joints
    dq: Joints
    tau_est: Joints
    temperature: tuple[int, ...]
    waist_q: float
    down: tuple[float, float, float]
    mode_machine: int
    enabled: bool
    buttons: int

    @classmethod
    def from_record(cls, record: Record, stamp_ns: int) -> Sensed | None:
        """The reading of a LowState (C layout); None if it cannot be right: not finite, far out of range, no IMU."""
        # 250 times a second, out of cold caches: there Python's own tools are the faster ones for so few numbers.
        values = _READ.unpack_from(record)  # type: ignore[arg-type]
        motors, arms = values[5:-1], values[5 + _VALUES : -1]
        positions = arms[1::_VALUES]
        down = gravity_direction(values[1:5])
        # A sum is finite only if every part is.
        if down is None or not isfinite(sum(motors)):
            return None
        if not (all(map(le, _LOWEST, positions)) and all(map(le, positions, _HIGHEST))):
            return None
        return cls(
            stamp_ns=stamp_ns,
            q=np.array(positions),
            dq=np.array(arms[2::_VALUES]),
            tau_est=np.array(arms[4::_VALUES]),
            temperature=tuple(map(max, arms[5::_VALUES], arms[6::_VALUES])),
            waist_q=motors[1],
            down=down,
            mode_machine=values[0],
            enabled=MOTOR_DISABLED not in motors[::_VALUES],
            buttons=values[-1],
        )


def button_bit(button: str) -> int:
    """Of a button's name in `REMOTE_BUTTONS`, its bit in `Sensed.buttons`; 0 for `"none"`."""
    return 1 << REMOTE_BUTTONS.index(button) if button in REMOTE_BUTTONS else 0
