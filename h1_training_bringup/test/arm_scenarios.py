# SPDX-License-Identifier: Apache-2.0
"""DAMPING put to the test: what a person would try on the robot, on simulated ones of other masses, in virtual time.

The tests assert the figures, `bench/bench_arm_body.py` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
from arm_builders import Rig, S, both_arms
from numpy.typing import NDArray

from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.joints import ARMS
from h1_training_bringup.arm_driver.parameters import ArmParameters
from h1_training_bringup.sim.robot import RobotParameters
from h1_training_bringup.sim.robot_body import RobotBody, deviating_masses
from h1_training_node.message_numbers import ArmMode

DEVIATION = 0.1
"""Masses differ from the model's by up to this share."""
_GUIDED_RAD_S = 0.5
HANGING, FORWARD_REACH = (0.0, 0.2, 0.0, 0.3, 0.0, 0.0, 0.0), (-1.5, 0.1, 0.0, 1.4, 0.0, 0.0, 0.0)
FOREARMS_AHEAD, ARMS_AHEAD = (0.0,) * 7, (-1.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Left arm, rad."""


def robots() -> Iterator[tuple[Rig, dict[str, float]]]:
    """Two of random masses, and the two worst: all masses a tenth too large, all a tenth too small; arms acquired."""
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
            place(rig, random_pose(rig, rng), masses)
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
            target = np.clip(rng.choice([-1, 1], 14) * 2.0, rig.joints.lower, rig.joints.upper)
            rig.follow(lambda n, target=target: target, 0.35)  # type: ignore[misc]
            way, speed = damp(rig, 0.3)
            ways.append(way.max())
            speeds.append(np.abs(speed[-1]).max())
    return max(ways), max(speeds)


def guided(newton: float = 10.0, poses: int = 20) -> float:
    """A pull at the left wrist in a way in which it gives: the least of the speeds reached within a second, rad/s.

    As a person pulls who wants to move the arm, and not along it. At `poses` random poses, and the hanging one; of
    the ways in which it gives most, as many are tried as it takes to reach what is asked.
    """
    rng = np.random.default_rng(7)
    speeds = []
    for rig, masses in robots():
        for pose in [both_arms(HANGING), *(random_pose(rig, rng) for _ in range(poses // 4))]:
            place(rig, pose, masses)
            speed = 0.0
            for way in easiest_ways(rig, newton):
                speed = max(speed, pulled(rig, pose, masses, newton * way))
                if speed >= _GUIDED_RAD_S:
                    break
            speeds.append(speed)
    return min(speeds)


def pulled(
    rig: Rig, pose: NDArray[np.float64], masses: dict[str, float], force: NDArray[np.float64] | tuple[float, ...]
) -> float:
    """The fastest joint within a second of a pull, (3,), N, at the left wrist, rad/s."""
    place(rig, pose, masses)
    damp(rig, 0.5)
    rig.robot.inject("push left {} {} {}".format(*force))
    fastest = float(np.abs(damp(rig, 1.0)[1]).max())
    rig.robot.inject("clear")
    return fastest


def guided_about(newton: float = 10.0) -> float:
    """A pull at the left wrist of a hanging arm forward, outward, up and backward: likewise."""
    rig, masses = next(robots())
    ways = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0))
    return min(pulled(rig, both_arms(HANGING), masses, tuple(newton * part for part in way)) for way in ways)


def easiest_ways(rig: Rig, newton: float) -> list[NDArray[np.float64]]:
    """Unit vectors, (3,): across the two levers of the left wrist over whose joints a pull has most, either way."""
    body, settings = rig.robot.body, rig.joints
    levers = np.zeros((3, 15))
    mujoco.mj_jacBodyCom(body._model, body._data, levers, None, body._wrists[0])
    lengths = np.linalg.norm(levers[:, 1:8], axis=0)
    held = settings.friction_nm + settings.friction_share * np.abs(body.carrying_torque[1:])
    ease = (newton * lengths - held[:7]) / settings.kd_damping[:7]
    best = ease.argsort()[-2:]
    return [sign * levers[:, 1 + joint] / lengths[joint] for joint in best for sign in (1, -1)]


def with_wrong_payload(*, sinks: bool, poses: int = 20) -> float:
    """An unknown 0.5 kg at both wrists, or a modelled one that is gone: fastest joint, rad/s.

    At `poses` poses: three in which it weighs most, and random ones.
    """
    rng = np.random.default_rng(11)
    known = 0.0 if sinks else 0.5
    fastest = 0.0
    for (_, masses), seed in zip(robots(), range(4), strict=True):
        known_kg = {"payload_left_kg": known, "payload_right_kg": known}
        rig = Rig(ArmParameters(**known_kg), RobotParameters(seed=seed, left_payload_kg=known, right_payload_kg=known))
        rig.take()
        stretched = [both_arms(pose) for pose in (FOREARMS_AHEAD, ARMS_AHEAD, FORWARD_REACH)]
        for pose in [*stretched, *(random_pose(rig, rng) for _ in range(poses // 4 - 3))]:
            place(rig, pose, masses, (known, known))
            damp(rig, 0.5)
            rig.robot.body.set_payload(0, 0.5 - known)
            rig.robot.body.set_payload(1, 0.5 - known)
            fastest = max(fastest, float(np.abs(damp(rig, 1.5)[1]).max()))
    return fastest


def random_pose(rig: Rig, rng: np.random.Generator) -> NDArray[np.float64]:
    """(14,), rad, well within the range."""
    return rng.uniform(rig.joints.lower, rig.joints.upper) * 0.7
