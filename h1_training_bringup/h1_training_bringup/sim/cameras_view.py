# SPDX-License-Identifier: Apache-2.0
"""Where the simulated cameras are, what falls where in their images, and what is behind the arms there.

The cameras sit where our URDF has them: the head's where the robot has it, the wrists' above the wrists, looking along
the hands. Optical frames as in REP-103: z ahead, x right, y down. Points are in the pelvis frame.

Behind the arms are a wooden table, a tiled floor, a wall; drawn once, then only seen from elsewhere. The head camera
stands still, so its backdrop is one image, traced ray by ray at start. The wrist cameras move: theirs is the table's
plane, warped by a homography at half size, with a wall above the horizon. All of it carries fine texture, so that a
JPEG has the size that a real camera's has.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import URDF
from h1_training_bringup.sim.scene import FLOOR_M, TABLE_TOP_M, TABLE_X_M, TABLE_Y_M

Array = NDArray[np.float64]

WIDTH, HEIGHT = 640, 480
NEAR_M = 0.02

_HEAD_FOCAL_PX, _WRIST_FOCAL_PX = 430.0, 400.0
"""Horizontal fields of view of 73 and 77 degrees."""


def _mounted(joint: str) -> tuple[Array, float]:
    """Where the URDF has a camera on its body: position, (3,), m, and pitch, rad."""
    (origin,) = ElementTree.parse(URDF).getroot().findall(f"joint[@name='{joint}']/origin")
    return np.array(origin.attrib["xyz"].split(), float), float(origin.attrib["rpy"].split()[1])


_HEAD_POSITION_M, _HEAD_PITCH_RAD = _mounted("camera_joint")
_WRIST_POSITION_M, _WRIST_PITCH_RAD = _mounted("left_wrist_camera_joint")


def _looking_down(pitch_rad: float) -> Array:
    """Axes of an optical frame, as columns in a body's frame, that looks along +x, pitched down."""
    ahead = np.array([np.cos(pitch_rad), 0.0, -np.sin(pitch_rad)])
    right = np.array([0.0, -1.0, 0.0])
    return np.stack([right, np.cross(ahead, right), ahead], axis=1)


_WRIST_AXES = _looking_down(_WRIST_PITCH_RAD)


@dataclass(frozen=True)
class View:
    """A pinhole camera in its place.

    Attributes:
        position_m: (3,), of its centre.
        axes: (3, 3), columns: right, down, ahead.
        focal_px: focal length; the principal point is the image's middle.
    """

    position_m: Array
    axes: Array
    focal_px: float

    @property
    def matrix(self) -> Array:
        """(3, 4): homogeneous point, m, to homogeneous pixel."""
        intrinsics = np.array([[self.focal_px, 0, WIDTH / 2], [0, self.focal_px, HEIGHT / 2], [0, 0, 1]], float)
        extrinsics: Array = np.column_stack([self.axes.T, np.negative(self.axes.T @ self.position_m)])
        projected: Array = intrinsics @ extrinsics
        return projected

    def in_camera(self, points: Array) -> Array:
        """Points of the pelvis frame, (..., 3), m, in the optical frame."""
        seen: Array = (np.asarray(points) - self.position_m) @ self.axes
        return seen

    def pixels(self, seen: Array) -> Array:
        """Points of the optical frame that are beyond `NEAR_M`, (..., 3), as pixels, (..., 2)."""
        middle = np.array([WIDTH / 2, HEIGHT / 2])
        at: Array = self.focal_px * seen[..., :2] / seen[..., 2:3] + middle
        return at


def head_view() -> View:
    """The camera in the head."""
    return View(_HEAD_POSITION_M, _looking_down(_HEAD_PITCH_RAD), _HEAD_FOCAL_PX)


def wrist_view(position_m: Array, rotation: Array) -> View:
    """The camera on a wrist whose wrist_yaw_link is at `position_m`, turned by `rotation`, (3, 3)."""
    return View(position_m + rotation @ _WRIST_POSITION_M, rotation @ _WRIST_AXES, _WRIST_FOCAL_PX)


Image = NDArray[np.uint8]
"""Shape (height, width, 3), BGR."""

_PX_PER_M = 240
_GROUND_X_M, _GROUND_Y_M = (-0.6, 2.6), (-1.6, 1.6)
_WALL_X_M = 2.4
_WALL_BGR, _TILE_BGR, _JOINT_BGR, _WOOD_BGR = (196, 200, 198), (150, 152, 156), (112, 114, 118), (92, 136, 178)
_TILE_M, _JOINT_M = 0.4, 0.012
_GRAIN, _EDGE_BGR = 9.0, (52, 82, 112)
_HORIZON = 0.06
"""Rays flatter than this see the wall; as the tangent of the angle below the horizon."""


def _grained(colour: Image, random: np.random.Generator, strength: float) -> Image:
    """`colour` with noise, fine and coarse, and the fine one soft enough not to swell the JPEG."""
    noise = random.standard_normal(colour.shape[:2], np.float32)
    noise = strength * (cv2.GaussianBlur(noise, (0, 0), 0.8) + 3 * cv2.GaussianBlur(noise, (0, 0), 3.0))
    return np.clip(colour + noise[..., None], 0, 255).astype(np.uint8)


