# SPDX-License-Identifier: Apache-2.0
"""The H1-2's waist and arms as numbers: where each joint sits, which way it turns, what it carries.

Source: unitree_ros:robots/h1_2_description/h1_2_handless.urdf. Frames are REP-103 (x forward, y left, z up), all
parallel in the zero pose but for the tilted shoulder pitch. The right arm is the left one mirrored at the x-z plane, so
only the left one is written down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    inertia_kg_m2: tuple[float, float, float, float, float, float]


_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)

TORSO = Link(
    joint="torso_joint",
    link="torso_link",
    parent="pelvis",
    origin_m=(0.0, 0.0, 0.0),
    roll_rad=0.0,
    axis=_Z,
    lower_rad=-2.35,
    upper_rad=2.35,
    effort_nm=200.0,
    velocity_rad_s=23.0,
    mass_kg=17.789,
    com_m=(0.000489, 0.002797, 0.20484),
    inertia_kg_m2=(0.4873, 0.40963, 0.12785, -0.00053763, 0.0020276, -0.00074582),
)

LEFT_ARM = (
    Link(
        joint="left_shoulder_pitch_joint",
        link="left_shoulder_pitch_link",
        parent="torso_link",
        origin_m=(0.0, 0.14806, 0.42333),
        roll_rad=0.2618,
        axis=_Y,
        lower_rad=-3.14,
        upper_rad=1.57,
        effort_nm=40.0,
        velocity_rad_s=9.0,
        mass_kg=1.327,
        com_m=(0.003053, 0.06042, -0.0059),
        inertia_kg_m2=(0.00058661, 0.0003989, 0.00052936, -2.0157e-05, 2.985e-06, 2.238e-05),
    ),
    Link(
        joint="left_shoulder_roll_joint",
        link="left_shoulder_roll_link",
        parent="left_shoulder_pitch_link",
        origin_m=(0.0342, 0.061999, -0.0060011),
        roll_rad=-0.2618,
        axis=_X,
        lower_rad=-0.38,
        upper_rad=3.4,
        effort_nm=40.0,
        velocity_rad_s=9.0,
        mass_kg=1.393,
        com_m=(-0.030932, -1e-06, -0.10609),
        inertia_kg_m2=(0.0018408, 0.001934638, 0.000617733, 3.98e-07, -0.00048324, 1.61e-07),
    ),
    Link(
        joint="left_shoulder_yaw_joint",
        link="left_shoulder_yaw_link",
        parent="left_shoulder_roll_link",
        origin_m=(-0.0342, 0.0, -0.1456),
        roll_rad=0.0,
        axis=_Z,
        lower_rad=-2.66,
        upper_rad=3.01,
        effort_nm=18.0,
        velocity_rad_s=20.0,
        mass_kg=1.505,
        com_m=(0.004583, 0.001128, -0.001128),
        inertia_kg_m2=(0.004199, 0.0043139, 0.00065755, -1.7786e-05, 0.00018372, 9.278e-05),
    ),
    Link(
        joint="left_elbow_joint",
        link="left_elbow_link",
        parent="left_shoulder_yaw_link",
        origin_m=(0.006, 0.0329, -0.182),
        roll_rad=0.0,
        axis=_Y,
        lower_rad=-0.95,
        upper_rad=3.18,
        effort_nm=18.0,
        velocity_rad_s=20.0,
        mass_kg=0.691,
        com_m=(0.077092, -0.028751, -0.009714),
        inertia_kg_m2=(0.000318491, 0.000861224, 0.000897899, 0.000224554, 6.62076e-05, -2.3329e-05),
    ),
    Link(
        joint="left_wrist_roll_joint",
        link="left_wrist_roll_link",
        parent="left_elbow_link",
        origin_m=(0.121, -0.0329, -0.011),
        roll_rad=0.0,
        axis=_X,
        lower_rad=-3.01,
        upper_rad=2.75,
        effort_nm=19.0,
        velocity_rad_s=31.4,
        mass_kg=0.683,
        com_m=(0.035281, -0.00232, 0.000337),
        inertia_kg_m2=(0.000313275, 0.000310412, 0.000345998, 1.6521e-05, -2.501e-06, 5.435e-06),
    ),
    Link(
        joint="left_wrist_pitch_joint",
        link="left_wrist_pitch_link",
        parent="left_wrist_roll_link",
        origin_m=(0.087, 0.0, 0.0),
        roll_rad=0.0,
        axis=_Y,
        lower_rad=-0.4625,
        upper_rad=0.4625,
        effort_nm=19.0,
        velocity_rad_s=31.4,
        mass_kg=0.484,
        com_m=(0.020395, 3.6e-05, -0.002973),
        inertia_kg_m2=(7.1364e-05, 6.9915e-05, 7.0702e-05, 3.08e-07, 1.485e-06, -8.8e-08),
    ),
    Link(
        joint="left_wrist_yaw_joint",
        link="left_wrist_yaw_link",
        parent="left_wrist_pitch_link",
        origin_m=(0.02, 0.0, 0.0),
        roll_rad=0.0,
        axis=_Z,
        lower_rad=-1.27,
        upper_rad=1.27,
        effort_nm=19.0,
        velocity_rad_s=31.4,
        mass_kg=0.124,
        com_m=(0.027967, 9.6e-05, 0.000739),
        inertia_kg_m2=(0.0001373, 0.000169998, 8.4808e-05, -1.71e-07, 2.942e-06, -2.5e-08),
    ),
)


def mirrored(link: Link) -> Link:
    """The right arm's body for one of the left arm: y changes its sign, and so does any turn about x or z."""
    x, y, z = link.origin_m
    com_x, com_y, com_z = link.com_m
    ixx, iyy, izz, ixy, ixz, iyz = link.inertia_kg_m2
    turns_about_y = link.axis == _Y
    return replace(
        link,
        joint=link.joint.replace("left_", "right_"),
        link=link.link.replace("left_", "right_"),
        parent=link.parent.replace("left_", "right_"),
        origin_m=(x, -y, z),
        roll_rad=-link.roll_rad,
        lower_rad=link.lower_rad if turns_about_y else -link.upper_rad,
        upper_rad=link.upper_rad if turns_about_y else -link.lower_rad,
        com_m=(com_x, -com_y, com_z),
        inertia_kg_m2=(ixx, iyy, izz, -ixy, ixz, -iyz),
    )


_SAME_PART = ("wrist_roll", "wrist_pitch")
"""Bodies that the source gives the very same inertial on both sides."""


def _right(left: Link) -> Link:
    right = mirrored(left)
    if any(part in left.link for part in _SAME_PART):
        return replace(right, com_m=left.com_m, inertia_kg_m2=left.inertia_kg_m2)
    return right


RIGHT_ARM = tuple(_right(link) for link in LEFT_ARM)
ARMS = LEFT_ARM + RIGHT_ARM
"""The 14 arm bodies in the order that is used everywhere: left 7, then right 7."""
