# SPDX-License-Identifier: Apache-2.0
"""The task of pushing: the cube has to come into the field that is marked on the table; and how a person shows it.

What counts is where the body has the cube. It lies 8 to 12 cm short of the field's middle, up to 4 cm aside;
the hand has to come down behind it and to push it there, along a way that bends whenever the cube turns or slips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.sim.robot_body import RobotBody
from h1_training_bringup.sim.scene import OBJECT_SIZE_M, REACHED, TABLE_TOP_M, Area, SceneObject, Vector
from h1_training_bringup.sim.table import Cube
from h1_training_bringup.sim.task import PUSH, REACH, SUCCESS_M, ReachTask, Task

PUSHED: Area = ((0.44, 0.475), (0.21, 0.29))
"""Where the cube is put down."""
AREAS = {REACH: REACHED, PUSH: PUSHED}
FIELD_X_M, FIELD_Y_M = 0.555, 0.25
FIELD_M = OBJECT_SIZE_M + 2 * SUCCESS_M
"""Edge of the field: a cube that lies straight is all inside when its middle is within `SUCCESS_M` of the field's."""
_FIELD_BGR = (235, 235, 235)
_TOUCHING_M, _BEHIND_M = 0.093, 0.115
"""From the middle of a hand to that of the cube, when the fingertips touch it, and just before."""
_HAND_Z_M = 0.01
_NEAR_M = 0.02
"""Within this of the way to the cube, the hand counts as being there; nearer to the field, the direction stands."""
_BESIDE_M, _BEYOND_M, _ABOVE_M = 0.01, 0.015, 0.09
"""Aside of being right behind the cube, from where a hand sets to again; ahead of it, from where it goes round; height.
"""
_ASIDE_M, _CONE, _ROUND_M = 0.012, 0.45, 0.05
"""How far aside of the field's middle a cube can still be pushed into it, per way ahead; what it counts beyond that."""
_SPEED_M_S, _APPROACH_M_S, _SLOW_DOWN_M = 0.07, 0.12, 0.03
_LEAD_M, _DONE_M = 0.025, 0.008
_PROGRESS_M, _GIVES_UP_S = 0.003, 2.5
"""A cube that has slipped aside may not come into the field any more; so little progress for so long shows it."""
_SIDEWAYS = 2.0
_SETTLE_S, _LIMIT_S = 0.8, 9.0
_NOISE_M = 0.004

Hands = NDArray[np.float64]


def field_of(thing: SceneObject) -> SceneObject:
    """The mark on the table before the arm that `thing` lies before."""
    place = (FIELD_X_M, FIELD_Y_M if thing.side == 0 else -FIELD_Y_M, TABLE_TOP_M)
    return SceneObject(place, 0.0, _FIELD_BGR, thing.side, (FIELD_M, FIELD_M, 0.0))


class PushTask(Task):
    """Push the cube, which lies as `thing` at first, into the field. `cube` says where the body has it now."""

    limit_s, strays_from_best = 9.0, True

    def __init__(self, thing: SceneObject, cube: Callable[[], Cube]) -> None:
        super().__init__(thing)
        self._cube, self.field = cube, field_of(thing)

    @property
    def things(self) -> tuple[SceneObject, ...]:
        """See `Task`."""
        cube = self._cube()
        x, y, z = (float(value) for value in cube.position_m)
        return self.field, replace(self.thing, position_m=(x, y, z), yaw_rad=cube.yaw_rad)

    def missing(self) -> tuple[Vector, Vector]:
        """Where the cube is, (3,), m, and from there to the field's middle, (3,), m, level."""
        cube = self._cube().position_m
        way: Vector = np.array(self.field.position_m) - cube
        way[2] = 0.0
        return cube, way

    def distances(self, hand: Vector) -> tuple[float, float]:
        """See `Task`: of the cube from the field's middle, and of the hand from behind the cube.

        A cube that has slipped too far aside to be pushed ahead into the field is one that strays, before it is late.
        """
        cube, way = self.missing()
        distance_m = float(np.linalg.norm(way))
        behind = cube - [_TOUCHING_M, 0.0, 0.0]
        behind[2] = _HAND_Z_M
        leaves = distance_m > _NEAR_M and abs(way[1]) > _ASIDE_M + _CONE * max(0.0, float(way[0]))
        to_hand_m = max(0.0, float(np.linalg.norm(hand - behind)) - _NEAR_M)
        return distance_m, distance_m + to_hand_m + leaves * _ROUND_M


