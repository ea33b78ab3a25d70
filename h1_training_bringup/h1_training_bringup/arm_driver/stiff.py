# SPDX-License-Identifier: Apache-2.0
"""HOLD, HOME and POLICY: where the arms are commanded to be, bounded by what the arms really do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from h1_training_bringup.arm_driver.clearance import Clearance, nearest
from h1_training_bringup.arm_driver.collision_model import CollisionModel, Hand, Table
from h1_training_bringup.arm_driver.home_path import HomePath, Way
from h1_training_bringup.arm_driver.joints import NAMES, Joints
from h1_training_bringup.arm_driver.parameters import ArmParameters, JointSettings
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.trajectory import (
    ACTION_TICKS,
    PERIOD_S,
    WINDOW,
    Interpolator,
    MinimumJerk,
    Tracker,
    stopping_speed,
)
from h1_training_node.message_numbers import ArmMode
from h1_training_node.parameter import ParameterError

_BLOCKED_SHARE = 0.8
"""Of the greatest lead: a joint that lags by more is being held back."""
_SETTLE_PERIODS = round(2.0 / PERIOD_S)
"""How long the measured arms may take to follow to the home pose."""
_SEARCH_STEPS = 4
"""Distances that the search for a way home looks at in a period."""
_MOST_SEARCH_STEPS = 20_000
_SLOWED_SHARE, _INSISTING_RAD = 0.15, 0.03
_INSISTING_PERIODS = round(0.5 / PERIOD_S)
"""So slow, so far from what is asked for, for so long: the policy insists on what cannot be."""


class StiffArms:
    """The commanded trajectory in the modes that hold the arms to a position.

    The commanded position never leads the measured one by more than `spring_nm / kp`, so that the motor's spring never
    asks for more than `spring_nm`, whatever holds the arm.

    Raises:
        ParameterError: home is beyond what is commanded, or too near to the robot's body.

    Attributes:
        limited: a limit has changed the command; whoever reports it resets it.
        home_result: set when HOME is over: `"home_reached"`, `"home_missed"` or `"home_no_way"`.
    """

    def __init__(self, joints: JointSettings, parameters: ArmParameters) -> None:
        self._speed = joints.speed * parameters.speed_scale
        self._nearly_full_speed = 0.999 * self._speed
        self._least_full_speed = float(self._nearly_full_speed.min())
        self._acceleration = joints.acceleration
        self._lower, self._upper = joints.lower, joints.upper
        self._lead = joints.spring_nm / joints.kp
        self._tracker = Tracker(self._speed, self._acceleration)
        self._interpolator = Interpolator(self._tracker.q)
        self._home = np.array(parameters.home_pose_rad)
        if (beyond := (self._home < self._lower) | (self._home > self._upper)).any():
            joint = int(beyond.argmax())
            raise ParameterError(
                f"parameter 'home_pose_rad' has {self._home[joint]:g} rad for {NAMES[joint]}; "
                f"with its margin it is commanded {self._lower[joint]:g} to {self._upper[joint]:g} rad"
            )
        self._home_speed = parameters.home_speed_rad_s * parameters.speed_scale
        self._home_tolerance = parameters.home_tolerance_rad
        self.collisions = collision_model(parameters)
        self._clearance = Clearance(self.collisions, parameters.min_distance_m, parameters.slow_distance_m)
        self._clearance_is_stale = True
        self._min_distance_m = parameters.min_distance_m
        distance, parts = nearest(self.collisions, self._home, 0.0)
        if distance < parameters.min_distance_m:
            raise ParameterError(
                f"parameter 'home_pose_rad': {parts} would be {distance:.3f} m apart there; "
                f"min_distance_m is {parameters.min_distance_m:g} m"
            )
        self._search: Iterator[Way | None] | None = None
        self._searched = self._insisting = self._followed = 0
        self._way: Way = []
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
        self._clearance.start(self._tracker.q, sensed.waist_q)
        self._clearance_is_stale = False
        if not self._clearance.may_go(self._tracker.position, self._tracker.velocity, self._acceleration):
            self._tracker.restart(sensed.q)

    def enter(self, mode: ArmMode) -> None:
        """`mode` begins, from wherever the trajectory is."""
        self._move, self._settling, self.home_result = None, 0, ""
        self._blocked_since_ns = self._gives_in_at = self._search = None
        self._searched = self._insisting = self._followed = 0
        self._way = []
        if mode is ArmMode.POLICY:
            self._interpolator = Interpolator(self._tracker.stopping_point)

    def give_in(self, sensed: Sensed) -> None:
        """In HOLD, to the measured pose: what holds an arm back is not fought. There in a few periods, not in one."""
        self._gives_in_at = sensed.q

    def aim(self, positions: Joints) -> None:
        """The policy's newest positions, (14,), rad; finite."""
        target = np.minimum(np.maximum(positions, self._lower), self._upper)  # a fifth of np.clip's time
        self.limited |= bool((target != positions).any())
        self._interpolator.aim(target)

    def step(self, mode: ArmMode, sensed: Sensed) -> None:
        """One period of `mode`."""
        if mode is ArmMode.POLICY:
            self._follow(self._interpolator.step(), sensed)
            dq = self._tracker.dq
            if dq.dot(dq) >= self._least_full_speed**2:  # else all of them together are less fast than a single one may
                self.limited |= bool((np.abs(dq) >= self._nearly_full_speed).any())
        elif mode is ArmMode.HOME:
            self._step_home(sensed)
        elif self._gives_in_at is not None:
            self._clearance_is_stale = True
            if not self._tracker.bound(self._gives_in_at, self._gives_in_at):
                self._gives_in_at = None
        elif not self._tracker.at_rest:
            self._tracker.brake()
        self._check_lag(sensed)

    def collision_ahead(self) -> str:
        """The parts on whose collision what is asked for has insisted for too long; empty if it has not."""
        return ", ".join(self._clearance.pair) if self._insisting >= _INSISTING_PERIODS else ""

    def _follow(self, reference: Joints, sensed: Sensed) -> None:
        """One period towards `reference`, as far as the robot's own body lets it."""
        tracker, clearance = self._tracker, self._clearance
        if self._clearance_is_stale:
            self._clearance_is_stale = False
            clearance.resume(tracker.position, sensed.waist_q)
            self._followed = 0
        self._followed += 1
        if self._followed % ACTION_TICKS == 1:
            clearance.slow_down(tracker.position, tracker.stopping_point, reference, sensed.waist_q)
        scale = clearance.scale
        goes = tracker.follow(reference, scale, clearance.may_go)
        self.limited |= scale < 1.0 or not goes
        is_held = scale < _SLOWED_SHARE or not goes
        is_asked = is_held and bool((np.abs(reference - tracker.position) > _INSISTING_RAD).any())
        self._insisting = self._insisting + 1 if is_asked else 0

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
            self._clearance_is_stale |= self._tracker.bound(sensed.q - self._lead, sensed.q + self._lead)
            self.limited |= self._clearance_is_stale

    def _step_home(self, sensed: Sensed) -> None:
        """Brake, look for a way, go it from pose to pose, and let the arms arrive."""
        if self._move is None and not self._tracker.at_rest:
            self._tracker.brake()
        elif self._move is None and not self._way:
            self._look_for_way(sensed)
        elif self._move is None:
            self._move = MinimumJerk(self._tracker.q, self._way.pop(0), self._home_speed, self._acceleration)
        else:
            self._follow(self._move.step(), sensed)
            if self._move.done and self._way and self._tracker.at_rest:
                self._move = None
            elif self._move.done and self._tracker.at_rest:
                self._settle(sensed)

    def _look_for_way(self, sensed: Sensed) -> None:
        if self._search is None:
            path = HomePath(self.collisions, self._min_distance_m, self._lower, self._upper)
            self._search = path.search(self._tracker.q, self._home, sensed.waist_q)
        for _ in range(_SEARCH_STEPS):
            self._searched += 1
            way = next(self._search) if self._searched <= _MOST_SEARCH_STEPS else []
            if way is not None:
                self._way = way
                self.home_result = "" if way else "home_no_way"
                return

    def _settle(self, sensed: Sensed) -> None:
        self._settling += 1
        arrived = bool((np.abs(sensed.q - self._home) <= self._home_tolerance).all())
        if arrived or self._settling >= _SETTLE_PERIODS:
            self.home_result = "home_reached" if arrived else "home_missed"


def collision_model(parameters: ArmParameters) -> CollisionModel:
    """The robot's parts as the parameters describe them."""
    table = Table(*parameters.table_m) if parameters.table_m else None
    workspaces = {"left": parameters.workspace_left_m, "right": parameters.workspace_right_m}
    return CollisionModel(Hand(parameters.hand_length_m, parameters.hand_radius_m), table, workspaces)
