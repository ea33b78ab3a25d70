# SPDX-License-Identifier: Apache-2.0
"""The arms' URDF from the table of links, so that the two cannot differ.

`python -m h1_training_bringup.arm_driver.urdf` writes it.

Shapes are primitives, drawn from each joint to the next: enough to see in rviz2 what the arms do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from h1_training_bringup.arm_driver.kinematics import ARMS, LEFT_ARM, RIGHT_ARM, TORSO, Link, Vector
from h1_training_bringup.arm_driver.robot_model import SIDES

_FIXED: tuple[tuple[str, str, Vector, Vector], ...] = (
    ("imu_joint", "imu_link", (-0.04452, -0.01891, 0.27756), (0.0, 0.0, 0.0)),
    ("camera_joint", "camera_link", (0.11109, 0.0175, 0.68789), (0.0, 0.8859291283123216, 0.0)),
)
"""On the torso: joint, link, xyz, rpy (unitree_ros:robots/h1_2_description/h1_2_handless.urdf)."""
_OPTICAL = (-math.pi / 2, 0.0, -math.pi / 2)
"""From a body's frame (x ahead, z up) to an optical one (z ahead, y down): REP-103."""
_WRIST_CAMERA: tuple[Vector, Vector] = ((-0.03, 0.0, 0.095), (0.0, 0.6, 0.0))
"""Above the wrist, looking along the hand: where the simulated one is; a real mount is whoever built it's."""
_RADII = (0.045, 0.045, 0.04, 0.035, 0.032, 0.028, 0.025)
_HAND: Vector = (0.16, 0.0, 0.0)
_LIMB, _HEAD, _HAND_COLOUR = "limb", "body", "hand"
_COLOURS = {_LIMB: "0.75 0.76 0.78 1", _HEAD: "0.25 0.26 0.28 1", _HAND_COLOUR: "0.2 0.35 0.6 1"}


def urdf_text() -> str:
    """The whole file."""
    lines = ['<?xml version="1.0"?>', f"<!-- {_LICENCE} -->", f"<!-- {_HEADER} -->", '<robot name="h1_2_arms">']
    lines += [f'  <material name="{name}"><color rgba="{rgba}"/></material>' for name, rgba in _COLOURS.items()]
    lines += ['  <link name="pelvis"/>', *_link(TORSO, _torso_shapes()), *_joint(TORSO)]
    for arm in (LEFT_ARM, RIGHT_ARM):
        ends = [*(link.origin_m for link in arm[1:]), _HAND]
        for index, (link, end) in enumerate(zip(arm, ends, strict=True)):
            colour = _HAND_COLOUR if end is _HAND else _LIMB
            lines += [*_link(link, [_rod(end, _RADII[index], colour)]), *_joint(link)]
    for joint, name, xyz, rpy in _FIXED:
        lines += [f'  <link name="{name}"/>', f'  <joint name="{joint}" type="fixed">']
        lines += [f'    <parent link="torso_link"/><child link="{name}"/>{_origin(xyz, rpy)}', "  </joint>"]
    lines += _camera("head_camera", "camera_link", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    for side in SIDES:
        lines += _camera(f"{side}_wrist_camera", f"{side}_wrist_yaw_link", *_WRIST_CAMERA)
    return "\n".join([*lines, "</robot>", ""])


_LICENCE = "SPDX-License-Identifier: Apache-2.0"
_HEADER = "Waist and arms of the Unitree H1-2, REP-103 frames; written by h1_training_bringup/arm_driver/urdf.py"


def _camera(name: str, parent: str, xyz: Vector, rpy: Vector) -> list[str]:
    """A camera and its optical frame, which is the `frame_id` of its images (`h1_training_node.cameras`)."""
    optical = f"{name}_color_optical_frame"
    return [
        f'  <link name="{name}_link"/>',
        f'  <joint name="{name}_joint" type="fixed">',
        f'    <parent link="{parent}"/><child link="{name}_link"/>{_origin(xyz, rpy)}',
        "  </joint>",
        f'  <link name="{optical}"/>',
        f'  <joint name="{name}_color_optical_joint" type="fixed">',
        f'    <parent link="{name}_link"/><child link="{optical}"/>{_origin((0.0, 0.0, 0.0), _OPTICAL)}',
        "  </joint>",
    ]


def _link(link: Link, shapes: Sequence[str]) -> list[str]:
    ixx, iyy, izz, ixy, ixz, iyz = link.inertia_kg_m2
    return [
        f'  <link name="{link.link}">',
        f'    <inertial>{_origin(link.com_m)}<mass value="{link.mass_kg}"/>',
        f'      <inertia ixx="{ixx}" iyy="{iyy}" izz="{izz}" ixy="{ixy}" ixz="{ixz}" iyz="{iyz}"/></inertial>',
        *(f"    <visual>{shape}</visual>" for shape in shapes),
        "  </link>",
    ]


def _joint(link: Link) -> list[str]:
    limit = (
        f'<limit lower="{link.lower_rad}" upper="{link.upper_rad}"'
        f' effort="{link.effort_nm}" velocity="{link.velocity_rad_s}"/>'
    )
    origin = _origin(link.origin_m, (link.roll_rad, 0.0, 0.0))
    return [
        f'  <joint name="{link.joint}" type="revolute">',
        f'    <parent link="{link.parent}"/><child link="{link.link}"/>{origin}',
        f'    <axis xyz="{_numbers(link.axis)}"/>{limit}',
        "  </joint>",
    ]


def _torso_shapes() -> list[str]:
    chest = f'{_origin((0.0, 0.0, 0.26))}<geometry><box size="0.18 0.26 0.44"/></geometry>'
    head = f'{_origin((0.04, 0.0, 0.62))}<geometry><sphere radius="0.09"/></geometry>'
    return [f'{shape}<material name="{_HEAD}"/>' for shape in (chest, head)]


def _rod(end: Vector, radius: float, colour: str) -> str:
    """A cylinder from the link's origin to `end`, its axis turned from z by pitch and yaw."""
    x, y, z = end
    length = math.dist((0.0, 0.0, 0.0), end)
    pitch, yaw = math.acos(z / length), math.atan2(y, x)
    geometry = f'<geometry><cylinder radius="{radius}" length="{length:.6g}"/></geometry>'
    return f'{_origin((x / 2, y / 2, z / 2), (0.0, pitch, yaw))}{geometry}<material name="{colour}"/>'


def _origin(xyz: Vector, rpy: Vector = (0.0, 0.0, 0.0)) -> str:
    return f'<origin xyz="{_numbers(xyz)}" rpy="{_numbers(rpy)}"/>'


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.7g}" for value in values)


assert len(_RADII) * 2 == len(ARMS)

if __name__ == "__main__":
    sys.stdout.write(urdf_text())
