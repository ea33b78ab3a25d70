# SPDX-License-Identifier: Apache-2.0
"""The strategies side by side on the same recorded chunks: a table, and a diagram of one joint.

python h1_policy_bridge/bench/strategies_figure.py FIGURE.png [RECORDING.npz]
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from h1_policy_bridge.strategies import Blend, OpenLoop, Strategy, StrategyConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "test"))
from policy_recording import Recording, record
from policy_virtual_run import VirtualRun

WAYS: dict[str, tuple[str, Callable[[], Strategy]]] = {
    "open loop": ("plays each chunk whole, then asks", lambda: OpenLoop(StrategyConfig())),
    "receding horizon": ("asks ahead, switches at once", lambda: Blend(StrategyConfig(window_ticks=0))),
    "blend": ("asks ahead, skips what has passed, fades", lambda: Blend(StrategyConfig())),
}
INFERENCE_MS = (50, 100, 200, 400)
JITTER = 0.3
TICKS = 3000
SHOWN_TICKS = 250
TICK_S = 0.02

_STREAM, _CHUNK, _WAIT, _SEAM = "#1f5fa8", "0.78", "#f4c7c3", "#d9822b"


def towards(goal_s: float, q: np.ndarray) -> np.ndarray:
    """One tick of a smooth motion after a moving goal."""
    goal = 0.4 * np.sin(1.5 * goal_s + np.arange(len(q)))
    return q + TICK_S * 2.0 * (goal - q)


def undecided(seed: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Chunks that go on from where they look, each with an error of its own that grows: what real policies give."""
    chance = np.random.default_rng(seed)

    def infer(state: np.ndarray, now_ns: int) -> np.ndarray:
        actions, q = np.empty((50, len(state))), state
        for step in range(50):
            actions[step] = q = towards(now_ns * 1e-9 + TICK_S * step, q)
        return actions + chance.normal(0.0, 0.03, len(state)) * np.linspace(0.3, 1.5, 50)[:, None]

    return infer


def recorded(mean_ms: float, ticks: int) -> Recording:
    """A motion of `ticks` ticks with a chunk at each; the same chunks for every inference time."""
    motion = np.zeros((ticks, 14))
    for tick in range(1, ticks):
        motion[tick] = towards(TICK_S * tick, motion[tick - 1])
    chance = random.Random(2)
    return record(undecided(1), motion, lambda: round(mean_ms * chance.uniform(1 - JITTER, 1 + JITTER) * 1e6))


def table() -> dict[str, float]:
    """Print ticks and seams of every way at every inference time; the figures of `blend`."""
    print(f"  {'':<20}" + "".join(f"{mean_ms:>22} ms" for mean_ms in INFERENCE_MS))
    recordings = {mean_ms: recorded(mean_ms, TICKS) for mean_ms in INFERENCE_MS}
    figures: dict[str, float] = {}
    for name, (_, way) in WAYS.items():
        cells = []
        for mean_ms, recording in recordings.items():
            played = recording.played(way, TICKS)
            cells.append(f"{played.missing_ticks} / {played.held_ticks}, {played.seam_ratio:.2f}")
            if name == "blend":
                figures[f"virtual_missing_ticks_{mean_ms}ms"] = played.missing_ticks
                figures[f"virtual_seam_ratio_{mean_ms}ms"] = played.seam_ratio
        print(f"  {name:<20}" + "".join(f"{cell:>25}" for cell in cells))
    return figures


