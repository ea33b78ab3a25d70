# SPDX-License-Identifier: Apache-2.0
"""What a chunk would make the arms do, as a diagram and a table: each joint's curve over the present pose."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_policy_bridge.strategies import TICK_NS
from h1_policy_bridge.warm_up import FirstAction
from h1_training_node.arm_joints import ARM_JOINT_NAMES, LOWER_RAD, UPPER_RAD
from h1_training_node.clock import NS_PER_S

TICK_S = TICK_NS / NS_PER_S
_ROWS = ARM_JOINTS // 2
_LEAST_SPAN_RAD = 0.2
"""Of a joint's axis: a joint that hardly moves is not to look as if it did."""


def draw(chunk: Chunk, path: Path, title: str) -> None:
    """Write a PNG: the left arm's seven joints on the left, the right arm's on the right, hands below if there are.

    Raises:
        OSError: the file cannot be written.
    """
    with_hands = chunk.actions.shape[1] > ARM_JOINTS
    rows = _ROWS + with_hands
    figure, axes = plt.subplots(rows, 2, figsize=(10, 1.5 * rows + 1), sharex=True, layout="constrained")
    times_s = (np.arange(chunk.horizon) + 1) * TICK_S
    for joint, name in enumerate(ARM_JOINT_NAMES):
        axis = axes[joint % _ROWS, joint // _ROWS]
        curve, pose = chunk.actions[:, joint], chunk.state[joint]
        middle = (max(curve.max(), pose) + min(curve.min(), pose)) / 2
        half = max(np.ptp([*curve, pose]), _LEAST_SPAN_RAD) * 0.6
        axis.axhline(pose, color="0.5", linewidth=1, linestyle="--")
        axis.plot([0, *times_s], [pose, *curve], color="tab:blue", linewidth=1.5)
        for end in (LOWER_RAD[joint], UPPER_RAD[joint]):
            axis.axhline(end, color="tab:red", linewidth=1)
        axis.set_ylim(middle - half, middle + half)
        axis.set_ylabel("rad", fontsize=7)
        axis.set_title(name.removesuffix("_joint").replace("_", " "), fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
    for side in range(2 if with_hands else 0):
        first = ARM_JOINTS + 6 * side
        axes[-1, side].plot(times_s, chunk.actions[:, first : first + 6], linewidth=1)
        axes[-1, side].set_ylim(-0.05, 1.05)
        axes[-1, side].set_title(f"{('left', 'right')[side]} hand (0 closed, 1 open)", fontsize=8, loc="left")
    for axis in axes[-1]:
        axis.tick_params(labelsize=7)
        axis.set_xlabel("s from now; dashed: the present pose; red: the joint's range", fontsize=7)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def table(chunk: Chunk) -> str:
    """The same in words: pose, first and last action, largest speed of each joint."""
    steps = np.abs(np.diff(chunk.actions[:, :ARM_JOINTS], axis=0, prepend=chunk.state[None, :ARM_JOINTS]))
    speeds = steps[1:].max(axis=0, initial=0.0) / TICK_S
    lines = [f"{'joint':<28}{'pose':>8}{'first':>8}{'last':>8}{'rad/s':>8}"]
    for joint, name in enumerate(ARM_JOINT_NAMES):
        values = (chunk.state[joint], chunk.actions[0, joint], chunk.actions[-1, joint], speeds[joint])
        lines.append(f"{name:<28}" + "".join(f"{value:8.2f}" for value in values))
    return "\n".join([*lines, headline(chunk)])


def headline(chunk: Chunk) -> str:
    """One line: how long the chunk is, how long it took, how far its first action is from the pose."""
    return f"{chunk.horizon} actions, {chunk.horizon * TICK_S:g} s; {FirstAction.of(chunk).line()}"
