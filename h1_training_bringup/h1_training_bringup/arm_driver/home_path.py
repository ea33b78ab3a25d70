# SPDX-License-Identifier: Apache-2.0
"""A way home around the robot's own body: straight where that is clear, else by as few poses in between as will do.

First what a person would do, and Unitree's own example does: the upper arms go out to the side, then the rest follows.
Where arms are entangled, two trees of poses grow towards each other (RRT-Connect: Kuffner and LaValle, ICRA 2000), and
the way that they find is shortened. A search takes a share of a period at a time, so that the arms' loop goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.collision_model import CollisionModel
from h1_training_bringup.arm_driver.joints import COUNT, Joints

_PLANNING_M = 0.012
"""Kept besides the distance, so that the look ahead does not brake on the way."""
_STANDING_M = 0.003
_LEAST_STEP_RAD = 0.004
_TREE_STEP_RAD = 0.6
_SHORTCUTS = 60
_MOST_NODES = 3000
_LEFT_ROLL, _RIGHT_ROLL = 1, 1 + COUNT // 2
_OPEN_RAD = (0.6, 1.0, 1.4)
"""Of the shoulders' roll; the arms stand out to the side."""

Way = list[Joints]


class HomePath:
    """Looks for a way, a few distances at a time.

    Args:
        model: of the parts.
        min_m: no pair comes nearer on the way than this, or than at its beginning.
        lower, upper: (14,), rad, of what may be commanded.
        seed: of the search; another one finds another way.
    """

    def __init__(self, model: CollisionModel, min_m: float, lower: Joints, upper: Joints, seed: int = 0) -> None:
        self._model = model
        self._min_m = min_m + _PLANNING_M
        self._lower, self._upper = lower, upper
        self._random = np.random.default_rng(seed)
        self._floor = np.full(len(model.pairs), self._min_m)
        self._waist_q = 0.0

    def search(self, start: Joints, goal: Joints, waist_q: float) -> Iterator[Way | None]:
        """Yields None while it works, at last the poses after `start`, up to and with `goal`; no pose if there is none.

        Args:
            start, goal: (14,), rad.
            waist_q: rad, held.
        """
        self._waist_q = waist_q
        begin, end = self._distances(start), self._distances(goal)
        # Where it starts, and where it ends, it may be.
        self._floor = np.minimum(np.minimum(self._min_m, begin - _STANDING_M), end - _STANDING_M)
        for via in self._guesses(start, goal):
            if (yield from self._is_clear([start, *via, goal])):
                yield [*via, goal]
                return
        way = yield from self._connected(start, goal)
        if way:
            way = yield from self._shortened([start, *way, goal])
            yield way[1:]
        else:
            yield []

    def _guesses(self, start: Joints, goal: Joints) -> Iterator[Way]:
        yield []
        left = np.arange(COUNT) < COUNT // 2
        for open_rad in _OPEN_RAD:
            out, back = self._opened(start, open_rad), self._opened(goal, open_rad)
            yield [out, back]
            # One arm after the other, each by the side.
            for first in (left, ~left):
                yield [
                    np.where(first, out, start),
                    np.where(first, back, start),
                    np.where(first, goal, start),
                    np.where(first, goal, out),
                    np.where(first, goal, back),
                ]

    def _opened(self, pose: Joints, open_rad: float) -> Joints:
        opened = pose.copy()
        opened[_LEFT_ROLL] = min(max(pose[_LEFT_ROLL], open_rad), self._upper[_LEFT_ROLL])
        opened[_RIGHT_ROLL] = max(min(pose[_RIGHT_ROLL], -open_rad), self._lower[_RIGHT_ROLL])
        return opened

    def _distances(self, q: Joints) -> NDArray[np.float64]:
        return self._model.distances(q, self._waist_q)

    def _is_clear(self, way: Way) -> Generator[None, None, bool]:
        for begin, end in pairwise(way):
            if not (yield from self._edge_is_clear(begin, end)):
                return False
        return True

    def _edge_is_clear(self, begin: Joints, end: Joints) -> Generator[None, None, bool]:
        """Whether the straight move is clear all along, by steps that one evaluation vouches for."""
        change = end - begin
        longest = float(np.abs(change).max())
        if longest == 0.0:
            return True
        rates = self._model.levers.dot(np.abs(change))
        share = 0.0
        while share < 1.0:
            slack = self._distances(begin + share * change) - self._floor
            yield None
            if (slack < 0).any():
                return False
            with np.errstate(divide="ignore"):
                step = float((slack / rates).min())
            share += max(step, _LEAST_STEP_RAD / longest)
        return bool((self._distances(end) >= self._floor).all())

    def _connected(self, start: Joints, goal: Joints) -> Generator[None, None, Way]:
        """Poses from `start` to `goal`, both left out; empty if none were found."""
        trees = [([start], [-1]), ([goal], [-1])]
        for count in range(_MOST_NODES):
            poses, parents = trees[count % 2]
            others, other_parents = trees[1 - count % 2]
            sample = self._random.uniform(self._lower, self._upper)
            near = _nearest(poses, sample)
            new = _towards(poses[near], sample)
            if not (yield from self._edge_is_clear(poses[near], new)):
                continue
            poses.append(new)
            parents.append(near)
            at = _nearest(others, new)
            while True:
                further = _towards(others[at], new)
                if not (yield from self._edge_is_clear(others[at], further)):
                    break
                others.append(further)
                other_parents.append(at)
                at = len(others) - 1
                if np.array_equal(further, new):
                    one, two = _branch(poses, parents, len(poses) - 1), _branch(others, other_parents, at)
                    way = [*one[::-1], *two[1:]] if count % 2 == 0 else [*two[::-1], *one[1:]]
                    return way[1:-1]
        return []

    def _shortened(self, way: Way) -> Generator[None, None, Way]:
        for _ in range(_SHORTCUTS):
            if len(way) < 3:
                break
            i, j = sorted(self._random.choice(len(way), 2, replace=False))
            if j - i > 1 and (yield from self._edge_is_clear(way[i], way[j])):
                way = way[: i + 1] + way[j:]
        return way


def _nearest(poses: list[Joints], to: Joints) -> int:
    return int(np.linalg.norm(np.array(poses) - to, axis=1).argmin())


def _towards(pose: Joints, to: Joints) -> Joints:
    way = to - pose
    length = float(np.linalg.norm(way))
    return to if length <= _TREE_STEP_RAD else pose + way * (_TREE_STEP_RAD / length)


def _branch(poses: list[Joints], parents: list[int], at: int) -> Way:
    """From a node to the root of its tree."""
    branch = []
    while at >= 0:
        branch.append(poses[at])
        at = parents[at]
    return branch
