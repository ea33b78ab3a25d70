"""What DAMPING and the handovers feel like: the controller against simulated robots of other masses, in virtual time.

    python h1_training_bringup/bench/bench_arm_body.py

No ROS and no waiting: the samples are real, the clock is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "h1_training_bringup" / "test"))

from arm_builders import Rig  # noqa: E402
from arm_figures import plot, save, show  # noqa: E402

from h1_training_bringup.arms.kinematics import ARMS  # noqa: E402
from h1_training_bringup.arms.modes import Mode  # noqa: E402
from h1_training_bringup.arms.settings import ArmParameters  # noqa: E402
from h1_training_bringup.sim.robot import OWN_POSE, RobotParameters  # noqa: E402
from h1_training_bringup.sim.robot_body import RobotBody  # noqa: E402

POSES = ([0.0] * 7, [-1.2, 0, 0, 0, 0, 0, 0], [-1.5, 0.1, 0, 1.4, 0, 0, 0], [0.0, 0.2, 0, 0.3, 0, 0, 0])
LEFT, RIGHT, FORWARD, UP = (0, 10, 0), (0, -10, 0), (10, 0, 0), (0, 0, 10)


def both_arms(left: list[float]) -> NDArray[np.float64]:
    """The pose of both arms from the left one's: mirrored where a joint turns about x or z."""
    signs = np.array([1, -1, -1, 1, -1, 1, -1])
    return np.r_[left, signs * left]


def robots() -> Iterator[Rig]:
    """Two of random masses, and the two worst: all masses a tenth too large, all a tenth too small."""
    for seed, scale in ((0, None), (1, None), (2, 1.1), (3, 0.9)):
        rig = Rig(robot_parameters=RobotParameters(seed=seed))
        if scale is not None:
            rig.robot.body = RobotBody(OWN_POSE, {link.link: scale for link in ARMS})
        rig.take()
        yield rig


def go(rig: Rig, pose: NDArray[np.float64]) -> None:
    """To `pose`, and hold there."""
    rig.ask(Mode.HOLD)
    rig.run(0.3)
    rig.ask(Mode.POLICY)
    rig.follow(lambda n: pose, 3.5)
    rig.run(0.3)
    assert rig.mode is Mode.HOLD and rig.controller.reason == "stale_action", rig.controller.reason


