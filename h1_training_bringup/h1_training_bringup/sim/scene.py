"""What stands in front of the simulated robot: a table, and on it an object that is elsewhere in every episode.

Cameras draw it and the person guides the hands towards it: both learn epoch and episode from the session. The simulated
policy reaches for it, and counts the episodes by what it is asked. So they agree without talking to each other. Frame:
the pelvis (x forward, y left, z up), which is the torso's too while the waist is held. Pure functions.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver import joints
from h1_training_bringup.arm_driver.kinematics import LEFT_ARM, RIGHT_ARM, Link

Vector = NDArray[np.float64]
"""Shape (3,), m."""

TABLE_TOP_M = -0.06
"""Height of the table's top in the pelvis frame; hands at home are 14 cm above it."""
TABLE_X_M, TABLE_Y_M = (0.28, 1.05), (-0.65, 0.65)
FLOOR_M = -1.02
OBJECT_SIZE_M = 0.07
"""Edge of the cube."""
GRASP_IN_WRIST_M = np.array([0.12, 0.0, 0.0])
"""The middle of a hand in the frame of its wrist_yaw_link."""
LARGEST_OFFSET_RAD = 0.6
"""No joint of a reaching posture is further from the home pose, q = 0."""

_OBJECT_X_M, _OBJECT_Y_M = (0.47, 0.56), (0.10, 0.28)
HAND_FROM_OBJECT_M = np.array([-0.09, 0.0, 0.05])
"""Where the middle of a hand comes to be, seen from the object: the finger tips are at it then."""
_LIMIT_MARGIN_RAD = 0.1
_REACH_ITERATIONS, _REACH_DAMPING, _FINITE_STEP_RAD = 40, 0.05, 1e-5


def _random(epoch: int, episode: int, seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([purpose, seed, epoch + 1, episode])


@dataclass(frozen=True)
class SceneObject:
    """The object of one episode.

    Attributes:
        position_m: its centre, pelvis frame.
        yaw_rad: how it is turned on the table.
        colour_bgr: 0..255 each.
        side: 0 if it lies before the left arm, 1 before the right one.
    """

    position_m: tuple[float, float, float]
    yaw_rad: float
    colour_bgr: tuple[int, int, int]
    side: int


@lru_cache(maxsize=64)
def scene_object(epoch: int, episode: int, seed: int) -> SceneObject:
    """The object of an episode; the same for whoever asks with the same numbers (epoch >= -1, others >= 0)."""
    random = _random(epoch, episode, seed, 1)
    side = int(random.integers(2))
    y = random.uniform(*_OBJECT_Y_M) * (1 if side == 0 else -1)
    red, green, blue = colorsys.hsv_to_rgb(random.uniform(), 0.85, 0.9)
    return SceneObject(
        position_m=(float(random.uniform(*_OBJECT_X_M)), float(y), TABLE_TOP_M + OBJECT_SIZE_M / 2),
        yaw_rad=float(random.uniform(-0.6, 0.6)),
        colour_bgr=(round(255 * blue), round(255 * green), round(255 * red)),
        side=side,
    )


def reach_targets(epoch: int, episode: int, seed: int = 0) -> joints.Joints:
    """A modest posture with the nearer hand just before the object, shape (14,), rad, left 7 then right 7.

    Every joint stays within `LARGEST_OFFSET_RAD` of home and `_LIMIT_MARGIN_RAD` inside its range; the other arm
    moves a little, differently in every episode.
    """
    return np.array(_reach(epoch, episode, seed))


@lru_cache(maxsize=64)
def _reach(epoch: int, episode: int, seed: int) -> tuple[float, ...]:
    thing = scene_object(epoch, episode, seed)
    low = np.maximum(joints.LOWER + _LIMIT_MARGIN_RAD, -LARGEST_OFFSET_RAD)
    high = np.minimum(joints.UPPER - _LIMIT_MARGIN_RAD, LARGEST_OFFSET_RAD)
    q = np.clip(_random(epoch, episode, seed, 2).uniform(-0.1, 0.1, joints.COUNT), low, high)
    reaching = slice(7 * thing.side, 7 * thing.side + 7)
    goal = np.array(thing.position_m) + HAND_FROM_OBJECT_M
    q[reaching] = _posture(RIGHT_ARM if thing.side else LEFT_ARM, goal, low[reaching], high[reaching])
    return tuple(float(value) for value in q)


def _posture(arm: tuple[Link, ...], goal: Vector, low: Vector, high: Vector) -> Vector:
    """Joint angles within the bounds that bring the hand as near to `goal` as damped least squares gets."""
    q = np.zeros(len(arm))
    for _ in range(_REACH_ITERATIONS):
        here = grasp_point(arm, q)
        steps = np.eye(len(arm)) * _FINITE_STEP_RAD
        jacobian = np.stack([(grasp_point(arm, q + step) - here) / _FINITE_STEP_RAD for step in steps], axis=1)
        square = jacobian @ jacobian.T + _REACH_DAMPING**2 * np.eye(3)
        q = np.clip(q + jacobian.T @ np.linalg.solve(square, goal - here), low, high)
    return q


def grasp_point(arm: tuple[Link, ...], q: Vector) -> Vector:
    """Where the middle of a hand is, shape (3,), m, pelvis frame, for the 7 joint angles `q` of `arm`, rad."""
    rotation, position = np.eye(3), np.zeros(3)
    for link, angle in zip(arm, q, strict=True):
        position = position + rotation @ np.array(link.origin_m)
        rotation = rotation @ _turn((1.0, 0.0, 0.0), link.roll_rad) @ _turn(link.axis, float(angle))
    point: Vector = position + rotation @ GRASP_IN_WRIST_M
    return point


def _turn(axis: tuple[float, float, float], angle: float) -> NDArray[np.float64]:
    """Rotation about one of the coordinate axes."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned
