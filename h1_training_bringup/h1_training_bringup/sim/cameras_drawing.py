# SPDX-License-Identifier: Apache-2.0
"""Where the arms are, and how they, the object and the line of text are painted into a camera's image.

Joint angles become round segments from the shoulders to the finger tips; what is nearer covers what is farther. All
geometry of an image is computed at once, in arrays; only the painting itself goes piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.robot_model import SIDES, model_spec
from h1_training_bringup.sim.cameras_view import HEIGHT, NEAR_M, WIDTH, Image, View
from h1_training_bringup.sim.scene import TABLE_TOP_M, TABLE_X_M, TABLE_Y_M, SceneObject

Array = NDArray[np.float64]

_CHAIN = ("shoulder_roll", "shoulder_yaw", "elbow", "wrist_pitch", "wrist_yaw")
_CHAIN_LOOKS = ((0.05, "upper"), (0.045, "upper"), (0.04, "fore"), (0.032, "wrist"))
"""Radius, m, and look of the segments between the links of `_CHAIN`."""
_HAND = (
    *(((0.01, 0.6 * y, 0.0), (0.095, y, -0.004), 0.016, "palm") for y in (-0.026, 0.0, 0.026)),
    *(((0.1, y, -0.004), (0.145, 1.1 * y, -0.012), 0.009, "finger") for y in (-0.033, -0.011, 0.011, 0.033)),
    *(((0.145, 1.1 * y, -0.012), (0.18, 1.1 * y, -0.035), 0.008, "finger") for y in (-0.033, -0.011, 0.011, 0.033)),
    ((0.04, 0.025, -0.004), (0.085, 0.06, -0.015), 0.011, "finger"),
    ((0.085, 0.06, -0.015), (0.125, 0.062, -0.028), 0.009, "finger"),
)
"""Segments of the right hand in the frame of its wrist_yaw_link: begin, end, radius, m, and look. Thumb at +y."""

_GRIP = (
    *(((x, -0.04, 0.035), (x, 0.045, 0.03), 0.012, "skin") for x in (-0.115, -0.09, -0.065, -0.04)),
    ((-0.08, 0.035, 0.03), (-0.05, 0.16, 0.1), 0.026, "skin"),
    ((-0.05, 0.16, 0.1), (0.02, 0.46, 0.22), 0.045, "sleeve"),
)
"""The hand and the forearm of a person who guides the left wrist, in the same frame, from outside."""

_ONE_SIDE = (*_CHAIN_LOOKS, *((radius, look) for *_, radius, look in (*_HAND, *_GRIP)))
LOOKS = tuple(look for _, look in _ONE_SIDE) * len(SIDES)
RADII_M = np.array([radius for radius, _ in _ONE_SIDE] * len(SIDES))
"""(n,), of the segments in `ArmSegments.segments_m`."""
IS_PERSON = np.array([look in ("skin", "sleeve") for look in LOOKS])
"""(n,), which segments are not the robot's."""


@dataclass(frozen=True)
class ArmSegments:
    """Both arms as they are now, pelvis frame.

    Attributes:
        segments_m: (n, 2, 3), beginnings and ends; see `LOOKS`, `RADII_M`, `IS_PERSON`.
        wrists_m, wrist_rotations: (2, 3) and (2, 3, 3), of the wrist_yaw_links.
    """

    segments_m: Array
    wrists_m: Array
    wrist_rotations: Array


