# SPDX-License-Identifier: Apache-2.0
"""Whether the task is done, measured from the body, and what somebody who watches would say of a policy's attempt.

Done is: the middle of the hand within 3 cm of its place at the object for half a second. The operator is stricter than
that (2 cm) about when a policy needs no correction: one as lenient as the test lets a policy stay at "nearly", since
what it does is then recorded as a success and taught to it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.sim.scene import SceneObject, Vector, hand_place
from h1_training_node.clock import NS_PER_S

REACH, PUSH = TASKS = ("reach", "push")
PROMPTS = {REACH: "reach for the object", PUSH: "push the cube into the field"}
SUCCESS_M, SUCCESS_NS = 0.03, NS_PER_S // 2
OPERATOR_M = 0.02
_STUCK_NS, _PROGRESS_M, _STRAY_M = 3 * NS_PER_S // 2, 0.004, 0.04
DONE, STUCK, STRAYS = "done", "stuck", "strays"


@dataclass(frozen=True)
class Measured:
    """What the body says of the task.

    Attributes:
        distance_m: of the hand, or of what it pushes, from its place, now.
        succeeded: it has been within `SUCCESS_M` for `SUCCESS_NS` in this episode.
        remaining_m: what is still to be moved: the distance, and the hand's way to what it pushes.
    """

    distance_m: float
    succeeded: bool
    remaining_m: float


class Task(ABC):
    """What is to be done with the object `thing`. One instance an episode.

    Attributes:
        thing: as it was put down.
        limit_s: longest run of a policy.
        strays_from_best: what is lost of the best that was reached counts as straying, not only of the beginning.
    """

    limit_s, strays_from_best = 6.0, False

    def __init__(self, thing: SceneObject) -> None:
        self.thing = thing
        self._within_since_ns: int | None = None
        self._succeeded = False

    @property
    def things(self) -> tuple[SceneObject, ...]:
        """What there is to see on the table now."""
        return (self.thing,)

    @abstractmethod
    def distances(self, hand: Vector) -> tuple[float, float]:
        """`distance_m` and `remaining_m` of `Measured`, for the middle of the hand at `hand`, (3,), m."""

    def measure(self, now_ns: int, hands: NDArray[np.float64]) -> Measured:
        """To be asked all the time. `hands`: (2, 3), m, the middles of both hands, left and right, pelvis frame."""
        distance_m, remaining_m = self.distances(hands[self.thing.side])
        if distance_m > SUCCESS_M:
            self._within_since_ns = None
        elif self._within_since_ns is None:
            self._within_since_ns = now_ns
        elif now_ns - self._within_since_ns >= SUCCESS_NS:
            self._succeeded = True
        return Measured(distance_m, self._succeeded, remaining_m)


class ReachTask(Task):
    """Bring the nearer hand to the object."""

    def __init__(self, thing: SceneObject) -> None:
        super().__init__(thing)
        self.goal: Vector = hand_place(thing)

    def distances(self, hand: Vector) -> tuple[float, float]:
        """See `Task`; there is nothing besides the hand to be moved."""
        distance_m = float(np.linalg.norm(hand - self.goal))
        return distance_m, distance_m


class Judgement:
    """What an operator sees in one run of the policy: that it is done, gets no further, or strays.

    Args:
        now_ns, remaining_m: at its beginning.
        strays_from_best: as the task has it.
    """

    def __init__(self, now_ns: int, remaining_m: float, *, strays_from_best: bool = False) -> None:
        self._first_m = self._best_m = remaining_m
        self._strays_from_best = strays_from_best
        self._best_ns = now_ns
        self._within_since_ns: int | None = None

    def look(self, now_ns: int, distance_m: float, remaining_m: float | None = None) -> str:
        """`DONE`, `STUCK`, `STRAYS`, or an empty string while the policy may go on. See `Measured`."""
        remaining_m = distance_m if remaining_m is None else remaining_m
        if distance_m > OPERATOR_M:
            self._within_since_ns = None
        elif self._within_since_ns is None:
            self._within_since_ns = now_ns
        elif now_ns - self._within_since_ns >= SUCCESS_NS:
            return DONE
        if remaining_m < self._best_m - _PROGRESS_M:
            self._best_m, self._best_ns = remaining_m, now_ns
        if remaining_m > (self._best_m if self._strays_from_best else self._first_m) + _STRAY_M:
            return STRAYS
        return STUCK if now_ns - self._best_ns >= _STUCK_NS else ""
