# SPDX-License-Identifier: Apache-2.0
"""Where the arms are commanded to be at 250 Hz: within speed and acceleration, smooth, and never beyond a target.

`Tracker` pursues a reference so that at every instant it could still stop at it; so, whatever the references are, the
commanded position never leaves the hull of where it started and what it was asked for. Its acceleration jumps; the
mean over the last five periods, which is what goes out, keeps all bounds and makes the acceleration continuous.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, VELOCITY, Joints

PERIOD_S = 0.004
WINDOW = 5
ACTION_TICKS = 5
"""Periods from one 50 Hz action to the next."""

_MIN_JERK_PEAK_SPEED = 1.875
_MIN_JERK_PEAK_ACCELERATION = 5.7735
"""Of a minimum-jerk move over unit distance in unit time."""
_ZEROS = np.zeros(COUNT)
_BOUND_STEP_RAD = VELOCITY * PERIOD_S
"""No arm moves faster than its motors can turn, so no command needs to, to stay near it."""


def minimum_jerk(share: float) -> float:
    """Of the way, after this share of the time, 0..1: from rest to rest with the least jerk."""
    return share**3 * (10 - 15 * share + 6 * share**2)


def stopping_speed(distance: Joints, acceleration: Joints) -> Joints:
    """The greatest speed from which braking, period by period, still ends within `distance` (both >= 0).

    Counted in periods, not continuously: k, k-1, ... periods' worth of acceleration must sum up to the distance, or a
    strict limit would be overrun by a fraction of a period's way.
    """
    return _stopping_speed(distance * (8 / (acceleration * PERIOD_S**2)), acceleration * (PERIOD_S / 2))


def _stopping_speed(eighths: Joints, half_step: Joints) -> Joints:
    """The same, of the distance in eighths of the first period's way, and half the speed that a period takes away."""
    periods = np.floor(np.sqrt(eighths + 1) * 0.5 + 0.5)
    speed: Joints = (eighths * 0.25 / periods + (periods - 1)) * half_step
    return speed


