# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's LowState: what the body measures, and plausible values for all the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import (
    COUNT,
    MOTOR_DISABLED,
    MOTOR_ENABLED,
    REMOTE_BUTTONS,
    REMOTE_BUTTONS_OFFSET,
    WAIST_MOTOR,
)
from h1_training_bringup.arm_driver.robot_model import GRAVITY_M_S2
from h1_training_bringup.arm_driver.wire import encode_low_state, new_low_state
from h1_training_bringup.sim.robot_body import DOFS, Dofs

REAL_MOTORS = 27
_MOTORS = slice(WAIST_MOTOR, WAIST_MOTOR + 1 + COUNT)
_LEG_Q = (0.0, -0.16, 0.0, 0.36, -0.2, 0.0)
_LEG_TAU = (0.0, -8.0, 2.0, 22.0, -6.0, 0.5)
"""A slight crouch, hip yaw to ankle roll, rad and N·m; the same on both sides, and still."""
_AMBIENT_C, _LEG_C, _WINDING_OVER_CASE_C = 33.0, 41.0, 4
_HEATING_C_PER_NM2, _HEATING_S, _HEATING_PERIOD_MS = 0.08, 240.0, 20
"""A motor that holds 10 N·m settles 8 degrees above ambient, within minutes."""
_SUPPLY_V = 52.3
_REMOTE_HEAD = (0x55, 0x51)
_NOISE_Q_RAD, _NOISE_DQ, _NOISE_TAU_NM, _NOISE_GYRO = 5e-5, 5e-3, 0.03, 2e-3


@dataclass
class Anomalies:
    """What is not as it should be with the state; tests set it (see `robot_faults`).

    Attributes:
        wrong_crc: the checksum of every state is wrong.
        disabled: (15,), motors of waist and arms that report `mode` 0 and are without torque.
        modes, motorstates: by motor index, what else a motor reports as its `mode`, and as its `motorstate`.
        offset_rad: (15,), by which an encoder is wrong.
        is_frozen: the arms' values stay what they were, whatever the arms do; the tick goes on.
        tick_offset: added to the tick, which has jumped or gone back.
        temperature_c: by motor index 0..34, what its winding reports.
        tilt_rad: the robot leans over its left side by this much.
        mode_machine: reported instead of the robot's own.
        buttons: of the remote, held down.
    """

    wrong_crc: bool = False
    disabled: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(DOFS, bool))
    modes: dict[int, int] = field(default_factory=dict)
    motorstates: dict[int, int] = field(default_factory=dict)
    offset_rad: NDArray[np.float64] = field(default_factory=lambda: np.zeros(DOFS))
    is_frozen: bool = False
    tick_offset: int = 0
    temperature_c: dict[int, int] = field(default_factory=dict)
    tilt_rad: float = 0.0
    mode_machine: int | None = None
    buttons: frozenset[str] = frozenset()


def tilt_quaternion(tilt_rad: float) -> NDArray[np.float64]:
    """(w, x, y, z) of a robot that leans over its side."""
    return np.array([np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0.0, 0.0])


class StateWriter:
    """Fills and encodes LowState samples.

    Args:
        mode_machine: the robot's type as it reports it.
        seed: of the noise of the encoders.
    """

    def __init__(self, mode_machine: int, seed: int) -> None:
        self._mode_machine = mode_machine
        self._random = np.random.default_rng([4, seed])
        self._case_c = np.full(REAL_MOTORS, _LEG_C)
        self._case_c[_MOTORS] = _AMBIENT_C
        self._last_heating_ms = -_HEATING_PERIOD_MS
        self._record = new_low_state()
        self._record["version"] = (1, 0)
        motors = self._record["motor_state"]
        motors["mode"][:REAL_MOTORS] = MOTOR_ENABLED
        motors["vol"][:REAL_MOTORS] = _SUPPLY_V
        for first in (0, len(_LEG_Q)):
            motors["q"][first : first + len(_LEG_Q)] = _LEG_Q
            motors["tau_est"][first : first + len(_LEG_TAU)] = _LEG_TAU

    def sample(self, q: Dofs, dq: Dofs, ddq: Dofs, tau: Dofs, tick_ms: int, anomalies: Anomalies) -> bytes:
        """One LowState as CDR bytes. `q`, `dq`, `ddq`, `tau`: (15,), waist and arms; `tick_ms`: the robot's time."""
        record, noise = self._record, self._random.standard_normal((3, DOFS))
        motors = record["motor_state"]
        if not anomalies.is_frozen:
            motors["q"][_MOTORS] = q + anomalies.offset_rad + _NOISE_Q_RAD * noise[0]
            motors["dq"][_MOTORS] = dq + _NOISE_DQ * noise[1]
            motors["ddq"][_MOTORS] = ddq
            motors["tau_est"][_MOTORS] = tau + _NOISE_TAU_NM * noise[2]
        motors["mode"][_MOTORS] = np.where(anomalies.disabled, MOTOR_DISABLED, MOTOR_ENABLED)
        motors["motorstate"] = 0
        for name, values in (("mode", anomalies.modes), ("motorstate", anomalies.motorstates)):
            for motor, value in values.items():
                motors[name][motor] = value
        self._heat(tau, tick_ms, anomalies.temperature_c)
        self._write_imu(anomalies.tilt_rad)
        self._write_remote(anomalies.buttons)
        record["tick"] = (tick_ms + anomalies.tick_offset) & 0xFFFFFFFF
        record["mode_machine"] = self._mode_machine if anomalies.mode_machine is None else anomalies.mode_machine
        sample = encode_low_state(record)
        return sample[:-4] + bytes(byte ^ 0xFF for byte in sample[-4:]) if anomalies.wrong_crc else sample

    def _heat(self, tau: Dofs, tick_ms: int, overrides: dict[int, int]) -> None:
        if (elapsed_ms := tick_ms - self._last_heating_ms) < _HEATING_PERIOD_MS:
            return
        self._last_heating_ms = tick_ms
        arms = self._case_c[_MOTORS]
        arms += (_AMBIENT_C + _HEATING_C_PER_NM2 * tau * tau - arms) * min(elapsed_ms / 1e3 / _HEATING_S, 1.0)
        temperature = self._record["motor_state"]["temperature"]
        temperature[:REAL_MOTORS, 0] = self._case_c
        temperature[:REAL_MOTORS, 1] = self._case_c + _WINDING_OVER_CASE_C
        for motor, celsius in overrides.items():
            temperature[motor] = (celsius - _WINDING_OVER_CASE_C, celsius)

    def _write_imu(self, tilt_rad: float) -> None:
        imu = self._record["imu_state"]
        imu["quaternion"] = tilt_quaternion(tilt_rad)
        imu["rpy"] = (tilt_rad, 0.0, 0.0)
        imu["gyroscope"] = _NOISE_GYRO * self._random.standard_normal(3)
        imu["accelerometer"] = (0.0, GRAVITY_M_S2 * np.sin(tilt_rad), GRAVITY_M_S2 * np.cos(tilt_rad))
        imu["temperature"] = 45

    def _write_remote(self, buttons: frozenset[str]) -> None:
        bits = sum(1 << REMOTE_BUTTONS.index(name) for name in buttons)
        remote = self._record["wireless_remote"]
        remote[:2] = _REMOTE_HEAD
        remote[REMOTE_BUTTONS_OFFSET : REMOTE_BUTTONS_OFFSET + 2] = (bits & 0xFF, bits >> 8)
