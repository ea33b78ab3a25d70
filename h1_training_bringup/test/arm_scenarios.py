"""DAMPING put to the test: what a person would try on the robot, on simulated ones of other masses, in virtual time.

The tests assert the figures, `bench/bench_arm_body.py` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from arm_builders import Rig, S
from numpy.typing import NDArray

from h1_training_bringup.arms.intake import StateIntake
from h1_training_bringup.arms.kinematics import ARMS
from h1_training_bringup.arms.settings import ArmParameters
from h1_training_bringup.sim.robot import RobotParameters
from h1_training_bringup.sim.robot_body import RobotBody, deviating_masses
from h1_training_node.message_numbers import ArmMode

DEVIATION = 0.1
"""Masses differ from the model's by up to this share."""
HANGING, FORWARD_REACH = (0.0, 0.2, 0.0, 0.3, 0.0, 0.0, 0.0), (-1.5, 0.1, 0.0, 1.4, 0.0, 0.0, 0.0)
FOREARMS_AHEAD, ARMS_AHEAD = (0.0,) * 7, (-1.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Left arm, rad."""


def both_arms(left: tuple[float, ...]) -> NDArray[np.float64]:
    """The pose of both arms from the left one's: mirrored where a joint turns about x or z."""
    signs = np.array([1, -1, -1, 1, -1, 1, -1])
    return np.r_[left, signs * left]


def robots() -> Iterator[tuple[Rig, dict[str, float]]]:
    """Two of random masses, and the two worst: all masses a tenth too large, all a tenth too small; arms taken."""
    for seed, scale in ((0, None), (1, None), (2, 1 + DEVIATION), (3, 1 - DEVIATION)):
        masses = deviating_masses(seed, DEVIATION) if scale is None else {link.link: scale for link in ARMS}
        rig = Rig(robot_parameters=RobotParameters(seed=seed))
        rig.take()
        yield rig, masses


def place(
    rig: Rig, pose: NDArray[np.float64], masses: dict[str, float], payloads: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Arms of those masses, held at `pose`, (14,), rad, by the controller."""
    rig.ask(ArmMode.DAMPING)
    rig.robot.body = RobotBody(np.r_[rig.robot.body.q[0], pose], masses, 1.0, payloads)
    rig.intake = StateIntake(round(rig.parameters.robot_timeout_s * S))
    rig.tick()
    assert rig.ask(ArmMode.HOLD) == ""
    rig.run(0.5)
    assert rig.mode is ArmMode.HOLD, rig.controller.reason


def damp(rig: Rig, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """DAMPING for a while: largest way from where it began, (14,), and speeds, (n, 14)."""
    rig.ask(ArmMode.DAMPING)
    start, ways, speeds = rig.q, [np.zeros(14)], []
    rig.run(seconds, lambda: (ways.append(np.abs(rig.q - start)), speeds.append(rig.dq)))
    return np.max(ways, axis=0), np.array(speeds)


def let_go(poses: int = 20) -> tuple[float, float]:
    """At random poses: drift within 5 s, and way within the first 0.2 s from standstill, rad."""
    rng = np.random.default_rng(5)
    drifts, entries = [], []
    for rig, masses in robots():
        for _ in range(poses // 4):
            place(rig, rng.uniform(rig.joints.lower, rig.joints.upper) * 0.7, masses)
            start = rig.q
            entries.append(damp(rig, 0.2)[0].max())
            furthest = [0.0]
            rig.run(4.8, lambda start=start, rig=rig, far=furthest: far.append(np.abs(rig.q - start).max()))  # type: ignore[misc]
            drifts.append(max(furthest))
    return max(drifts), max(entries)


def from_full_speed() -> tuple[float, float]:
    """All joints at the speed limit: way until they stand, rad, and speed after 0.3 s, rad/s."""
    rng = np.random.default_rng(6)
    ways, speeds = [], []
    for rig, masses in robots():
        for _ in range(2):
            place(rig, rng.uniform(-0.2, 0.2, 14), masses)
            assert rig.ask(ArmMode.POLICY) == ""
            target = rng.choice([-1, 1], 14) * 2.0
            rig.follow(lambda n, target=target: target, 0.35)  # type: ignore[misc]
            way, speed = damp(rig, 0.3)
            ways.append(way.max())
            speeds.append(np.abs(speed[-1]).max())
    return max(ways), max(speeds)


def guided(newton: float = 10.0) -> float:
    """A pull at the left wrist, in four directions: the least of the speeds reached within a second, rad/s."""
    slowest = np.inf
    for direction in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0)):
        rig, masses = next(robots())
        place(rig, both_arms(HANGING), masses)
        damp(rig, 1.0)
        rig.robot.inject("push left {} {} {}".format(*(newton * part for part in direction)))
        slowest = min(slowest, float(np.abs(damp(rig, 1.0)[1]).max()))
    return slowest


def with_wrong_payload(*, sinks: bool) -> float:
    """An unknown 0.5 kg at the wrist, or a modelled one that is gone: fastest joint within 2 s, rad/s."""
    fastest = 0.0
    for pose in (FOREARMS_AHEAD, ARMS_AHEAD, FORWARD_REACH):
        known = 0.0 if sinks else 0.5
        rig = Rig(ArmParameters(payload_left_kg=known), RobotParameters(seed=1, left_payload=known))
        rig.take()
        place(rig, both_arms(pose), deviating_masses(1, DEVIATION), (known, 0.0))
        damp(rig, 1.0)
        rig.robot.body.set_payload(0, 0.5 - known)
        fastest = max(fastest, float(np.abs(damp(rig, 2.0)[1]).max()))
    return fastest