class Tracker:
    """The commanded trajectory of all arm joints; one call of `follow` or `brake` each period.

    Args:
        speed, acceleration: (14,), rad/s, rad/s².
    """

    def __init__(self, speed: Joints, acceleration: Joints) -> None:
        self._speed, self._acceleration = speed, acceleration
        self._speed_step = acceleration * PERIOD_S
        self._eighths, self._half_step = 8 / (acceleration * PERIOD_S**2), self._speed_step / 2
        self._rests = False
        self._history = np.zeros((WINDOW, COUNT))
        self._slot = 0
        self._position, self._velocity = np.zeros(COUNT), np.zeros(COUNT)
        self.q, self.dq = np.zeros(COUNT), np.zeros(COUNT)

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves any more, the mean included."""
        self._rests = self._rests or not (self._velocity.any() or self.dq.any())
        return self._rests

    @property
    def position(self) -> Joints:
        """rad, the end of the trajectory, a little ahead of what goes out."""
        return self._position

    @property
    def velocity(self) -> Joints:
        """rad/s, there."""
        return self._velocity

    @property
    def stopping_point(self) -> Joints:
        """rad, where the trajectory ends if it brakes from now on."""
        v, step = np.abs(self._velocity), self._speed_step
        whole = np.floor(v / step)
        travel = (whole * v - step * whole * (whole + 1) / 2) * PERIOD_S
        point: Joints = self._position + np.sign(self._velocity) * travel
        return point

    def restart(self, q: Joints, dq: Joints | None = None) -> None:
        """Restart at `q` with velocity `dq` (bounded by the limits; default: at rest)."""
        self.q = np.array(q, float)
        self.dq = np.zeros(COUNT) if dq is None else np.clip(dq, -self._speed, self._speed)
        self._velocity = self.dq
        # As if it had come with that velocity: the mean is at `q`, the pursuit itself two periods ahead of it.
        self._history[:] = self.q + (np.arange(WINDOW) - (WINDOW - 1) / 2)[:, None] * PERIOD_S * self.dq
        self._position = self._history[-1].copy()
        self._slot = 0
        self._rests = False

    def follow(
        self, reference: Joints, scale: float = 1.0, may_go: Callable[[Joints, Joints, Joints], bool] | None = None
    ) -> bool:
        """One period towards `reference`; whether it was taken, or braked instead.

        Args:
            reference: (14,), rad.
            scale: share of the speed.
            may_go: judges where the period would lead: position, velocity, and the acceleration to brake with.
        """
        error = reference - self._position
        speed = self._speed if scale == 1.0 else scale * self._speed
        velocity = self._towards(
            np.copysign(np.minimum(_stopping_speed(np.abs(error) * self._eighths, self._half_step), speed), error)
        )
        position = self._position + velocity * PERIOD_S
        if may_go is not None and not may_go(position, velocity, self._acceleration):
            self.brake()
            return False
        self._advance(position, velocity)
        return True

    def brake(self) -> None:
        """One period towards standstill."""
        velocity = self._towards(_ZEROS)
        self._advance(self._position + velocity * PERIOD_S, velocity)

    def bound(self, low: Joints, high: Joints) -> bool:
        """Pull the command into `low`..`high`, where it stops; whether any joint had to be.

        At once, but for a single reading that was wrong: faster than its motor no joint's command is pulled.
        """
        outside = (self.q < low) | (self.q > high)
        if not outside.any():
            return False
        self.q = np.clip(np.clip(self.q, low, high), self.q - _BOUND_STEP_RAD, self.q + _BOUND_STEP_RAD)
        self._position[outside] = self.q[outside]
        self._history[:, outside] = self.q[outside]
        self._velocity[outside] = 0.0
        self.dq[outside] = 0.0
        return True

    def _towards(self, wanted: Joints) -> Joints:
        """The velocity of the next period, if `wanted` is to be reached."""
        change: Joints = np.maximum(np.minimum(wanted - self._velocity, self._speed_step), -self._speed_step)
        return self._velocity + change

    def _advance(self, position: Joints, velocity: Joints) -> None:
        self._position, self._velocity, self._rests = position, velocity, False
        self._history[self._slot] = position
        self._slot = (self._slot + 1) % WINDOW
        mean = np.add.reduce(self._history) / WINDOW
        self.dq = (mean - self.q) / PERIOD_S
        self.q = mean


class Interpolator:
    """From one 50 Hz target to the next in a straight line, so that the pursuit sees no stairs."""

    def __init__(self, q: Joints) -> None:
        self.reference = q.copy()
        self._goal, self._stride, self._ticks_left = self.reference, _ZEROS, 0

    def aim(self, target: Joints) -> None:
        """A new target, to be reached in one action's period."""
        self._goal, self._ticks_left = target.copy(), ACTION_TICKS
        self._stride = (target - self.reference) / ACTION_TICKS

    def step(self) -> Joints:
        """The reference of this period."""
        if self._ticks_left:
            self._ticks_left -= 1
            self.reference = self.reference + self._stride if self._ticks_left else self._goal
        return self.reference


class MinimumJerk:
    """A straight move in joint space from rest to rest; all joints arrive together.

    Args:
        start, goal: (14,), rad.
        speed: rad/s, greatest speed of any joint.
        acceleration: (14,), rad/s².
    """

    def __init__(self, start: Joints, goal: Joints, speed: float, acceleration: Joints) -> None:
        self._start, self._way = start.copy(), goal - start
        distance = np.abs(self._way)
        slowest = float((_MIN_JERK_PEAK_SPEED * distance / speed).max())
        hardest = float(np.sqrt(_MIN_JERK_PEAK_ACCELERATION * distance / acceleration).max())
        self.duration_s = max(slowest, hardest, 10 * PERIOD_S)
        self._elapsed_s = 0.0

    @property
    def done(self) -> bool:
        return self._elapsed_s >= self.duration_s

    def step(self) -> Joints:
        """The position one period later."""
        self._elapsed_s += PERIOD_S
        return self._start + self._way * minimum_jerk(min(self._elapsed_s / self.duration_s, 1.0))
