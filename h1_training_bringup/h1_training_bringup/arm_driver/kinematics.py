# SPDX-License-Identifier: Apache-2.0
"""The H1-2's waist and arms as numbers: where each joint sits, which way it turns, what it carries. Read from our URDF.

Its source is unitree_ros:robots/h1_2_description/h1_2_handless.urdf. Frames are REP-103 (x forward, y left, z up), all
parallel in the zero pose but for the tilted shoulder pitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ament_index_python.packages import get_package_share_directory

URDF = Path(get_package_share_directory("h1_training_bringup")) / "urdf/h1_2_arms.urdf"
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Link:
    """One moving body and the joint on which it hangs.

    Attributes:
        joint: name of the joint; `link` is the body's, `parent` that of the body it hangs on.
        origin_m: the joint in the parent's frame.
        roll_rad: the joint frame's rotation about the parent's x; no joint here has pitch or yaw.
        axis: the joint's axis in its own frame.
        lower_rad, upper_rad: range of the joint.
        effort_nm, velocity_rad_s: what the motor can do.
        mass_kg, com_m: of the body, in the joint's frame.
        inertia_kg_m2: about the centre of mass: ixx, iyy, izz, ixy, ixz, iyz.
    """

    joint: str
    link: str
    parent: str
    origin_m: Vector
    roll_rad: float
    axis: Vector
    lower_rad: float
    upper_rad: float
    effort_nm: float
    velocity_rad_s: float
    mass_kg: float
    com_m: Vector
    inertia_kg_m2: tuple[float, ...]


def _links() -> tuple[Link, ...]:
    """Every body that a joint turns, in the file's order: waist, left arm, right arm, each from its root on."""
    root = ElementTree.parse(URDF).getroot()
    bodies = {body.attrib["name"]: body for body in root.iter("link")}
    turned = (joint for joint in root.iter("joint") if joint.attrib["type"] == "revolute")
    return tuple(_link(joint, bodies[_at(joint, "child", "link")]) for joint in turned)


def _link(joint: ElementTree.Element, body: ElementTree.Element) -> Link:
    axes = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    return Link(
        joint=joint.attrib["name"],
        link=body.attrib["name"],
        parent=_at(joint, "parent", "link"),
        origin_m=_vector(joint, "origin", "xyz"),
        roll_rad=_vector(joint, "origin", "rpy")[0],
        axis=_vector(joint, "axis", "xyz"),
        lower_rad=float(_at(joint, "limit", "lower")),
        upper_rad=float(_at(joint, "limit", "upper")),
        effort_nm=float(_at(joint, "limit", "effort")),
        velocity_rad_s=float(_at(joint, "limit", "velocity")),
        mass_kg=float(_at(body, "inertial/mass", "value")),
        com_m=_vector(body, "inertial/origin", "xyz"),
        inertia_kg_m2=tuple(float(_at(body, "inertial/inertia", axis)) for axis in axes),
    )


def _at(element: ElementTree.Element, path: str, attribute: str) -> str:
    return str(element.findall(path)[0].attrib[attribute])


def _vector(element: ElementTree.Element, path: str, attribute: str) -> Vector:
    x, y, z = map(float, _at(element, path, attribute).split())
    return x, y, z


TORSO, *_ARMS = _links()
ARMS = tuple(_ARMS)
"""The 14 arm bodies in the order that is used everywhere: left 7, then right 7."""
LEFT_ARM, RIGHT_ARM = ARMS[:7], ARMS[7:]
