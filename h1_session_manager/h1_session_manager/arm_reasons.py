# SPDX-License-Identifier: Apache-2.0
"""What the arm driver's reasons mean to the person beside the robot, and what to do. The table of all of them is in
`h1_training_bringup/docs/arms.md`; here is what forces the arms into a mode that nobody has asked for.
"""

from __future__ import annotations

CLOSE_M = 0.03
"""Parts of the robot that are nearer to each other are "close"; the default of arm_driver's `min_distance_m`."""

_SEE_ROBOT = "see the robot's own controller"
MEANINGS = {
    "blocked": "something, or somebody, holds an arm back; look, then clear the way",
    "collision_ahead": (
        "the policy insists on a pose that is too near to the robot's body, its other arm, the table or the "
        "workspace's edge; guide the arms to an open pose before you let it try again"
    ),
    "driver_hung": "the arm driver stood still for too long; the arm guard releases the arms",
    "foreign_commander": "another program commands the arms, or plays a part of this session; end that program",
    "guard_lost": "the arm guard does not answer; release the arms, then start the session again",
    "guard_took_over": "the arm driver hangs or died; the arm guard holds the arms and releases them",
    "home_missed": "the arms stopped short of home; look what holds them",
    "home_no_way": "there is no way home around the robot's own body; guide the arms to an open pose",
    "joint_out_of_range": (
        "a joint is measured where it cannot be: its encoder or the joint is broken. Support that arm, "
        f"the others carry themselves; {_SEE_ROBOT}"
    ),
    "motor_fault": (
        "a motor reports a fault or is off, or the robot leans or was restarted; arm_driver's line says which. "
        f"Support the arms; {_SEE_ROBOT}"
    ),
    "moved_while_acquiring": "somebody is at the arms; stand clear, they are released",
    "no_guard": "the arm guard is not heard, and nothing moves without it; look at its log",
    "overheated": "a motor is too hot; guide the arms to a pose in which they hang, and let them cool down",
    "robot_frozen": (
        "states come, but not those of a living robot: within a second nothing carries the arms. Stand clear; "
        f"{_SEE_ROBOT}, it may hang"
    ),
    "robot_lost": (
        "no state comes from the robot: within a second nothing carries the arms. Stand clear; "
        "check its power and the network cable"
    ),
    "session_lost": "arm_driver does not hear the session; does this computer stand still?",
    "stale_action": "the policy went silent",
    "state_slow": "the robot's states come too slowly to move the arms; look at the network",
}
"""By reason: what has happened, and what to do."""


def meaning(reason: str) -> str:
    """What `reason` means, as a sentence without its full stop; empty if it says enough by itself."""
    text = MEANINGS.get(reason, "")
    return text[:1].upper() + text[1:]