def damp(rig: Rig, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """DAMPING for a while: largest way from where it began, (14,), and speeds, (n, 14)."""
    rig.ask(Mode.DAMPING)
    start, ways, speeds = rig.q, [np.zeros(14)], []
    rig.run(seconds, lambda: (ways.append(np.abs(rig.q - start)), speeds.append(rig.dq)))
    return np.max(ways, axis=0), np.array(speeds)


def let_go() -> tuple[float, float]:
    """20 random poses: drift within 5 s, and way within the first 0.2 s, rad."""
    rng = np.random.default_rng(5)
    drifts, entries = [], []
    for rig in robots():
        for _ in range(5):
            go(rig, rng.uniform(rig.joints.lower, rig.joints.upper) * 0.7)
            entries.append(damp(rig, 0.2)[0].max())
            start = rig.q
            rig.run(4.8)
            drifts.append(np.abs(rig.q - start).max() + entries[-1])
    return max(drifts), max(entries)


def from_full_speed() -> tuple[float, float]:
    """All joints at the speed limit: way until they stand, rad, and speed after 0.3 s, rad/s."""
    rng = np.random.default_rng(6)
    ways, speeds = [], []
    for rig in robots():
        for _ in range(3):
            go(rig, rng.uniform(-0.2, 0.2, 14))
            rig.ask(Mode.POLICY)
            target = rng.choice([-1, 1], 14) * 2.0
            rig.follow(lambda n, target=target: target, 0.35)
            way, speed = damp(rig, 0.3)
            ways.append(way.max())
            speeds.append(np.abs(speed[-1]).max())
            rig.run(0.5)
    return max(ways), max(speeds)


def guided() -> float:
    """10 N at the left wrist, in four directions: the least of the speeds reached, rad/s."""
    slowest = np.inf
    for force in (FORWARD, LEFT, UP, (-10, 0, 0)):
        rig = next(robots())
        go(rig, both_arms(list(POSES[3])))
        damp(rig, 1.0)
        rig.robot.inject("push left {} {} {}".format(*force))
        slowest = min(slowest, float(np.abs(damp(rig, 1.0)[1]).max()))
    return slowest


def with_wrong_payload(*, sinks: bool) -> float:
    """An unknown 0.5 kg at the wrist, or a modelled one that is gone: fastest joint within 2 s, rad/s."""
    fastest = 0.0
    for pose in POSES[:3]:
        known = 0.0 if sinks else 0.5
        rig = Rig(ArmParameters(payload_left_kg=known), RobotParameters(seed=1, left_payload=known))
        rig.take()
        go(rig, both_arms(list(pose)))
        damp(rig, 1.0)
        rig.robot.body.set_payload(0, 0.5 - known)
        fastest = max(fastest, float(np.abs(damp(rig, 2.0)[1]).max()))
    return fastest


def draw_handover() -> None:
    """Policy, a person who guides, and the policy again."""
    rig = next(robots())
    rows, marks, start_ns = [], {}, rig.now_ns

    def watch() -> None:
        assert rig.command is not None
        rows.append(((rig.now_ns - start_ns) / 1e9, rig.command.q[[0, 3]], rig.q[[0, 3]]))

    def act(seconds: float, scale: float) -> None:
        for n in range(round(seconds * 50)):
            rig.act(scale * np.sin(n / 20) * np.ones(14))
            rig.run(0.02, watch)

    def mark(name: str) -> None:
        marks[name] = (rig.now_ns - start_ns) / 1e9

    rig.ask(Mode.POLICY)
    mark("POLICY")
    act(2.5, 0.35)
    rig.ask(Mode.DAMPING)
    mark("DAMPING")
    rig.robot.inject("push left 12 0 14")
    rig.run(1.5, watch)
    rig.robot.inject("push left 0 0 0")
    rig.run(1.0, watch)
    rig.ask(Mode.HOLD)
    mark("HOLD")
    rig.run(0.5, watch)
    rig.ask(Mode.POLICY)
    mark("POLICY again")
    act(2.5, 0.35)
    seconds, commanded, measured = (np.array(column) for column in zip(*rows, strict=True))
    lines = {}
    for index, joint in enumerate(("left shoulder pitch", "left elbow")):
        lines[f"{joint} commanded"], lines[f"{joint} measured"] = commanded[:, index], measured[:, index]
    print(plot("arm_handover", "policy, person, policy", seconds, lines, marks))


def draw_let_go() -> None:
    """An arm held out and let go, with what the model knows and with 0.5 kg that it does not."""
    curves = {}
    for label, fault in (("as modelled, masses ±10 %", ""), ("unknown 0.5 kg in the hand", "payload left 0.5")):
        rig = next(robots())
        go(rig, both_arms(list(POSES[2])))
        if fault:
            rig.robot.inject(fault)
        rig.ask(Mode.DAMPING)
        rows: list[NDArray[np.float64]] = []
        rig.run(5.0, lambda rig=rig, rows=rows: rows.append(rig.q[[0, 3]]))
        curves[f"shoulder pitch, {label}"], curves[f"elbow, {label}"] = np.array(rows).T
    print(plot("arm_let_go", "the left arm let go in DAMPING", np.arange(1250) / 250, curves, {}))


def main() -> int:
    drift, entry = let_go()
    way, speed = from_full_speed()
    push, sink, rise = guided(), with_wrong_payload(sinks=True), with_wrong_payload(sinks=False)
    rows = [
        ("damping_drift_rad", drift, "rad", "≤ 0.1 in 5 s, 20 poses, masses ±10 %"),
        ("damping_entry_still_rad", entry, "rad", "≤ 0.02 in 0.2 s, from standstill"),
        ("damping_entry_moving_rad", way, "rad", "≤ 0.1, from full policy speed"),
        ("damping_entry_speed_rad_s", speed, "rad/s", "< 0.1 after 0.3 s"),
        ("damping_guide_rad_s", push, "rad/s", "≥ 0.5 at 10 N at the wrist"),
        ("damping_sink_rad_s", sink, "rad/s", "≤ 0.5 with an unknown 0.5 kg"),
        ("damping_rise_rad_s", rise, "rad/s", "≤ 0.3 with a modelled 0.5 kg that is gone"),
    ]
    show(rows)
    save({name: value for name, value, _, _ in rows})
    draw_handover()
    draw_let_go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