def draw(path: Path, recording: Recording, title: str) -> None:
    """One joint under each way: where it goes, with the chunks behind it, and how fast."""
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(
        len(WAYS), 2, figsize=(14, 8.5), sharex=True, sharey="col", layout="constrained", width_ratios=(3, 2)
    )
    played = {name: recording.played(way, SHOWN_TICKS) for name, (_, way) in WAYS.items()}
    joint = joint_that_differs_most(played.values())
    for row, (name, (meaning, _)) in enumerate(WAYS.items()):
        draw_positions(axes[row, 0], played[name], joint)
        axes[row, 0].set_title(f"{name}: {meaning}", loc="left", fontweight="bold")
        axes[row, 0].set_ylabel("joint position, rad")
        draw_speed(axes[row, 1], played[name], joint)
        axes[row, 1].set_title(verdict(played[name]), loc="left")
        axes[row, 1].set_ylabel("commanded speed, rad/s")
    for axis in axes[-1]:
        axis.set_xlabel("time since the first action, s")
        axis.set_xlim(0, SHOWN_TICKS * TICK_S)
    figure.suptitle(title, fontsize=15)
    figure.legend(handles=key(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def joint_that_differs_most(played) -> int:
    """The joint that steps most at a seam."""
    return int(max((np.abs(np.diff(way.positions, axis=0)).max(axis=0) for way in played), key=np.max).argmax())


def draw_positions(axis: Axes, played: VirtualRun, joint: int) -> None:
    time_s = np.arange(SHOWN_TICKS) * TICK_S
    first_tick = {}
    for tick, action in enumerate(played.actions):
        if action is not None:
            first_tick.setdefault(action.step.chunk.chunk_id, (tick - action.step.index, action.step.chunk))
    for tick, chunk in first_tick.values():
        axis.plot((tick + np.arange(chunk.horizon)) * TICK_S, chunk.actions[:, joint], color=_CHUNK, linewidth=1.2)
    mark(axis, played)
    axis.plot(time_s, played.positions[:, joint], color=_STREAM, linewidth=2)
    axis.margins(y=0.08)


def draw_speed(axis: Axes, played: VirtualRun, joint: int) -> None:
    mark(axis, played)
    speed = np.diff(played.positions[:, joint]) / TICK_S
    axis.plot(np.arange(1, SHOWN_TICKS) * TICK_S, speed, color=_STREAM, linewidth=1.2)
    bar = 1.5 * played.largest_step_inside / TICK_S
    for level in (-bar, bar):
        axis.axhline(level, color="0.35", linewidth=0.9, linestyle=(0, (1, 2)))


def mark(axis: Axes, played: VirtualRun) -> None:
    """Seams as lines, waits as areas."""
    before = None
    for tick, action in enumerate(played.actions):
        if action is None or action.step.holding:
            axis.axvspan((tick - 0.5) * TICK_S, (tick + 0.5) * TICK_S, color=_WAIT, linewidth=0)
        if action is not None and before is not None and action.step.chunk.chunk_id != before:
            axis.axvline(tick * TICK_S, color=_SEAM, linewidth=0.9)
        before = action.step.chunk.chunk_id if action is not None else before


def verdict(played: VirtualRun) -> str:
    waited_s = (played.held_ticks + played.missing_ticks) * TICK_S
    waits = f"waits {waited_s:.1f} of {SHOWN_TICKS * TICK_S:.0f} s" if waited_s else "never waits"
    return f"{waits}; largest step {played.seam_ratio:.1f} × a chunk's own"


def key() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=_STREAM, linewidth=2, label="what goes to the arms, 50 Hz"),
        Line2D([], [], color=_CHUNK, linewidth=2, label="chunks as inferred"),
        Line2D([], [], color=_SEAM, linewidth=1, label="seam"),
        Patch(color=_WAIT, label="waiting"),
        Line2D([], [], color="0.35", linestyle=(0, (1, 2)), label="1.5 × the largest step inside chunks"),
    ]


def main() -> int:
    """Draw a recording, or one made here."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    recording = Recording.load(Path(sys.argv[2])) if len(sys.argv) > 2 else recorded(200.0, SHOWN_TICKS + 60)
    mean_ms = recording.latency_ns.mean() * 1e-6
    draw(path, recording, f"The same chunks, three ways: inference {mean_ms:.0f} ms ± 30 %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
