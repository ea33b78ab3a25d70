"""HOLD, HOME and POLICY: where the arms are commanded to be, bounded by what the arms really do."""

from __future__ import annotations

import numpy as np

from h1_training_bringup.arm_driver.joints import NAMES, Joints
from h1_training_bringup.arm_driver.parameters import ArmParameters, JointSettings
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.trajectory import (
    PERIOD_S,
    WINDOW,
    Interpolator,
    MinimumJerk,
    Tracker,
    stopping_speed,
)
from h1_training_node.message_numbers import ArmMode

_BLOCKED_SHARE = 0.8
"""Of the greatest lead: a joint that lags by more is being held back."""
_SETTLE_PERIODS = round(2.0 / PERIOD_S)
"""How long the measured arms may take to follow to the home pose."""


class StiffArms:
    """The commanded trajectory in the modes that hold the arms to a position.

    The commanded position never leads the measured one by more than `spring_nm / kp`, so that the motor's spring never
    asks for more than `spring_nm`, whatever holds the arm.

    Attributes:
        limited: a limit has changed the command; whoever reports it resets it.
        home_result: set when HOME is over: `"home_reached"` or `"home_missed"`.
    """

    def __init__(self, joints: JointSettings, parameters: ArmParameters) -> None:
        self._speed = joints.speed * parameters.speed_scale
        self._nearly_full_speed = 0.999 * self._speed
        self._acceleration = joints.acceleration
        self._lower, self._upper = joints.lower, joints.upper
        self._lead = joints.spring_nm / joints.kp
        self._tracker = Tracker(self._speed, self._acceleration)
        self._interpolator = Interpolator(self._tracker.q)
        self._home = np.clip(np.array(parameters.home_pose_rad), self._lower, self._upper)
        self._home_speed = parameters.home_speed_rad_s * parameters.speed_scale
        self._home_tolerance = parameters.home_tolerance_rad
        self._move: MinimumJerk | None = None
        self._settling = 0
        self._blocked_ns = round(parameters.blocked_s * 1e9)
        self._blocked_since_ns: int | None = None
        self._worst, self._lag = 0, 0.0
        self._gives_in_at: Joints | None = None
        self.limited = False
        self.home_result = ""

    @property
    def q(self) -> Joints:
        """(14,), rad, commanded."""
        return self._tracker.q

    @property
    def dq(self) -> Joints:
        """(14,), rad/s, commanded."""
        return self._tracker.dq

    def start(self, sensed: Sensed, *, at_rest: bool = False) -> None:
        """From the measured pose, with the measured speed where there is way left to brake in."""
        low, high = self._safe_speed(sensed.q - self._lower), self._safe_speed(self._upper - sensed.q)
        self._tracker.restart(sensed.q, None if at_rest else np.clip(sensed.dq, -low, high))
        self._blocked_since_ns = None

    def enter(self, mode: ArmMode) -> None:
        """`mode` begins, from wherever the trajectory is."""
        self._move, self._settling, self.home_result = None, 0, ""
        self._blocked_since_ns = self._gives_in_at = None
        if mode is ArmMode.POLICY:
            self._interpolator = Interpolator(self._tracker.stopping_point)

    def give_in(self, sensed: Sensed) -> None:
        """In HOLD, to the measured pose: what holds an arm back is not fought. There in a few periods, not in one."""
        self._gives_in_at = sensed.q

    def aim(self, positions: Joints) -> None:
        """The policy's newest positions, (14,), rad; finite."""
        target = np.clip(positions, self._lower, self._upper)
        self.limited |= bool((target != positions).any())
        self._interpolator.aim(target)

    def step(self, mode: ArmMode, sensed: Sensed) -> None:
        """One period of `mode`."""
        if mode is ArmMode.POLICY:
            self._tracker.follow(self._interpolator.step())
            self.limited |= bool((np.abs(self._tracker.dq) >= self._nearly_full_speed).any())
        elif mode is ArmMode.HOME:
            self._step_home(sensed)
        elif self._gives_in_at is not None:
            if not self._tracker.bound(self._gives_in_at, self._gives_in_at):
                self._gives_in_at = None
        elif not self._tracker.at_rest:
            self._tracker.brake()
        self._check_lag(sensed)

    def blocked_joint(self, now_ns: int) -> str:
        """Name of a joint that has been held back for too long, by the last `step`, or an empty string."""
        if self._lag < _BLOCKED_SHARE:
            self._blocked_since_ns = None
            return ""
        if self._blocked_since_ns is None:
            self._blocked_since_ns = now_ns
        return NAMES[self._worst] if now_ns - self._blocked_since_ns >= self._blocked_ns else ""

    def moved(self, sensed: Sensed, limit: float) -> str:
        """Name of the joint that is the farthest from where it is commanded, if by more than `limit`, rad."""
        error = np.abs(sensed.q - self.q)
        worst = int(error.argmax())
        return NAMES[worst] if error[worst] > limit else ""

    def _safe_speed(self, way_left: Joints) -> Joints:
        """A speed that can be braked well within `way_left`, rad; 0 where there is none."""
        way_left = np.maximum(way_left, 0.0)
        safe: Joints = np.minimum(stopping_speed(way_left, self._acceleration) / 2, way_left / (4 * WINDOW * PERIOD_S))
        return safe

    def _check_lag(self, sensed: Sensed) -> None:
        lag = (self._tracker.q - sensed.q) / self._lead
        if lag.dot(lag) < _BLOCKED_SHARE**2:  # all of them together less than a single one may: nearly always
            self._lag = 0.0
            return
        lag = np.abs(lag)
        self._worst = int(lag.argmax())
        self._lag = float(lag[self._worst])
        if self._lag > 1.0:
            self.limited |= self._tracker.bound(sensed.q - self._lead, sensed.q + self._lead)

    def _step_home(self, sensed: Sensed) -> None:
        if self._move is None:
            self._tracker.brake()
            if self._tracker.at_rest:
                self._move = MinimumJerk(self._tracker.q, self._home, self._home_speed, self._acceleration)
            return
        self._tracker.follow(self._move.step())
        if not self._move.done:
            return
        self._settling += 1
        arrived = self._tracker.at_rest and bool((np.abs(sensed.q - self._home) <= self._home_tolerance).all())
        if arrived or self._settling >= _SETTLE_PERIODS:
            self.home_result = "home_reached" if arrived else "home_missed"
