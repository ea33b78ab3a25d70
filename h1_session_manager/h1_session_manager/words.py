# SPDX-License-Identifier: Apache-2.0
"""Reasons, codes to the program, as a person reads them on the terminal, the console and the page; and what to do.

The table of all reasons of the arm driver is in `h1_training_bringup/docs/arms.md`; `MEANINGS` has those that force the
arms into a mode that nobody has asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_WORDS = {
    **dict.fromkeys(
        ("requested", "chunk_ready", "start", "finish", "resume", "ready", "sync", "cancelled", "stop", "end"), ""
    ),
    "released": "with the robot's own controller",
    "home_reached": "home position reached",
    "home_missed": "the home position was missed",
    "home_no_way": "no free way to the home position",
    "home_timeout": "the home position took too long",
    "collision_ahead": "a collision is ahead",
    "emergency_stop": "emergency stop",
    "stale_action": "the policy went silent",
    "policy_done": "the policy is done",
    "session_lost": "the session went silent",
    "robot_lost": "no state from the robot",
    "robot_frozen": "the same state from the robot again and again",
    "no_robot_state": "no state from the robot",
    "no_good_state": "no good state from the robot",
    "foreign_commander": "somebody else commands the arms",
    "motor_fault": "a motor reports a fault",
    "motor_hot": "a motor is hot",
    "motor_warm": "a motor is warm",
    "overheated": "a motor is too hot",
    "overheated_critical": "a motor is far too hot",
    "moved_while_acquiring": "a joint moved while control was acquired",
    "not_acquired": "control of the arms was not acquired",
    "no_guard": "the arm guard does not run",
    "guard_lost": "the arm guard is lost",
    "guard_took_over": "the arm guard has the arms",
    "driver_hung": "the arm driver stood still",
    "arm_driver_lost": "the arm driver is silent",
    "page_lost": "the driving page is lost",
    "time_limit": "time limit",
}
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
    "home_missed": "the arms stopped short of home; check what holds them back",
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
_EIGHTHS, _MOST_BARS = "▁▂▃▄▅▆▇█", 24
_PHASES = {
    "SERVING": "serving",
    "COLLECTING": "collecting episodes",
    "TRAINING": "training",
    "CHECKING": "checking the new weights",
    "SWITCHING": "switching to the new weights",
}


def in_words(reason: str) -> str:
    """`stale_action` -> "the policy went silent"; one that is not listed with blanks, a whole sentence as it is.

    What merely says that somebody asked for it (`requested`) is empty.
    """
    if reason in _WORDS:
        return _WORDS[reason]
    return reason.replace("_", " ") if " " not in reason else reason


def meaning(reason: str) -> str:
    """What `reason` means, as a sentence without its full stop; empty if it says enough by itself."""
    text = MEANINGS.get(reason, "")
    return text[:1].upper() + text[1:]


def curve_in_words(curve: Sequence[tuple[int, float, int]]) -> str:
    """How well each epoch did, e.g. "success by epoch ▁▅█, of epoch 2 100% of 6"; empty without a point.

    Args:
        curve: of each epoch, oldest first: its number, share of successes 0..1, of how many episodes.
    """
    if not curve:
        return ""
    bars = "".join(_EIGHTHS[round(share * (len(_EIGHTHS) - 1))] for _, share, _ in curve[-_MOST_BARS:])
    epoch, success, episodes = curve[-1]
    return f"success by epoch {bars}, of epoch {epoch} {success:.0%} of {episodes}"


def training_in_words(phase: str, progress: float) -> str:
    """What a policy server does, e.g. "training 40%".

    Args:
        phase: as in TrainingStatus; one that is not listed stays as it is.
        progress: 0..1; NaN: not stated.
    """
    return f"{_PHASES.get(phase, phase)}{'' if math.isnan(progress) else f' {progress:.0%}'}".strip()