class Skeleton:
    """Forward kinematics of both arms, waist held."""

    def __init__(self) -> None:
        self._model = model_spec().compile()
        self._data = mujoco.MjData(self._model)
        self._bodies = [[self._model.body(f"{side}_{name}_link").id for name in _CHAIN] for side in SIDES]
        hand, grip = (np.array([(begin, end) for begin, end, *_ in parts]) for parts in (_HAND, _GRIP))
        mirror = np.array([1.0, -1.0, 1.0])
        self._hands = (np.concatenate([hand * mirror, grip]), np.concatenate([hand, grip * mirror]))

    def pose(self, q: Array) -> ArmSegments:
        """The arms at the 14 joint angles `q`, rad."""
        self._data.qpos[-COUNT:] = q
        mujoco.mj_kinematics(self._model, self._data)
        segments, wrists, rotations = [], [], []
        for ids, hand in zip(self._bodies, self._hands, strict=True):
            chain = self._data.xpos[ids]
            rotation = self._data.xmat[ids[-1]].reshape(3, 3).copy()
            segments += [np.stack([chain[:-1], chain[1:]], axis=1), chain[-1] + hand @ rotation.T]
            wrists.append(chain[-1])
            rotations.append(rotation)
        return ArmSegments(np.concatenate(segments), np.array(wrists), np.array(rotations))


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
_ARC = np.linspace(0.0, 1.0, 10)
"""Points of the outline of a round end."""
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
        outlines: one for each of `visible`: (widths, points, 2), fixed-point pixels, the convex outline at each width.
    """

    visible: NDArray[np.intp]
    outlines: NDArray[np.int32]


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
    segments = _projected(view, arms.segments_m, person | ~IS_PERSON, _WIDTHS)
    distance = np.linalg.norm(arms.segments_m.mean(axis=1) - view.position_m, axis=1)
    near_to_far = sorted(
        (
            (float(np.linalg.norm(np.array(thing.position_m) - view.position_m)), thing)
            for thing in things
            if thing.size_m[2]
        ),
        key=lambda entry: entry[0],
    )
    for at in np.argsort(-distance[segments.visible]):
        index = segments.visible[at]
        while near_to_far and distance[index] < near_to_far[-1][0]:
            _paint_box(image, view, near_to_far.pop()[1])
        for outline, tone in zip(segments.outlines[at], _TONES[index], strict=False):
            cv2.fillConvexPoly(image, outline, tone, cv2.LINE_AA, _SHIFT)
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


def _projected(view: View, segments_m: Array, wanted: NDArray[np.bool_], widths: Array) -> _Segments:
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
    visible = np.flatnonzero(wanted & before_camera & ~outside.any(axis=1))
    return _Segments(visible, _fixed(_outlines(at[visible, None], widths[:, None] * radii[visible, None])))


def _outlines(middles: Array, radii: Array) -> Array:
    """Around pairs of circles, (..., 2, 2) and (..., 2), each pair's convex hull as a polygon, (..., points, 2)."""
    along = middles[..., 1, :] - middles[..., 0, :]
    length, narrowing = np.linalg.norm(along, axis=-1), radii[..., 0] - radii[..., 1]
    one_holds_other = np.abs(narrowing) >= length
    larger = np.where(narrowing > 0, 0, 1)[..., None]
    middles = np.where(one_holds_other[..., None, None], np.take_along_axis(middles, larger[..., None], -2), middles)
    radii = np.where(one_holds_other[..., None], np.take_along_axis(radii, larger, -1), radii)
    # Where the common tangents touch, seen from each middle; a circle alone is closed by its two halves.
    touch = np.arccos(np.where(one_holds_other, 0.0, narrowing / np.where(one_holds_other, 1.0, length)))[..., None]
    heading = np.arctan2(along[..., 1], along[..., 0])[..., None]
    angles = np.stack([heading + touch + 2 * (np.pi - touch) * _ARC, heading - touch + 2 * touch * _ARC], axis=-2)
    on_circle = radii[..., None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    around: Array = middles[..., None, :] + on_circle
    return around.reshape(*around.shape[:-3], 2 * len(_ARC), 2)


def _darken_table(image: Image, view: View, arms: ArmSegments) -> None:
    """The arms' shadow, straight below them on the table: it shows how high they are."""
    flat = arms.segments_m.copy()
    flat[..., 2] = TABLE_TOP_M
    x, y = flat[..., 0], flat[..., 1]
    on_table = (x > TABLE_X_M[0]) & (x < TABLE_X_M[1]) & (y > TABLE_Y_M[0]) & (y < TABLE_Y_M[1])
    shadows = _projected(view, flat, on_table.all(axis=1) & ~IS_PERSON, _WIDTHS[:1]).outlines[:, 0]
    if not len(shadows):
        return
    corners = shadows.reshape(-1, 2) >> _SHIFT
    low, high = np.clip(corners.min(axis=0) - 1, 0, None), np.minimum(corners.max(axis=0) + 2, [WIDTH, HEIGHT])
    if (high <= low).any():
        return
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for outline in shadows:
        cv2.fillConvexPoly(mask, outline, (255,), cv2.LINE_AA, _SHIFT)
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
