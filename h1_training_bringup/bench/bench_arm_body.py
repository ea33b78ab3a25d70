# SPDX-License-Identifier: Apache-2.0
"""What DAMPING and the handovers feel like: the controller against simulated robots of other masses, in virtual time.

    python h1_training_bringup/bench/bench_arm_body.py

No ROS and no waiting: the samples are real, the clock is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "h1_training_bringup" / "test"))

from arm_figures import plot, save, show  # noqa: E402
from arm_scenarios import (  # noqa: E402
    FORWARD_REACH,
    both_arms,
    from_full_speed,
    guided,
    guided_about,
    let_go,
    place,
    robots,
    with_wrong_payload,
)

from h1_training_node.message_numbers import ArmMode  # noqa: E402


def draw_handover() -> None:
    """Policy, a person who guides, and the policy again."""
    rig, _ = next(robots())
    rows, marks, start_ns = [], {}, rig.now_ns

    def note_pose() -> None:
        assert rig.command is not None
        rows.append(((rig.now_ns - start_ns) / 1e9, rig.command.q[[0, 3]], rig.q[[0, 3]]))

    def act(seconds: float, scale: float) -> None:
        for n in range(round(seconds * 50)):
            rig.act(scale * np.sin(n / 20) * np.ones(14))
            rig.run(0.02, note_pose)

    def mark(name: str) -> None:
        marks[name] = (rig.now_ns - start_ns) / 1e9

    rig.ask(ArmMode.POLICY)
    mark("POLICY")
    act(2.5, 0.35)
    rig.ask(ArmMode.DAMPING)
    mark("DAMPING")
    rig.robot.inject("push left 12 0 14")
    rig.run(1.5, note_pose)
    rig.robot.inject("push left 0 0 0")
    rig.run(1.0, note_pose)
    rig.ask(ArmMode.HOLD)
    mark("HOLD")
    rig.run(0.5, note_pose)
    rig.ask(ArmMode.POLICY)
    mark("POLICY again")
    act(2.5, 0.35)
    seconds, commanded, measured = (np.array(column) for column in zip(*rows, strict=True))
    lines = {}
    for index, joint in enumerate(("left shoulder pitch", "left elbow")):
        lines[f"{joint} commanded"] = seconds, commanded[:, index]
        lines[f"{joint} measured"] = seconds, measured[:, index]
    print(plot("arm_handover", "policy, person, policy", lines, marks))


def draw_let_go() -> None:
    """An arm held out and let go, with what the model knows and with 0.5 kg that it does not."""
    lines = {}
    for label, kilograms in (("masses 10 % off the model", 0.0), ("besides an unknown 0.5 kg in the hand", 0.5)):
        *_, (rig, masses) = robots()
        place(rig, both_arms(FORWARD_REACH), masses)
        start, rows = rig.q, []
        rig.ask(ArmMode.DAMPING)
        rig.robot.body.set_payload(0, kilograms)
        rig.run(10.0, lambda rig=rig, rows=rows, start=start: rows.append((rig.q - start)[[0, 3]]))
        for joint, way in zip(("shoulder pitch", "elbow"), np.array(rows).T, strict=True):
            lines[f"{joint}, {label}"] = np.arange(len(way)) / 250, way
    print(plot("arm_let_go", "the left arm, reaching ahead, let go in DAMPING", lines, {}, unit="rad from there"))


def main() -> int:
    drift, entry = let_go()
    way, speed = from_full_speed()
    push, sink, rise = min(guided(), guided_about()), with_wrong_payload(sinks=True), with_wrong_payload(sinks=False)
    rows = [
        ("damping_drift_rad", drift, "rad", "≤ 0.1 in 5 s, 20 poses, masses ±10 %"),
        ("damping_entry_still_rad", entry, "rad", "≤ 0.02 in 0.2 s, from standstill"),
        ("damping_entry_moving_rad", way, "rad", "≤ 0.1, from full policy speed"),
        ("damping_entry_speed_rad_s", speed, "rad/s", "< 0.1 after 0.3 s"),
        ("damping_guide_rad_s", push, "rad/s", "≥ 0.5 at 10 N at the wrist, 20 poses"),
        ("damping_sink_rad_s", sink, "rad/s", "≤ 0.5 with an unknown 0.5 kg, 20 poses"),
        ("damping_rise_rad_s", rise, "rad/s", "≤ 0.3 with a modelled 0.5 kg gone, 20 poses"),
    ]
    show(rows)
    save({name: value for name, value, _, _ in rows})
    draw_handover()
    draw_let_go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
