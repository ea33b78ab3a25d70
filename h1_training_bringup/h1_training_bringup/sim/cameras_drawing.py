# SPDX-License-Identifier: Apache-2.0
"""Paints arms, object and the line of text into a camera's image; what is nearer covers what is farther.

All geometry of an image is computed at once, in arrays; only the painting itself goes piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.sim.cameras_arms import IS_PERSON, LOOKS, RADII_M, ArmSegments
from h1_training_bringup.sim.cameras_backdrop import Image
from h1_training_bringup.sim.cameras_view import HEIGHT, NEAR_M, WIDTH, View
from h1_training_bringup.sim.scene import TABLE_TOP_M, TABLE_X_M, TABLE_Y_M, SceneObject

Array = NDArray[np.float64]

_COLOURS_BGR = {
    "upper": (62, 60, 58),
    "fore": (205, 203, 200),
    "wrist": (74, 72, 70),
    "palm": (60, 58, 56),
    "finger": (104, 101, 98),
    "skin": (132, 166, 214),
    "sleeve": (140, 92, 52),
}
_WIDTHS, _SHADES = np.array([1.0, 0.8, 0.35]), (0.6, 1.0, 1.25)
"""A segment is painted again and again, ever narrower and brighter, and so looks round; fingers only twice."""
_TONES = [
    [
        tuple(min(255, int(shade * value)) for value in _COLOURS_BGR[look])
        for shade in (_SHADES[:2] if look == "finger" else _SHADES)
    ]
    for look in LOOKS
]
_SHADOW = 0.6
_TEXT_BGR, _TEXT_BACK_BGR = (240, 240, 240), (30, 30, 30)
_SHIFT = 3
"""Fractional bits of the coordinates that OpenCV is given."""
_FAR_OUTSIDE_PX = 4000.0
_CUBE = np.array([[x, y, z] for z in (-0.5, 0.5) for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))])
_CUBE_FACES = (((4, 5, 6, 7), 1.0), ((0, 1, 5, 4), 0.6), ((1, 2, 6, 5), 0.7), ((2, 3, 7, 6), 0.8), ((3, 0, 4, 7), 0.72))
_CUBE_NORMALS = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0]], float)
_FACE_AXES = [2, 1, 0, 1, 0]


@dataclass(frozen=True)
class _Segments:
    """Round segments as they fall into an image.

    Attributes:
        visible: indices of those that do.
        middles: (n, 2, 2), fixed-point pixels of their ends.
        outlines: (n, 3, 4, 2), fixed-point pixels of the quadrilaterals between the ends, one a width.
        radii: (n, 2, 3), fixed-point, one an end and a width.
    """

    visible: NDArray[np.intp]
    middles: NDArray[np.int32]
    outlines: NDArray[np.int32]
    radii: NDArray[np.int32]


def draw_scene(
    image: Image, view: View, arms: ArmSegments, things: Iterable[SceneObject], *, person: bool = False
) -> None:
    """Paint marks, shadows, then objects and arms from far to near, into `image`, (480, 640, 3).

    With `person`, somebody's hands are at the robot's wrists.
    """
    things = tuple(things)
    for mark in (thing for thing in things if not thing.size_m[2]):
        _paint_box(image, view, mark)
    _darken_table(image, view, arms)
    segments = _projected(view, arms.segments_m)
    distance = np.linalg.norm(arms.segments_m.mean(axis=1) - view.position_m, axis=1)
    near_to_far = sorted(
        (
            (float(np.linalg.norm(np.array(thing.position_m) - view.position_m)), thing)
            for thing in things
            if thing.size_m[2]
        ),
        key=lambda entry: entry[0],
    )
    painted = segments.visible if person else segments.visible[~IS_PERSON[segments.visible]]
    for index in painted[np.argsort(-distance[painted])]:
        while near_to_far and distance[index] < near_to_far[-1][0]:
            _paint_box(image, view, near_to_far.pop()[1])
        for step, tone in enumerate(_TONES[index]):
            _paint_segment(image, segments, int(index), step, tone)
    while near_to_far:
        _paint_box(image, view, near_to_far.pop()[1])


def draw_text(image: Image, text: str) -> None:
    """Write one line along the lower edge."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    cv2.rectangle(image, (0, HEIGHT - height - 12), (width + 14, HEIGHT), _TEXT_BACK_BGR, cv2.FILLED)
    cv2.putText(image, text, (7, HEIGHT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _TEXT_BGR, 1, cv2.LINE_AA)


def _fixed(pixels: Array) -> NDArray[np.int32]:
    inside = np.clip(pixels, -_FAR_OUTSIDE_PX, _FAR_OUTSIDE_PX)
    fixed: NDArray[np.int32] = np.round(inside * (1 << _SHIFT)).astype(np.int32)
    return fixed


def _projected(view: View, segments_m: Array) -> _Segments:
    seen = view.in_camera(segments_m)
    near = np.maximum(NEAR_M, 1.2 * RADII_M)
    depth = seen[..., 2]
    before_camera = (depth >= near[:, None]).any(axis=1)
    for behind, ahead in ((0, 1), (1, 0)):  # cut off what lies behind the camera
        share = (near - depth[:, behind]) / np.where(
            depth[:, ahead] == depth[:, behind], 1, depth[:, ahead] - depth[:, behind]
        )
        cut = seen[:, behind] + share[:, None] * (seen[:, ahead] - seen[:, behind])
        seen[:, behind] = np.where((depth[:, behind] < near)[:, None], cut, seen[:, behind])
    seen[~before_camera, :, 2] = 1.0
    at = view.pixels(seen)
    radii = view.focal_px * RADII_M[:, None] / seen[..., 2]
    outside = (at + radii[..., None] < 0).all(axis=1) | (at - radii[..., None] > [WIDTH, HEIGHT]).all(axis=1)
    along = at[:, 1] - at[:, 0]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.linalg.norm(along, axis=1), 1e-6)[:, None]
    offset = _WIDTHS[:, None, None] * (radii[..., None] * across[:, None, :])[:, None]
    outlines = np.concatenate([at[:, None] + offset, (at[:, None] - offset)[:, :, ::-1]], axis=2)
    return _Segments(
        visible=np.flatnonzero(before_camera & ~outside.any(axis=1)),
        middles=_fixed(at),
        outlines=_fixed(outlines),
        radii=_fixed(radii[..., None] * _WIDTHS),
    )


