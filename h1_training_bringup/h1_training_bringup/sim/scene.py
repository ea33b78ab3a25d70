# SPDX-License-Identifier: Apache-2.0
"""What stands in front of the simulated robot: a table, and on it an object that is elsewhere in every episode.

The robot's body alone knows where: the cameras are given it to draw, the person who stands there sees it, and a policy
has to find it in the images. Frame: the pelvis (x forward, y left, z up), which is the torso's too while the waist is
held. Pure functions.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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

Area = tuple[tuple[float, float], tuple[float, float]]
"""Nearest and farthest x, innermost and outermost y (mirrored on the right), m, of an object's centre."""
REACHED: Area = ((0.42, 0.57), (0.17, 0.37))
"""Further in, the upper arm comes nearer to the chest than the arm driver lets a policy go (`min_distance_m`)."""
_SPREAD = np.array([0.7548776662466927, 0.5698402909980532])
"""Steps of the Kronecker sequence that covers a square most evenly: 1/p and 1/p^2, p the root of x^3 = x + 1."""
HAND_FROM_OBJECT_M = np.array([-0.09, 0.0, 0.05])
"""Where the middle of a hand comes to be, seen from the object: the finger tips are at it then."""


@dataclass(frozen=True)
class SceneObject:
    """The object of one episode.

    Attributes:
        position_m: its centre, pelvis frame.
        yaw_rad: how it is turned on the table.
        colour_bgr: 0..255 each.
        side: 0 if it lies before the left arm, 1 before the right one.
        size_m: along its own axes; a height of 0 is a mark on the table.
    """

    position_m: tuple[float, float, float]
    yaw_rad: float
    colour_bgr: tuple[int, int, int]
    side: int
    size_m: tuple[float, float, float] = (OBJECT_SIZE_M,) * 3


@lru_cache(maxsize=64)
def scene_object(epoch: int, episode: int, seed: int, area: Area = REACHED) -> SceneObject:
    """An object by chance in `area`; the same for whoever asks with the same numbers (epoch >= -1, others >= 0)."""
    random = np.random.default_rng([1, seed, epoch + 1, episode])
    side = int(random.integers(2))
    y_share = random.uniform()
    hue, x_share, yaw_rad = random.uniform(), random.uniform(), random.uniform(-0.6, 0.6)
    return _object(area, side, x_share, y_share, hue, yaw_rad)


class Placing:
    """Where a person who teaches the robot puts the object, one episode after the other.

    Not by chance, which leaves whole regions out for a dozen episodes, but spread over all of the table's reachable
    places (`area`), left and right in turn. The sequence begins elsewhere with each seed and first epoch (>= -1).
    """

    def __init__(self, seed: int, first_epoch: int = 0, area: Area = REACHED) -> None:
        self._area = area
        self._random = np.random.default_rng([2, seed, first_epoch + 1])
        self._next = self._random.uniform(size=(2, 2))
        self._side = int(self._random.integers(2))

    def put(self) -> SceneObject:
        """The next one."""
        self._side = 1 - self._side
        x_share, y_share = self._next[self._side] = (self._next[self._side] + _SPREAD) % 1.0
        hue, yaw_rad = float(self._random.uniform()), float(self._random.uniform(-0.6, 0.6))
        return _object(self._area, self._side, x_share, y_share, hue, yaw_rad)


def _object(area: Area, side: int, x_share: float, y_share: float, hue: float, yaw_rad: float) -> SceneObject:
    """An object of full colour at a share, 0..1, of the area's depth and width."""
    (near, far), (inner, outer) = area
    y_m = (inner + y_share * (outer - inner)) * (1 if side == 0 else -1)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.9)
    return SceneObject(
        position_m=(float(near + x_share * (far - near)), float(y_m), TABLE_TOP_M + OBJECT_SIZE_M / 2),
        yaw_rad=yaw_rad,
        colour_bgr=(round(255 * blue), round(255 * green), round(255 * red)),
        side=side,
    )


def scene_text(things: Iterable[SceneObject]) -> str:
    """What lies on the table, as the robot's body reports it on `sim/scene`: JSON."""
    return json.dumps([asdict(thing) for thing in things])


def scene_from_text(text: str) -> tuple[SceneObject, ...]:
    """What `scene_text` was made from.

    Raises:
        ValueError: it is no such text.
    """
    try:
        return tuple(
            SceneObject(
                tuple(item["position_m"]),
                item["yaw_rad"],
                tuple(item["colour_bgr"]),
                item["side"],
                tuple(item["size_m"]),
            )
            for item in json.loads(text)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no scene: {error!r}") from None


def hand_place(thing: SceneObject) -> Vector:
    """Where the middle of the hand has to be, shape (3,), m, pelvis frame."""
    place: Vector = np.array(thing.position_m) + HAND_FROM_OBJECT_M
    return place