def _wood(x: NDArray[np.float64], y: NDArray[np.float64], random: np.random.Generator) -> Image:
    """Boards along x with annual rings."""
    board = np.floor(y / 0.13)
    rings = np.sin(60 * y + 3 * np.sin(5 * x + 2 * board) + board) * 8 + np.sin(230 * y + 9 * np.sin(3 * x)) * 4
    shade = rings + 9 * np.sin(board * 12.9898)
    seam = np.abs(y / 0.13 - np.round(y / 0.13)) < 0.02
    return _grained((np.array(_WOOD_BGR) + shade[..., None]) * np.where(seam, 0.75, 1.0)[..., None], random, _GRAIN)


def _tiles(x: NDArray[np.float64], y: NDArray[np.float64], random: np.random.Generator) -> Image:
    joint = np.minimum(np.mod(x, _TILE_M), np.mod(y, _TILE_M)) < _JOINT_M
    tint = 8 * np.sin(12.9898 * np.floor(x / _TILE_M) + 78.233 * np.floor(y / _TILE_M))
    colour = np.where(joint[..., None], np.array(_JOINT_BGR), np.array(_TILE_BGR) + tint[..., None])
    return _grained(colour, random, _GRAIN)


def _on_table(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (TABLE_X_M[0] < x) & (x < TABLE_X_M[1]) & (TABLE_Y_M[0] < y) & (y < TABLE_Y_M[1])


def still_backdrop(view: View, seed: int) -> Image:
    """What a camera that never moves sees of it, (480, 640, 3)."""
    random = np.random.default_rng([6, seed])
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    rays = np.stack([column, row, np.full_like(column, view.focal_px)], axis=-1) @ view.axes.T

    def hits(height_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        distance = (height_m - view.position_m[2]) / np.minimum(rays[..., 2], -1e-3)
        return view.position_m[0] + distance * rays[..., 0], view.position_m[1] + distance * rays[..., 1]

    floor_x, floor_y = hits(FLOOR_M)
    image = _tiles(floor_x, floor_y, random)
    wall = _grained(np.full(image.shape, _WALL_BGR, float), random, _GRAIN)
    np.copyto(image, wall, where=((floor_x > _WALL_X_M) | (rays[..., 2] > -1e-3))[..., None])
    table_x, table_y = hits(TABLE_TOP_M)
    np.copyto(image, np.array(_EDGE_BGR, np.uint8), where=_on_table(*hits(TABLE_TOP_M - 0.03))[..., None])
    np.copyto(image, _wood(table_x, table_y, random), where=_on_table(table_x, table_y)[..., None])
    return image


class MovingBackdrop:
    """What is behind, for a camera that moves: the ground at the table's height, and a wall above the horizon."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([7, seed])
        across = np.arange(*_GROUND_Y_M, 1 / _PX_PER_M)[::-1]
        y, x = np.meshgrid(across, np.arange(*_GROUND_X_M, 1 / _PX_PER_M), indexing="ij")
        self._ground = _tiles(x, y, random)
        np.copyto(self._ground, _wood(x, y, random), where=_on_table(x, y)[..., None])
        self._grain = random.integers(0, 20, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self._half = np.empty((HEIGHT // 2, WIDTH // 2, 3), np.uint8)
        self._metres_from_texel = np.array(
            [[1 / _PX_PER_M, 0, _GROUND_X_M[0]], [0, -1 / _PX_PER_M, _GROUND_Y_M[1]], [0, 0, 1]]
        )

    def draw(self, view: View) -> Image:
        """What `view` sees of it, (480, 640, 3)."""
        matrix = view.matrix
        on_plane = np.column_stack([matrix[:, 0], matrix[:, 1], matrix[:, 2] * TABLE_TOP_M + matrix[:, 3]])
        # Not np.linalg.inv: OpenBLAS solves even this with a second thread, which then spins on a whole core.
        _, texel_from_pixel = cv2.invert(np.diag([0.5, 0.5, 1.0]) @ on_plane @ self._metres_from_texel)
        height, width = self._half.shape[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpPerspective(
            self._ground,
            texel_from_pixel,
            (width, height),
            dst=self._half,
            flags=flags,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_TILE_BGR,
        )
        if len(wall := _above_horizon(view)):
            cv2.fillConvexPoly(self._half, np.round(wall / 2).astype(np.int32), _WALL_BGR)
        image = cv2.resize(self._half, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.subtract(image, self._grain, dst=image), np.uint8)


def _above_horizon(view: View) -> NDArray[np.float64]:
    """The part of the image whose rays do not go down, a convex polygon (n, 2), px; empty if there is none."""
    corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], float)
    rays = np.column_stack([corners - [WIDTH / 2, HEIGHT / 2], np.full(4, view.focal_px)])
    rise = rays @ view.axes[2] + _HORIZON * view.focal_px
    kept: list[NDArray[np.float64]] = []
    for index in range(4):
        following = (index + 1) % 4
        if rise[index] > 0:
            kept.append(corners[index])
        if (rise[index] > 0) != (rise[following] > 0):
            share = rise[index] / (rise[index] - rise[following])
            kept.append(corners[index] + share * (corners[following] - corners[index]))
    return np.array(kept)
