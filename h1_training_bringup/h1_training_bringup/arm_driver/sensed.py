# SPDX-License-Identifier: Apache-2.0
"""What one robot state says about the arms, in the units and order that the rest of this package works in.

`MotorState.motorstate` is a set of bits, which Unitree lists for the G1, whose low-level messages are the H1-2's
(support.unitree.com/home/en/G1_developer/common_istakes_and_definitions, "Motor status information"); its examples take
any but 0 for an error. What a bit means depends on the generation of the motor's driver, in `MotorState.reserve[2]` (a
user of an H1-2, smorales2405/h1_2_utec:docs/CAPACITACION_H1_2.md: where that is 0, 0x2 is over-voltage, 0x4 an
overheated driver, 0x8 under-voltage, 0x10 an overheated winding, 0x20 the encoder); so a meaning is given as the G1's.
`MotorState.mode` is 1 for an enabled motor, 0 for a disabled one; other modes brake, or worse. Bits that are harmless
on one robot can be named; they are reported once and force nothing. A mode cannot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from math import isfinite
from operator import le
from typing import NamedTuple

import numpy as np

from h1_training_bringup.arm_driver.joints import (
    ARM_MOTORS,
    COUNT,
    LOWER,
    MOTOR_DISABLED,
    MOTOR_ENABLED,
    NAMES,
    REMOTE_BUTTONS,
    REMOTE_BUTTONS_OFFSET,
    TORSO,
    UPPER,
    WAIST_MOTOR,
    WAIST_NAME,
    Joints,
)
from h1_training_bringup.arm_driver.robot_model import gravity_direction
from h1_training_bringup.arm_driver.wire import MOTOR_STATE, MOTORS, Record

BITS = {
    0x1: "over-current",
    0x2: "transient over-voltage",
    0x4: "sustained over-voltage",
    0x8: "transient under-voltage",
    0x10: "chip overheated",
    0x20: "MOSFET overheated or undercooled",
    0x40: "MOSFET temperature abnormal",
    0x80: "housing overheated or undercooled",
    0x100: "housing temperature abnormal",
    0x200: "winding overheated",
    0x400: "rotor encoder 1",
    0x800: "rotor encoder 2",
    0x1000: "output encoder",
    0x2000: "calibration or boot data",
    0x4000: "abnormal reset",
    0x8000: "locked, authentication",
    0x10000: "chip validation",
    0x20000: "calibration mode",
    0x40000: "communication check",
    0x80000: "driver version too low",
    0x40000000: "motor's time-out of its host",
    0x80000000: "host's time-out of its motor",
}


_ALL_BITS = 0xFFFFFFFF


def bits_of(entry: str) -> int:
    """The bits of motorstate that `entry` names: a meaning of `BITS`, or hex digits after `0x`.

    Raises:
        ValueError: it names none; the text goes behind the parameter's name.
    """
    for bit, meaning in BITS.items():
        if entry == meaning:
            return bit
    try:
        bits = int(entry, 16) if entry.startswith("0x") else 0
    except ValueError:
        bits = 0
    if not 0 < bits <= _ALL_BITS:
        known = "; ".join(BITS.values())
        raise ValueError(f"has '{entry}'; expected bits as 0x4000, or one of: {known}")
    return bits


def fault_text(names: Iterable[str], modes: Iterable[int], codes: Iterable[int], harmless: int = 0) -> tuple[str, str]:
    """Each motor that is not enabled, or reports a code, with what that means; empty if all are well.

    Args:
        names, modes, codes: of each motor.
        harmless: bits that count as no fault.

    Returns:
        The faults, and what is reported but counts as harmless.
    """
    faults: list[str] = []
    remarks: list[str] = []
    for name, mode, code in zip(names, modes, codes, strict=True):
        if mode != MOTOR_ENABLED:
            faults.append(f"{name} is disabled" if mode == MOTOR_DISABLED else f"{name} is in mode {mode}")
        for bits, found in ((code & ~harmless, faults), (code & harmless, remarks)):
            if bits:
                meaning = ", ".join(text for bit, text in BITS.items() if bits & bit)
                meaning = f"of a G1: {meaning}" if meaning else "no published meaning"
                found.append(f"{name} reports motorstate 0x{bits:X} ({meaning})")
    return ", ".join(faults), ", ".join(remarks)


_RANGE_TOLERANCE_RAD = 0.3
"""Encoders and stops differ by less; a joint measured further outside its range is broken, or its encoder is."""
_LOWEST = (np.r_[TORSO.lower_rad, LOWER] - _RANGE_TOLERANCE_RAD).tolist()
_HIGHEST = (np.r_[TORSO.upper_rad, UPPER] + _RANGE_TOLERANCE_RAD).tolist()
"""Of the waist, then the arms."""
_FARTHEST_RAD = 4 * np.pi
"""No encoder of these joints reads more; what does is no reading at all."""

_EACH = MOTOR_STATE.itemsize
_READ = struct.Struct(
    "<9x B 2x I 4f 40x"  # mode_machine, tick, the IMU's quaternion
    + f"{_EACH}x" * WAIST_MOTOR
    # mode; q, dq, ddq, tau_est; two temperatures; motorstate
    + "B 3x 4f 2h 12x I 16x" * (1 + COUNT)
    + f"{_EACH}x" * (MOTORS - ARM_MOTORS.stop)
    + f"{REMOTE_BUTTONS_OFFSET}x H"
)
"""What is wanted of a LowState, at one go; through the structured dtype it takes five times as long."""
_HEAD, _VALUES = 6, 8
"""Values before the motors, and of each motor."""
_NAMES = (WAIST_NAME, *NAMES)
_ALL_ENABLED, _ALL_WELL = (MOTOR_ENABLED,) * (1 + COUNT), (0,) * (1 + COUNT)


class Sensed(NamedTuple):
    """One good robot state.

    Attributes:
        stamp_ns: when it came off the wire, session clock.
        q, dq, tau_est: (14,), rad, rad/s, N·m.
        temperatures: (14,), °C, of each motor's first sensor, then of its second.
        waist_q: rad.
        down: (3,), direction of gravity in the IMU's frame.
        mode_machine: the robot's own, to be echoed.
        tick: the robot's own count, which advances while it lives.
        motor_fault: what the motors of waist and arms report about themselves, each with its codes; empty if nothing.
        motor_remark: likewise, what of it counts as harmless.
        out_of_range: name of a joint, the waist's among them, that is measured where it cannot be; empty if none is.
        buttons: of the remote, one bit each in the order of `REMOTE_BUTTONS`.
    """

    stamp_ns: int
    q: Joints
    dq: Joints
    tau_est: Joints
    temperatures: tuple[tuple[int, ...], tuple[int, ...]]
    waist_q: float
    down: tuple[float, float, float]
    mode_machine: int
    tick: int
    motor_fault: str
    motor_remark: str
    out_of_range: str
    buttons: int

    @property
    def temperature(self) -> tuple[int, ...]:
        """(14,), °C, the hotter of each motor's two sensors."""
        return tuple(map(max, *self.temperatures))

    @classmethod
    def from_record(cls, record: Record | bytes, stamp_ns: int, harmless_bits: int = 0) -> Sensed | None:
        """The reading of a LowState (C layout); None if it cannot be right: not finite, no angle, no IMU.

        Args:
            record: the state, or its bytes.
            stamp_ns: when it came off the wire.
            harmless_bits: of `motorstate`, which are no fault.
        """
        # 250 times a second, out of cold caches: there Python's own tools are the faster ones for so few numbers, and
        # what is needed less often (the hotter of two sensors) is left for then.
        values = _READ.unpack_from(record)  # type: ignore[arg-type]
        motors, arms = values[_HEAD:-1], values[_HEAD + _VALUES : -1]
        positions = motors[1::_VALUES]
        down = gravity_direction(values[2:_HEAD])
        # A sum is finite only if every part is.
        if down is None or not isfinite(sum(motors)):
            return None
        is_within = all(map(le, _LOWEST, positions)) and all(map(le, positions, _HIGHEST))
        if not is_within and max(map(abs, positions)) > _FARTHEST_RAD:
            return None
        fault = remark = ""
        if motors[::_VALUES] != _ALL_ENABLED or motors[7::_VALUES] != _ALL_WELL:
            fault, remark = fault_text(_NAMES, motors[::_VALUES], motors[7::_VALUES], harmless_bits)
        return cls(
            stamp_ns=stamp_ns,
            q=np.array(positions[1:]),
            dq=np.array(arms[2::_VALUES]),
            tau_est=np.array(arms[4::_VALUES]),
            temperatures=(arms[5::_VALUES], arms[6::_VALUES]),
            waist_q=motors[1],
            down=down,
            mode_machine=values[0],
            tick=values[1],
            motor_fault=fault,
            motor_remark=remark,
            out_of_range="" if is_within else _first_outside(positions),
            buttons=values[-1],
        )


def _first_outside(positions: tuple[float, ...]) -> str:
    within = [low <= q <= high for low, q, high in zip(_LOWEST, positions, _HIGHEST, strict=True)]
    return _NAMES[within.index(False)]


def button_bit(button: str) -> int:
    """Of a button's name in `REMOTE_BUTTONS`, its bit in `Sensed.buttons`; 0 for `"none"`."""
    return 1 << REMOTE_BUTTONS.index(button) if button in REMOTE_BUTTONS else 0
