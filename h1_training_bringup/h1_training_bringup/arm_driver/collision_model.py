# SPDX-License-Identifier: Apache-2.0
"""How far the robot's own parts are from each other: capsules around its links, and a table, distances by MuJoCo in C.

The capsules hold the vertices of the vendor's meshes but for fairings of at most a centimetre
(unitree_ros:robots/h1_2_description/meshes, hands h1_2_with_FTP_hand.urdf with straight fingers and the thumb abroad).
A link next to another one on the same arm, and the upper arm at its own shoulder, are no pair: they always touch.

Distances change no faster than the joints let them: `levers` bounds, for each pair of parts, by how many metres the
distance can change per radian of each joint. So one evaluation vouches for all poses nearby, and for the way between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import mujoco
import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import COUNT, LEFT_ARM, Joints, Vector
from h1_training_bringup.arm_driver.robot_model import SIDES, model_spec

SEEN_M = 0.15
"""Distances beyond are not distinguished."""
_X, _Z = 0, 2
_FACES = ("behind", "right", "below", "ahead", "left", "above")


@dataclass(frozen=True)
class Capsule:
    """A line from `begin` to `end` with all around it within `radius_m`, in the frame of `link`.

    Attributes:
        part: what a person calls it, without its side.
    """

    part: str
    link: str
    begin: Vector
    end: Vector
    radius_m: float


@dataclass(frozen=True)
class Hand:
    """What is mounted at a wrist: from the wrist_yaw_link's origin along +x.

    Attributes:
        length_m: to the tips of the fingers.
        radius_m: around the palm, with what it holds.
    """

    length_m: float = 0.29
    radius_m: float = 0.055


@dataclass(frozen=True)
class Table:
    """A level plate in front of the robot, pelvis frame; `height_m` is that of its top, `front_m` its near edge's x."""

    height_m: float
    front_m: float = 0.25
    depth_m: float = 1.0
    width_m: float = 2.0


LEFT_LIMBS = (
    Capsule("upper arm", "left_shoulder_yaw_link", (0.003, 0.0, 0.14), (0.003, 0.0, -0.19), 0.055),
    Capsule("forearm", "left_elbow_link", (0.0, -0.031, -0.002), (0.19, -0.033, -0.010), 0.050),
)
_THUMB = Capsule("hand", "left_wrist_yaw_link", (0.11, -0.020, 0.030), (0.155, -0.040, 0.095), 0.025)
"""Of a hand that is as long as Inspire's."""
_LEAST_HAND_WITH_THUMB_M = 0.2
_ROUND_END_M, _LEAST_LINE_M = 0.05, 0.001
"""By which a hand is longer than its capsule's line; and the shortest line that is one to MuJoCo."""
BODY = (
    # The chest's box, 0.146 x 0.21 m, as two columns with the corners filled.
    *(Capsule("chest", "torso_link", (0.0, y, 0.06), (0.0, y, 0.43), 0.075) for y in (0.03, -0.03)),
    *(
        Capsule("chest", "torso_link", (x, y, 0.03), (x, y, 0.45), 0.036)
        for x, y in ((0.04, 0.07), (0.04, -0.07), (-0.04, 0.07), (-0.04, -0.07))
    ),
    Capsule("shoulders", "torso_link", (0.0, -0.11, 0.415), (0.0, 0.11, 0.415), 0.055),
    Capsule("head", "torso_link", (0.045, 0.0, 0.585), (0.045, 0.0, 0.69), 0.095),
    Capsule("pelvis", "pelvis", (0.0, -0.085, -0.04), (0.0, 0.085, -0.04), 0.075),
    # The hips; the legs below are the robot's own controller's to move.
    *(Capsule("hip", "pelvis", (0.0, y, -0.163), (0.0, y, -0.36), 0.075) for y in (0.163, -0.163)),
)
_REACHED_BY = {
    "forearm": {"chest", "shoulders", "head", "pelvis", "hip", "table"},
    "hand": {"chest", "shoulders", "head", "pelvis", "hip", "table", "upper arm"},
    "upper arm": {"chest", "head"},
}
"""What a part of an arm may meet, besides all parts of the other arm."""


