# SPDX-License-Identifier: Apache-2.0
"""A virtual person who guides the simulated arms: a soft spring at each hand, bounded in force, never a position.

In DAMPING, and only while the robot's command lets the arms be moved, the person leads the hand that is nearer to the
object along a demonstration to its place, keeps the other one where it is, and says when the demonstration is done. The
person minds the hand, not the wrist that is held, and where it will be once it is let go: the waist gives way under the
pull. Friction is not given up against: the spring has an integral. Without all that demonstrations end 6.7 cm off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.trajectory import minimum_jerk
from h1_training_bringup.sim.pushing import PushDemonstration, PushTask
from h1_training_bringup.sim.scene import Vector
from h1_training_bringup.sim.task import OPERATOR_M, ReachTask, Task

Hands = NDArray[np.float64]
"""Shape (2, 3): left, right; x, y, z in the pelvis frame."""

_STIFFNESS_N_M, _INTEGRAL_N_MS, _DAMPING_NS_M = 300.0, 500.0, 25.0
_LARGEST_INTEGRAL_N = 20.0
_GRIP_S = 0.4
"""In this time the greatest force grows from 0 to its bound."""
_SETTLE_S = 0.7
_HOLDING_SHARE = 0.5
"""Of the greatest force, once the demonstration is done."""
_BOW_M, _GOAL_SPREAD_M = 0.02, 0.005
_SHORTEST_S, _LONGEST_S = 2.0, 2.8
_SESSION_SILENT_NS = 1_000_000_000
"""A person lets go when the session says nothing any more."""
_NOTHING = np.zeros((2, 3))
_NOTHING.setflags(write=False)


@dataclass(frozen=True)
class SessionView:
    """What the person sees on the session's screen.

    Attributes:
        state: e.g. `"DAMPING"`.
        epoch, episode: by which demonstrations differ.
        episode_id: the recorder's name of the episode.
        seen_ns: when it was last shown.
    """

    state: str
    epoch: int
    episode: int
    episode_id: str
    seen_ns: int


@dataclass(frozen=True)
class Demonstration:
    """A path of both hands: from `start` to `goal` in `duration_s`, with a bow in the middle.

    Attributes:
        start, goal, bow: (2, 3), m.
    """

    start: Hands
    goal: Hands
    bow: Hands
    duration_s: float

    def at(self, elapsed_s: float) -> Hands:
        """Where the hands should be, (2, 3), m; minimum jerk along the way."""
        share = min(elapsed_s / self.duration_s, 1.0)
        way = minimum_jerk(share)
        hands: Hands = self.start + way * (self.goal - self.start) + np.sin(np.pi * way) * self.bow
        return hands

    def is_over(self, elapsed_s: float) -> bool:
        """The hands have come there, and have been let settle."""
        return elapsed_s > self.duration_s + _SETTLE_S


def plan(start: Hands, place: Vector, side: int, random: np.random.Generator) -> Demonstration:
    """A demonstration from where the hands are, (2, 3), m, to `place`, (3,), m, for the hand of `side`."""
    goal = start.copy()
    goal[side] = place + random.uniform(-_GOAL_SPREAD_M, _GOAL_SPREAD_M, 3)
    return Demonstration(
        start=start.copy(),
        goal=goal,
        bow=random.uniform(-_BOW_M, _BOW_M, (2, 3)),
        duration_s=float(random.uniform(_SHORTEST_S, _LONGEST_S)),
    )


class Person:
    """Guides the hands; asked for forces at every step of the robot.

    Args:
        seed: of the demonstrations; the scene's too.
        greatest_force_n: at each wrist.

    Attributes:
        done_with: id of the episode whose present demonstration is done; None while none is.
    """

    def __init__(self, seed: int, greatest_force_n: float) -> None:
        self._seed = seed
        self._greatest_force_n = greatest_force_n
        self._demonstration: Demonstration | PushDemonstration | None = None
        self._nothing_to_do = False
        self._began_ns = 0
        self._last_ns = 0
        self._last_hands: Hands = np.zeros((2, 3))
        self._integral_n: Hands = np.zeros((2, 3))
        self._attempts: dict[tuple[int, int], int] = {}
        self.done_with: str | None = None

    def forces(self, now_ns: int, hands: Hands, task: Task, session: SessionView | None, is_compliant: bool) -> Hands:
        """What the person does at the wrists now, (2, 3), N, pelvis frame.

        Args:
            now_ns: any clock, the same as that of `session.seen_ns`.
            hands: (2, 3), m, where the middles of the hands are once they are let go.
            task: what there is to do.
            session: what the session shows; None if nothing yet.
            is_compliant: the robot's command lets the arms be moved.
        """
        if not is_compliant or session is None or not _may_guide(session, now_ns):
            self._demonstration, self.done_with = None, None
            return _NOTHING
        if self._demonstration is None:
            self._take_hold(now_ns, hands, task, session)
        assert self._demonstration is not None
        elapsed_s = (now_ns - self._began_ns) / 1e9
        if self._nothing_to_do or self._demonstration.is_over(elapsed_s):
            self.done_with = session.episode_id
        if self._nothing_to_do:
            return _NOTHING
        return self._bounded(self._spring(self._demonstration.at(elapsed_s), hands, now_ns), elapsed_s)

    def _take_hold(self, now_ns: int, hands: Hands, task: Task, session: SessionView) -> None:
        key = (session.epoch, session.episode)
        attempt = self._attempts.get(key, 0)
        self._attempts[key] = attempt + 1
        random = np.random.default_rng([5, self._seed, session.epoch + 1, session.episode, attempt])
        self._nothing_to_do = task.measure(now_ns, hands).distance_m <= OPERATOR_M
        if isinstance(task, PushTask):
            self._demonstration = PushDemonstration(hands, task, random)
        else:
            assert isinstance(task, ReachTask)
            self._demonstration = plan(hands, task.goal, task.thing.side, random)
        self._began_ns = self._last_ns = now_ns
        self._last_hands, self._integral_n = hands.copy(), np.zeros((2, 3))

    def _spring(self, wanted: Hands, hands: Hands, now_ns: int) -> Hands:
        elapsed_s = (now_ns - self._last_ns) / 1e9
        speed = (hands - self._last_hands) / elapsed_s if elapsed_s > 0 else np.zeros((2, 3))
        self._last_ns, self._last_hands = now_ns, hands.copy()
        error = wanted - hands
        integral_n = self._integral_n + _INTEGRAL_N_MS * error * min(elapsed_s, 0.1)
        self._integral_n = np.clip(integral_n, -_LARGEST_INTEGRAL_N, _LARGEST_INTEGRAL_N)
        return _STIFFNESS_N_M * error + self._integral_n - _DAMPING_NS_M * speed

    def _bounded(self, forces: Hands, elapsed_s: float) -> Hands:
        bound = self._greatest_force_n * min(elapsed_s / _GRIP_S, 1.0 if self.done_with is None else _HOLDING_SHARE)
        sizes = np.linalg.norm(forces, axis=1, keepdims=True)
        bounded: Hands = forces * np.minimum(1.0, bound / np.maximum(sizes, 1e-9))
        return bounded


def _may_guide(session: SessionView, now_ns: int) -> bool:
    return session.state == "DAMPING" and now_ns - session.seen_ns < _SESSION_SILENT_NS
