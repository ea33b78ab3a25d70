# SPDX-License-Identifier: Apache-2.0
"""Where the simulated cameras are, and what falls where in their images.

The head camera sits where the robot has it (`camera_joint`, unitree_ros h1_2_handless.urdf); the wrist cameras sit
above the wrists and look along the hands. Optical frames as in REP-103: z ahead, x right, y down. Points are in the
pelvis frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, HEIGHT = 640, 480
NEAR_M = 0.02

_HEAD_POSITION_M, _HEAD_PITCH_RAD = np.array([0.11109, 0.0175, 0.68789]), 0.8859
_WRIST_POSITION_M, _WRIST_PITCH_RAD = np.array([-0.03, 0.0, 0.095]), 0.6
_HEAD_FOCAL_PX, _WRIST_FOCAL_PX = 430.0, 400.0
"""Horizontal fields of view of 73 and 77 degrees."""


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
