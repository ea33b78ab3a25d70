# SPDX-License-Identifier: Apache-2.0
"""InjectedFaults that a test, or a person who trains, may cause in the simulated robot: one line of text each.

They come as `std_msgs/String` on `sim/robot/fault`; `COMMANDS` is the list, and what an unknown line is answered with.
Everything that is caused here is on the wire as it would be on a robot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT, REMOTE_BUTTONS, WAIST_MOTOR
from h1_training_bringup.arm_driver.robot_model import SIDES
from h1_training_bringup.arm_driver.wire import MOTORS
from h1_training_bringup.sim.robot_body import DOFS
from h1_training_bringup.sim.robot_state import Anomalies

_LARGEST_PAYLOAD_KG, _LARGEST_FORCE_N = 5.0, 100.0


class FaultError(ValueError):
    """A line that is no fault; the text says what would be one."""


@dataclass
class InjectedFaults:
    """What is wrong with the robot now.

    Attributes:
        anomalies: of the state that it reports.
        silent: it publishes no state.
        repeats: it publishes the same state again and again.
        state_divisor: only every n-th state is published.
        stuck: (15,), joints of waist and arms that do not move.
        payload_kg: by side, what somebody has put into a hand.
        push_n: (2, 3), N, pelvis frame: what pushes at the wrists, besides the person.
    """

    anomalies: Anomalies = field(default_factory=Anomalies)
    silent: bool = False
    repeats: bool = False
    state_divisor: int = 1
    stuck: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(DOFS, bool))
    payload_kg: dict[int, float] = field(default_factory=dict)
    push_n: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))


def apply_fault(faults: InjectedFaults, line: str) -> InjectedFaults:
    """What is wrong after `line`, e.g. `"temperature 16 95"`; `"clear"` makes all well.

    Raises:
        FaultError: unknown, or with arguments that it cannot have.
    """
    name, *arguments = line.split() or [""]
    if name == "clear" and not arguments:
        return InjectedFaults()
    if name not in COMMANDS:
        raise FaultError(f"unknown fault '{line}'; known are: clear, {', '.join(usage for usage, _ in _TABLE)}")
    usage, action = COMMANDS[name]
    try:
        action(faults, *arguments)
    except (TypeError, ValueError) as error:
        raise FaultError(f"cannot do '{line}': {error}; expected: {usage}") from None
    return faults


def _tick_offset(faults: InjectedFaults, ticks: str) -> None:
    faults.anomalies.tick_offset = int(_within(ticks, -(2**31), 2**31, "ticks"))


def _motor_mode(faults: InjectedFaults, motor: str, mode: str) -> None:
    faults.anomalies.modes[_dof(motor) + WAIST_MOTOR] = int(_within(mode, 0, 255, "mode"))


def _motorstate(faults: InjectedFaults, motor: str, code: str) -> None:
    faults.anomalies.motorstates[_dof(motor) + WAIST_MOTOR] = int(_within(code, 0, 2**32 - 1, "motorstate"))


def _encoder_offset(faults: InjectedFaults, motor: str, radians: str) -> None:
    faults.anomalies.offset_rad[_dof(motor)] = _within(radians, -6.3, 6.3, "rad")


def _slow_state(faults: InjectedFaults, divisor: str) -> None:
    faults.state_divisor = int(_within(divisor, 1, 500, "n"))


def _motor_disabled(faults: InjectedFaults, motor: str) -> None:
    faults.anomalies.disabled[_dof(motor)] = True


def _temperature(faults: InjectedFaults, motor: str, celsius: str) -> None:
    index = int(_within(motor, 0, MOTORS - 1, "motor index"))
    faults.anomalies.temperature_c[index] = int(_within(celsius, -40, 200, "degrees Celsius"))


def _tilt(faults: InjectedFaults, radians: str) -> None:
    faults.anomalies.tilt_rad = _within(radians, -3.15, 3.15, "rad")


def _mode_machine(faults: InjectedFaults, value: str) -> None:
    faults.anomalies.mode_machine = int(_within(value, 0, 255, "mode_machine"))


def _remote_button(faults: InjectedFaults, *names: str) -> None:
    if unknown := set(names) - set(REMOTE_BUTTONS):
        raise ValueError(f"no button {sorted(unknown)}; there are {' '.join(REMOTE_BUTTONS)}")
    faults.anomalies.buttons = frozenset(names)


def _stuck(faults: InjectedFaults, motor: str) -> None:
    faults.stuck[_dof(motor)] = True


def _payload(faults: InjectedFaults, side: str, mass: str) -> None:
    faults.payload_kg[SIDES.index(side)] = _within(mass, 0, _LARGEST_PAYLOAD_KG, "kg")


def _push(faults: InjectedFaults, side: str, *force: str) -> None:
    if len(force) != len("xyz"):
        raise ValueError(f"{len(force)} components of a force")
    faults.push_n[SIDES.index(side)] = [_within(value, -_LARGEST_FORCE_N, _LARGEST_FORCE_N, "N") for value in force]


def _within(text: str, low: float, high: float, what: str) -> float:
    value = float(text)
    if not low <= value <= high:
        raise ValueError(f"{what} {text} is not within {low} .. {high}")
    return value


def _dof(motor: str) -> int:
    return int(_within(motor, WAIST_MOTOR, WAIST_MOTOR + COUNT, "motor index")) - WAIST_MOTOR


_TABLE: tuple[tuple[str, Callable[..., None]], ...] = (
    ("stop_state", lambda faults: setattr(faults, "silent", True)),
    ("repeat_state", lambda faults: setattr(faults, "repeats", True)),
    ("freeze_arms", lambda faults: setattr(faults.anomalies, "is_frozen", True)),
    ("tick_offset N", _tick_offset),
    ("motor_mode MOTOR MODE", _motor_mode),
    ("motorstate MOTOR CODE", _motorstate),
    ("encoder_offset MOTOR RADIANS", _encoder_offset),
    ("slow_state N (publish every N-th)", _slow_state),
    ("bad_crc", lambda faults: setattr(faults.anomalies, "wrong_crc", True)),
    ("motor_disabled MOTOR (12..26)", _motor_disabled),
    ("temperature MOTOR CELSIUS", _temperature),
    ("tilt RADIANS", _tilt),
    ("mode_machine VALUE", _mode_machine),
    ("remote_button NAME... (none: let go)", _remote_button),
    ("stuck MOTOR (12..26)", _stuck),
    ("payload left|right KG", _payload),
    ("push left|right X Y Z (N)", _push),
)
COMMANDS = {usage.split()[0]: (usage, action) for usage, action in _TABLE}
"""By name: usage and action."""