class CollisionModel:
    """Distances between the parts of the arms, the body, and a table.

    Args:
        hand: at each wrist.
        table: or None.
        workspaces: by side, box that the hand keeps to: least x, y, z, then greatest, m, pelvis frame.

    Attributes:
        pairs: (P,) of names, `("left forearm", "chest")`; the faces of a workspace come last.
        levers: (P, 14), m/rad.
    """

    def __init__(
        self,
        hand: Hand | None = None,
        table: Table | None = None,
        workspaces: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        self.capsules = capsules(hand or Hand())
        spec = model_spec()
        spec.option.disableflags = 0
        for index, (_, capsule) in enumerate(self.capsules):
            _add(spec, f"{index}", capsule)
        if table is not None:
            half = (table.depth_m / 2, table.width_m / 2, 0.02)
            at = (table.front_m + half[_X], 0.0, table.height_m - half[_Z])
            box = mujoco.mjtGeom.mjGEOM_BOX
            spec.body("pelvis").add_geom(name="table", type=box, size=half, pos=at, contype=0, conaffinity=0)
        names = [(f"{index}", _name(side, capsule)) for index, (side, capsule) in enumerate(self.capsules)]
        names += [("table", "table")] if table is not None else []
        pair_of: dict[tuple[str, str], int] = {}
        geoms: list[tuple[str, str, int]] = []
        for (first, a), (second, b) in _meeting(names):
            spec.add_pair(geomname1=first, geomname2=second, margin=SEEN_M, condim=1)
            geoms.append((first, second, pair_of.setdefault((a, b), len(pair_of))))
        self._boxes = [(side, box) for side, box in (workspaces or {}).items() if box]
        faces = [(f"{side} hand", f"workspace {face}") for side, _ in self._boxes for face in _FACES]
        self._shape_pairs = len(pair_of)
        self.pairs = (*pair_of, *faces)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._pair_of = np.zeros((self._model.ngeom, self._model.ngeom), np.intp)
        for first, second, pair in geoms:
            i, j = self._model.geom(first).id, self._model.geom(second).id
            self._pair_of[i, j] = self._pair_of[j, i] = pair
        self._palms = {side: self._palm(side) for side, _ in self._boxes}
        self.levers = np.array([_lever(a, self.capsules) + _lever(b, self.capsules) for a, b in self.pairs])

    def distances(self, q: Joints, waist_q: float) -> NDArray[np.float64]:
        """(P,), m, of each pair, `SEEN_M` where it is farther; negative where the capsules overlap.

        Args:
            q: (14,), rad.
            waist_q: rad.
        """
        model, data = self._model, self._data
        data.qpos[0], data.qpos[1:] = waist_q, q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        found = np.full(len(self.pairs), SEEN_M)
        if data.ncon:
            contact = data.contact
            geom = contact.geom
            np.minimum.at(found, self._pair_of[geom[:, 0], geom[:, 1]], contact.dist)
        for index, (side, box) in enumerate(self._boxes):
            begin = self._shape_pairs + len(_FACES) * index
            found[begin : begin + len(_FACES)] = self._to_faces(side, box)
        return found

    def _palm(self, side: str) -> tuple[int, float, float]:
        """Its geom, half its length, and its radius."""
        index = next(i for i, (at, shape) in enumerate(self.capsules) if at == side and shape.part == "hand")
        geom = self._model.geom(f"{index}")
        return geom.id, float(geom.size[1]), float(geom.size[0])

    def _to_faces(self, side: str, box: tuple[float, ...]) -> NDArray[np.float64]:
        """(6,), m, from the hand to each face of its box, positive inside."""
        geom, half, radius = self._palms[side]
        centre = self._data.geom_xpos[geom]
        extent = np.abs(self._data.geom_xmat[geom][2::3]) * half + radius
        inside = np.concatenate([centre - extent - box[:3], np.subtract(box[3:], centre + extent)])
        nearest: NDArray[np.float64] = np.minimum(inside, SEEN_M)
        return nearest


def capsules(hand: Hand) -> list[tuple[str, Capsule]]:
    """All capsules with their side, empty for the body's."""
    end_m = max(hand.length_m - _ROUND_END_M, _LEAST_LINE_M)
    palm = Capsule("hand", "left_wrist_yaw_link", (0.0, 0.0, 0.0), (end_m, 0.0, 0.0), hand.radius_m)
    left = [*LEFT_LIMBS, palm, *([_THUMB] if hand.length_m >= _LEAST_HAND_WITH_THUMB_M else [])]
    return [
        *(("left", capsule) for capsule in left),
        *(("right", _mirrored(capsule)) for capsule in left),
        *(("", capsule) for capsule in BODY),
    ]


def _mirrored(capsule: Capsule) -> Capsule:
    (x, y, z), (u, v, w) = capsule.begin, capsule.end
    link = capsule.link.replace("left_", "right_")
    return Capsule(capsule.part, link, (x, -y, z), (u, -v, w), capsule.radius_m)


def _add(spec: mujoco.MjSpec, name: str, capsule: Capsule) -> None:
    spec.body(capsule.link).add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*capsule.begin, *capsule.end],
        size=[capsule.radius_m, 0.0, 0.0],
        contype=0,
        conaffinity=0,
        mass=0.0,
    )


def _name(side: str, capsule: Capsule) -> str:
    return f"{side} {capsule.part}".strip()


def _meeting(names: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Which of the named shapes are pairs; each is (shape, part)."""
    for one, other in product(names, names):
        side, _, part = one[1].partition(" ")
        if side not in SIDES:
            continue
        other_side, _, other_part = other[1].partition(" ")
        if other_side not in SIDES:
            if other[1] in _REACHED_BY[part]:
                yield one, other
        elif (side, other_side) == SIDES or (side == other_side and other_part in _REACHED_BY[part]):
            yield one, other


def _lever(name: str, shapes: list[tuple[str, Capsule]]) -> Joints:
    """(14,), m/rad: no point of the part moves faster when one joint turns.

    A point is no farther from a joint's axis than the next joint is, and then all links in a row.
    """
    lever = np.zeros(COUNT)
    side, _, part = name.partition(" ")
    if side not in SIDES:
        return lever
    own = [capsule for at, capsule in shapes if at == side and capsule.part == part]
    offsets = [np.array(link.origin_m) for link in LEFT_ARM]
    last = [link.link for link in LEFT_ARM].index(own[0].link.replace("right_", "left_"))
    reach = max(float(np.linalg.norm(point)) for capsule in own for point in (capsule.begin, capsule.end))
    for joint in range(last + 1):
        axis = np.array(LEFT_ARM[joint].axis)
        if joint == last:
            points = [np.array(point) for capsule in own for point in (capsule.begin, capsule.end)]
            far = max(float(np.linalg.norm(np.cross(axis, point))) for point in points)
        else:
            links = sum(float(np.linalg.norm(offset)) for offset in offsets[joint + 2 : last + 1])
            far = float(np.linalg.norm(np.cross(axis, offsets[joint + 1]))) + links + reach
        lever[joint + (COUNT // 2 if side == "right" else 0)] = far
    return lever
