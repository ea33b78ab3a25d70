# SPDX-License-Identifier: Apache-2.0
"""Keeps the commanded trajectory clear of the robot's own body: it may only go where it can still stop in time.

Before each step the way on which the arms would come to rest is looked at; if it is not clear, they brake instead, on
the way that was looked at one step before. So no stream of actions brings a commanded pose below the distance. And the
nearer parts that approach each other are, the slower the arms go, so that this braking is rarely needed.

One evaluation of all distances vouches for every pose within what the joints' levers allow (`collision_model`); only
where that does not suffice is it done again. Pairs that are too near from the start may part, but not approach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.collision_model import SEEN_M, CollisionModel
from h1_training_bringup.arm_driver.joints import COUNT, Joints

_SMOOTHING_M = 0.002
"""By how much the mean over a few periods, which goes out, may leave the way of what it is the mean of."""
_STANDING_M = 0.003
"""By how much pairs that are too near may seem to approach before they part."""
_RESUMED_M = 1e-5
"""The same, of arms that have been brought there in between; for the rounding of a distance."""
_HALVINGS = 5
_LEAST_SPEED = 0.02
"""Share of the speed with which parts still approach shortly before the distance."""
_WAIST_RAD = 0.01
_AHEAD_RAD = 0.05
_HEADROOM = 1.2


class Clearance:
    """The distance of one commanded trajectory.

    Args:
        model: of the parts.
        min_m: no pair comes nearer.
        slow_m: pairs that approach each other slow down from here on.

    Attributes:
        scale: share of the speed that is left, 0..1.
        pair: the one that slowed the arms, or made them brake, last.
    """

    def __init__(self, model: CollisionModel, min_m: float, slow_m: float) -> None:
        self._model = model
        self._min_m, self._slow_m = min_m + _SMOOTHING_M, slow_m
        self._floor = np.full(len(model.pairs), self._min_m)
        self._reference = np.full(COUNT, np.inf)
        self._slack = np.full(len(model.pairs), -np.inf)
        self._waist_q = 0.0
        self.scale = 1.0
        self.pair = ("", "")

    def start(self, q: Joints, waist_q: float) -> None:
        """A trajectory begins at `q`, (14,), rad."""
        self._waist_q, self.scale = waist_q, 1.0
        distances = self._anchor(q, floor=np.full(len(self._model.pairs), self._min_m))
        self._floor = np.minimum(self._min_m, distances - _STANDING_M)
        self._slack = distances - self._floor

    def resume(self, q: Joints, waist_q: float) -> None:
        """The trajectory goes on from `q`, where something else has brought the arms, or with the waist elsewhere.

        No pair may come nearer than it was allowed to before, nor than it is now, were that nearer still: the arms
        gain nothing by being brought there again and again.
        """
        self._waist_q = waist_q
        distances = self._anchor(q)
        self._floor = np.minimum(self._floor, distances - _RESUMED_M)
        self._slack = distances - self._floor

    def slow_down(self, q: Joints, stop: Joints, goal: Joints, waist_q: float) -> float:
        """Share of the speed to go on with, 0..1, towards `goal`; as often as actions come.

        Args:
            q, stop: (14,), rad, commanded; where it would come to rest.
            goal: what is asked for.
            waist_q: rad, measured.
        """
        if abs(waist_q - self._waist_q) > _WAIST_RAD:
            self.resume(q, waist_q)
        ahead = stop + np.maximum(np.minimum(goal - stop, _AHEAD_RAD), -_AHEAD_RAD)
        coming = np.abs(ahead - q)
        at_least = self._slack + self._floor - self._model.levers.dot(np.abs(q - self._reference))
        if self._keeps_full_speed(at_least, coming):
            self.scale = 1.0
            return self.scale
        here = self._anchor(q)
        self._floor = np.maximum(self._floor, np.minimum(self._min_m, here - _STANDING_M))
        self._slack = here - self._floor
        if self._keeps_full_speed(here, coming):
            self.scale = 1.0
            return self.scale
        there = self._model.distances(ahead, waist_q)
        # By what is left of the distance, against what the next moments would take of it.
        share = np.where(here < self._slow_m, (here - self._min_m) / (_HEADROOM * np.maximum(here - there, 1e-9)), 1.0)
        share[there >= here] = 1.0
        worst = int(share.argmin())
        self.scale = min(max(float(share[worst]), _LEAST_SPEED), 1.0)
        if self.scale < 1.0:
            self.pair = self._model.pairs[worst]
        return self.scale

    def _keeps_full_speed(self, distances: NDArray[np.float64], coming: Joints) -> bool:
        """Whether no pair slows the arms down, at these distances or more, whatever a way of `coming`, rad, takes."""
        taken = _HEADROOM * self._model.levers.dot(coming)
        return bool(np.logical_and.reduce((distances >= self._slow_m) | (distances - self._min_m >= taken)))

    def may_go(self, q: Joints, velocity: Joints, acceleration: Joints) -> bool:
        """Whether arms at `q` with `velocity` can brake, each joint by itself, without coming too near.

        Args:
            q, velocity, acceleration: (14,), rad, rad/s, rad/s².
        """
        braked = velocity * np.abs(velocity) / (acceleration + acceleration)
        moved = q - self._reference
        if self._certain(np.maximum(np.abs(moved), np.abs(moved + braked))):
            return True
        stop = q + braked
        distances = self._anchor(stop)
        if (self._slack < 0).any():
            self.pair = self._model.pairs[int((distances - self._floor).argmin())]
            return False
        duration_s = float((np.abs(velocity) / acceleration).max())
        return self._way_is_clear(q, stop, (q, velocity, acceleration), (0.0, duration_s), _HALVINGS)

    def _way_is_clear(
        self,
        begin: Joints,
        end: Joints,
        motion: tuple[Joints, Joints, Joints],
        times_s: tuple[float, float],
        halvings: int,
    ) -> bool:
        """Whether the part of a braking way between two times is clear; every joint goes one way only in it."""
        if self._certain(np.maximum(np.abs(begin - self._reference), np.abs(end - self._reference))):
            return True
        if halvings == 0:
            return False
        middle_s = sum(times_s) / 2
        middle = _braking(*motion, middle_s)
        self._anchor(middle)
        if (self._slack < 0).any():
            return False
        if self._certain(np.maximum(np.abs(begin - middle), np.abs(end - middle))):
            return True
        return self._way_is_clear(begin, middle, motion, (times_s[0], middle_s), halvings - 1) and self._way_is_clear(
            middle, end, motion, (middle_s, times_s[1]), halvings - 1
        )

    def _certain(self, away: NDArray[np.float64]) -> bool:
        """Whether no pair is too near in any pose within `away`, rad, of the last one."""
        # 250 times a second: `all()` goes through Python, which the ufunc's own reduction does not.
        return bool(np.logical_and.reduce(self._model.levers.dot(away) <= self._slack))

    def _anchor(self, q: Joints, floor: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """The distances at `q`, from now on what others are judged by."""
        distances = self._model.distances(q, self._waist_q)
        self._reference = q.copy()
        self._slack = distances - (self._floor if floor is None else floor)
        return distances


def _braking(q: Joints, velocity: Joints, acceleration: Joints, after_s: float) -> Joints:
    """Where the arms are `after_s` after they began to brake."""
    speed = np.abs(velocity)
    seconds = np.minimum(after_s, speed / acceleration)
    at: Joints = q + np.sign(velocity) * (speed * seconds - acceleration * seconds**2 / 2)
    return at


def nearest(model: CollisionModel, q: Joints, waist_q: float) -> tuple[float, str]:
    """Least distance of a pose, m, and its parts: `"left forearm, chest"`; `SEEN_M` and "" if none is that near."""
    distances = model.distances(q, waist_q)
    pair = int(distances.argmin())
    return float(distances[pair]), ", ".join(model.pairs[pair]) if distances[pair] < SEEN_M else ""
