# SPDX-License-Identifier: Apache-2.0
"""Six fingers that move as the manual says: at SPEED_SET's rate towards ANGLE_SET, until FORCE_SET stops them.

No dynamics: a finger of the real hand is a screw-driven, self-locking actuator that runs at constant speed, so its
angle over time is a straight line. Numbers of force and current are plausible, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from h1_inspire_driver.registers import ANGLE_UNITS, FINGERS, LEAVE

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
