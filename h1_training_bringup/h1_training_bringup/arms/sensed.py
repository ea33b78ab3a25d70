"""What one robot state says about the arms, in the units and order that the rest of this package works in."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arms.joints import (
    ARM_MOTORS,
    LOWER,
    MOTOR_DISABLED,
    REMOTE_BUTTONS,
    REMOTE_BUTTONS_OFFSET,
    UPPER,
    WAIST_MOTOR,
    Joints,
)
from h1_training_bringup.arms.robot_model import gravity_direction
from h1_training_bringup.arms.wire import LOW_STATE, MOTOR_STATE, Record

_RANGE_TOLERANCE_RAD = 0.3
"""A joint measured further outside its range than this is a bad reading."""
_MIDDLE, _HALF_RANGE = (LOWER + UPPER) / 2, (UPPER - LOWER) / 2 + _RANGE_TOLERANCE_RAD

_MOTOR_COUNT = ARM_MOTORS.stop - WAIST_MOTOR
_FIRST_BYTE = LOW_STATE.fields["motor_state"][1] + WAIST_MOTOR * MOTOR_STATE.itemsize  # type: ignore[index]
_MOTORS_BYTES = slice(_FIRST_BYTE, _FIRST_BYTE + _MOTOR_COUNT * MOTOR_STATE.itemsize)
"""Waist and arms within a LowState."""
_FLOATS, _TEMPERATURES = slice(4, 20), slice(20, 24)
"""Within a motor: q, dq, ddq, tau_est; and its two temperatures."""


@dataclass(frozen=True)
class Sensed:
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
    temperature: NDArray[np.int16]
    waist_q: float
    down: NDArray[np.float64]
    mode_machine: int
    enabled: bool
    buttons: int

    @classmethod
    def from_record(cls, record: Record, stamp_ns: int) -> Sensed | None:
        """The reading of a LowState (C layout); None if it cannot be right: not finite, far out of range, no IMU."""
        # Column by column through the structured dtype this takes three times as long.
        motors = record.reshape(1).view(np.uint8)[_MOTORS_BYTES].reshape(_MOTOR_COUNT, MOTOR_STATE.itemsize)
        values = motors[:, _FLOATS].copy().view("<f4").T.astype(float)
        down = gravity_direction(record["imu_state"]["quaternion"].tolist())
        # A sum is finite only if every part is.
        if down is None or not isfinite(values.sum()):
            return None
        q = values[0, 1:]
        if (np.abs(q - _MIDDLE) > _HALF_RANGE).any():
            return None
        temperatures = motors[1:, _TEMPERATURES].copy().view("<i2")
        remote = record["wireless_remote"]
        return cls(
            stamp_ns=stamp_ns,
            q=q,
            dq=values[1, 1:],
            tau_est=values[3, 1:],
            temperature=np.maximum(temperatures[:, 0], temperatures[:, 1]),
            waist_q=float(values[0, 0]),
            down=down,
            mode_machine=int(record["mode_machine"]),
            enabled=bool((motors[:, 0] != MOTOR_DISABLED).all()),
            buttons=int(remote[REMOTE_BUTTONS_OFFSET]) | int(remote[REMOTE_BUTTONS_OFFSET + 1]) << 8,
        )

    def pressed(self, button: str) -> bool:
        """Whether the remote's `button` is down; `"none"` never is."""
        return button in REMOTE_BUTTONS and bool(self.buttons >> REMOTE_BUTTONS.index(button) & 1)