def _paint_segment(canvas: NDArray[Any], segments: _Segments, index: int, step: int, tone: tuple[int, ...]) -> None:
    cv2.fillConvexPoly(canvas, segments.outlines[index, step], tone, cv2.LINE_AA, _SHIFT)
    for middle, radius in zip(segments.middles[index].tolist(), segments.radii[index, :, step].tolist(), strict=True):
        cv2.circle(canvas, middle, radius, tone, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _darken_table(image: Image, view: View, arms: ArmSegments) -> None:
    """The arms' shadow, straight below them on the table: it shows how high they are."""
    flat = arms.segments_m.copy()
    flat[..., 2] = TABLE_TOP_M
    shadows = _projected(view, flat)
    x, y = flat[..., 0], flat[..., 1]
    on_table = ((x > TABLE_X_M[0]) & (x < TABLE_X_M[1]) & (y > TABLE_Y_M[0]) & (y < TABLE_Y_M[1])).all(
        axis=1
    ) & ~IS_PERSON
    cast = [int(index) for index in shadows.visible if on_table[index]]
    if not cast:
        return
    outlines = shadows.outlines[cast, 0].reshape(-1, 2) >> _SHIFT
    low, high = np.clip(outlines.min(axis=0) - 8, 0, None), np.minimum(outlines.max(axis=0) + 8, [WIDTH, HEIGHT])
    if (high <= low).any():
        return
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index in cast:
        _paint_segment(mask, shadows, index, 0, (255,))
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    cv2.copyTo(cv2.convertScaleAbs(image[part], alpha=_SHADOW), mask[part], image[part])


def _paint_box(image: Image, view: View, thing: SceneObject) -> None:
    cosine, sine = np.cos(thing.yaw_rad), np.sin(thing.yaw_rad)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    size = np.array(thing.size_m)
    seen = view.in_camera(size * _CUBE @ turn.T + np.array(thing.position_m))
    if (seen[:, 2] < NEAR_M).any():
        return
    at = _fixed(view.pixels(seen))
    towards_camera = view.position_m - np.array(thing.position_m)
    for (corners, shade), normal, depth in zip(_CUBE_FACES, _CUBE_NORMALS @ turn.T, size[_FACE_AXES], strict=True):
        if normal @ towards_camera > depth / 2:
            colour = tuple(int(value * shade) for value in thing.colour_bgr)
            cv2.fillConvexPoly(image, at[list(corners)], colour, cv2.LINE_AA, _SHIFT)
