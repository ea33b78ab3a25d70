# SPDX-License-Identifier: Apache-2.0
"""What a motor reports about itself, in words.

`MotorState.motorstate` is a set of bits, which Unitree lists for the G1, whose low-level messages are the H1-2's
(support.unitree.com/home/en/G1_developer/common_istakes_and_definitions, "Motor status information"); its examples take
any but 0 for an error. What a bit means depends on the generation of the motor's driver, in `MotorState.reserve[2]` (a
user of an H1-2, smorales2405/h1_2_utec:docs/CAPACITACION_H1_2.md: where that is 0, 0x2 is over-voltage, 0x4 an
overheated driver, 0x8 under-voltage, 0x10 an overheated winding, 0x20 the encoder); so a meaning is given as the G1's.
`MotorState.mode` is 1 for an enabled motor, 0 for a disabled one; other modes brake, or worse. Bits that are harmless
on one robot can be named; they are reported once and force nothing. A mode cannot.
"""

from __future__ import annotations

from collections.abc import Iterable

from h1_training_bringup.arm_driver.joints import MOTOR_DISABLED, MOTOR_ENABLED

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
