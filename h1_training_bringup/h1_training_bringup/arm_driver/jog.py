# SPDX-License-Identifier: Apache-2.0
"""One joint by a small angle and back, all others held: the first motion on a robot that nobody has moved so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.joints import NAMES, Joints
from h1_training_bringup.arm_driver.trajectory import minimum_jerk

GREATEST_RAD = 0.3
_SPEED_RAD_S = 0.05
"""Mean; at the middle of the way it is not quite twice that."""
_SHORTEST_S, _STAY_S = 1.0, 1.0
_STOOD_RAD = 0.01
"""Another joint that moved by no more than this was held: gears give way by as much."""


class JogError(ValueError):
    """What was asked for is not to be done, or did not work; the text says what would."""


def joint_index(name: str) -> int:
    """Index of the arm joint `name`, with or without its ending `_joint`.

    Raises:
        JogError: there is none.
    """
    full = name if name.endswith("_joint") else f"{name}_joint"
    if full not in NAMES:
        raise JogError(f"no arm joint '{name}'; there are {', '.join(known.removesuffix('_joint') for known in NAMES)}")
    return NAMES.index(full)


@dataclass(frozen=True)
class Jog:
    """Out, a stay of a second, and back.

    Args:
        joint: its index.
        by_rad: how far, at most `GREATEST_RAD` either way.

    Raises:
        JogError: too far, or nowhere.
    """

    joint: int
    by_rad: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.by_rad) or not 0.0 < abs(self.by_rad) <= GREATEST_RAD:
            raise JogError(f"by {self.by_rad} rad; expected up to {GREATEST_RAD} either way, and not 0")

    @property
    def way_s(self) -> float:
        """How long one way takes."""
        return max(abs(self.by_rad) / _SPEED_RAD_S, _SHORTEST_S)

    @property
    def duration_s(self) -> float:
        """Both ways and the stay."""
        return 2 * self.way_s + _STAY_S

    def positions(self, start: Joints, elapsed_s: float) -> Joints:
        """(14,), rad, after `elapsed_s` from `start`; minimum jerk."""
        share = min(elapsed_s, self.duration_s - elapsed_s) / self.way_s
        positions = start.copy()
        positions[self.joint] += self.by_rad * minimum_jerk(min(max(share, 0.0), 1.0))
        return positions

    def report(self, measured: NDArray[np.float64]) -> list[str]:
        """What came of it, a line each. `measured`: (n, 14), rad, from the start on."""
        ways = measured - measured[0]
        furthest = ways[np.abs(ways).argmax(axis=0), np.arange(len(NAMES))]
        lines = [f"{NAMES[self.joint]} was sent {self.by_rad:+.3f} rad and went {furthest[self.joint]:+.3f}"]
        others = [index for index in range(len(NAMES)) if index != self.joint and abs(furthest[index]) > _STOOD_RAD]
        lines += [f"{NAMES[index]} was to be held and went {furthest[index]:+.3f}" for index in others]
        if not others:
            lines.append(f"all other joints stood within {_STOOD_RAD} rad")
        return lines