def make_task(name: str, thing: SceneObject, body: RobotBody) -> Task:
    """The task `name` with `thing`, which `body` then has on its table if it is one to push."""
    if name == REACH:
        return ReachTask(thing)
    body.put(thing)
    return PushTask(thing, lambda: body.cube)


class PushDemonstration:
    """A person's way with the cube: behind it, then ahead after it until it lies in the field.

    The person watches the cube, so each call of `at` looks at where it is.
    """

    def __init__(self, start: Hands, task: PushTask, random: np.random.Generator) -> None:
        self._task, self._side, self._wanted = task, task.thing.side, start.copy()
        self._last_s = self._best_s = self._pushes_from_s = 0.0
        self._best_m = np.inf
        self._over_s = _LIMIT_S
        self._noise = np.append(random.uniform(-_NOISE_M, _NOISE_M, 2), 0.0)
        self._speed = float(random.uniform(0.8, 1.2))
        cube, way = task.missing()
        self._ahead = _aim(way)
        from_cube = start[self._side] - cube
        is_behind = from_cube[0] < -_TOUCHING_M + _BEYOND_M
        is_low = start[self._side][2] < 2 * _HAND_Z_M
        self._pushes = bool(is_behind and is_low and abs(from_cube[1]) < _BESIDE_M)
        self._rises = self._retreats = not is_behind

    def at(self, elapsed_s: float) -> Hands:
        """Where the hands should be, (2, 3), m."""
        step_s, self._last_s = elapsed_s - self._last_s, elapsed_s
        cube, way = self._task.missing()
        distance_m = float(np.linalg.norm(way))
        if distance_m > _NEAR_M:
            self._ahead = _aim(way)
        hand = self._wanted[self._side]
        goal, speed = self._goal(hand, cube, distance_m)
        move = goal - hand
        length = float(np.linalg.norm(move))
        hand += move * min(1.0, self._speed * speed * step_s / max(length, 1e-9))
        return self._wanted.copy()

    def is_over(self, elapsed_s: float) -> bool:
        """The cube lies in the field, and the hand has been let settle; or it takes too long."""
        return elapsed_s > self._over_s

    def _goal(self, hand: Vector, cube: Vector, distance_m: float) -> tuple[Vector, float]:
        """Where to lead the hand now, and at which speed, m/s."""
        level = np.array([1.0, 1.0, 0.0])
        behind = level * (cube - [_BEHIND_M, 0.0, 0.0]) + self._noise + [0.0, 0.0, _HAND_Z_M]
        if self._rises:  # off the cube, and of what is beside it
            self._rises = bool(hand[2] < _ABOVE_M)
            return np.array([hand[0], hand[1], _ABOVE_M + _NEAR_M]), _APPROACH_M_S
        if self._retreats:
            back = np.array([behind[0] - _BEYOND_M, hand[1], _ABOVE_M])
            self._retreats = bool(hand[0] > back[0] + 0.005)
            return back, _APPROACH_M_S
        if not self._pushes:
            self._pushes, self._pushes_from_s = bool(np.linalg.norm(hand - behind) < 0.004), self._last_s
            return behind, _APPROACH_M_S
        fell = cube[2] < TABLE_TOP_M
        if distance_m < self._best_m - _PROGRESS_M:
            self._best_m, self._best_s = distance_m, self._last_s
        is_stuck = self._last_s - max(self._best_s, self._pushes_from_s) > _GIVES_UP_S
        if fell or is_stuck or self._task.field.position_m[0] - cube[0] < _DONE_M:  # only ahead can it be pushed
            self._over_s = min(self._over_s, self._last_s + _SETTLE_S)
        if self._over_s < _LIMIT_S:
            return hand.copy(), 0.0
        goal = level * (cube - [_TOUCHING_M, 0.0, 0.0] + _LEAD_M * self._ahead) + self._noise + [0.0, 0.0, _HAND_Z_M]
        return goal, _SPEED_M_S * min(1.0, 0.3 + distance_m / _SLOW_DOWN_M)


def _aim(way: Vector) -> Vector:
    """Direction to push in, (3,): more to the side than `way`, (3,), since the cube turns and slips meanwhile."""
    aimed: Vector = way * [1.0, _SIDEWAYS, 0.0]
    return aimed / max(float(np.linalg.norm(aimed)), 1e-6)
