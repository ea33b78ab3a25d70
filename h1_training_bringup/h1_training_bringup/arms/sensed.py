"""What one robot state says about the arms, in the units and order that the rest of this package works in."""

from __future__ import annotations

from dataclasses import dataclass

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
from h1_training_bringup.arms.wire import Record

_RANGE_TOLERANCE_RAD = 0.3
"""A joint measured further outside its range than this is a bad reading."""
_MOTORS = slice(WAIST_MOTOR, ARM_MOTORS.stop)


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
        motors = record["motor_state"][_MOTORS]
        positions = motors["q"].astype(float)
        q, dq, tau_est = positions[1:], motors["dq"][1:].astype(float), motors["tau_est"][1:].astype(float)
        down = gravity_direction(record["imu_state"]["quaternion"])
        # A sum is finite only if every part is; comparisons with NaN are false.
        if down is None or not np.isfinite(positions.sum() + dq.sum() + tau_est.sum()):
            return None
        if (q < LOWER - _RANGE_TOLERANCE_RAD).any() or (q > UPPER + _RANGE_TOLERANCE_RAD).any():
            return None
        remote = record["wireless_remote"]
        return cls(
            stamp_ns=stamp_ns,
            q=q,
            dq=dq,
            tau_est=tau_est,
            temperature=motors["temperature"][1:].max(axis=1),
            waist_q=float(positions[0]),
            down=down,
            mode_machine=int(record["mode_machine"]),
            enabled=not (motors["mode"] == MOTOR_DISABLED).any(),
            buttons=int(remote[REMOTE_BUTTONS_OFFSET]) | int(remote[REMOTE_BUTTONS_OFFSET + 1]) << 8,
        )

    def pressed(self, button: str) -> bool:
        """Whether the remote's `button` is down; `"none"` never is."""
        return button in REMOTE_BUTTONS and bool(self.buttons >> REMOTE_BUTTONS.index(button) & 1)
