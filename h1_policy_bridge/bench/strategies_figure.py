"""The strategies side by side in virtual time: a table, and the picture of one joint."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from h1_policy_bridge.blend import Blend
from h1_policy_bridge.open_loop import OpenLoop
from h1_policy_bridge.rehearsal import Rehearsal, rehearse
from h1_policy_bridge.strategy import Strategy, StrategyConfig

WAYS: dict[str, Callable[[], Strategy]] = {
    "open_loop": lambda: OpenLoop(StrategyConfig()),
    "receding horizon (blend, window 0)": lambda: Blend(StrategyConfig(window_ticks=0)),
    "blend": lambda: Blend(StrategyConfig()),
}
INFERENCE_MS = (50, 100, 200, 400)
JITTER = 0.3
TICKS = 3000
SHOWN_TICKS = 200


def undecided(seed: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """Smooth chunks towards a moving goal, each with an error of its own that grows: what real policies give."""
    chance = np.random.default_rng(seed)

    def infer(state: np.ndarray, now_ns: int) -> np.ndarray:
        actions, q = np.empty((50, len(state))), state
        for step in range(50):
            goal = 0.4 * np.sin(1.5 * (now_ns * 1e-9 + 0.02 * step) + np.arange(len(state)))
            actions[step] = q = q + 0.02 * 2.0 * (goal - q)
        return actions + chance.normal(0.0, 0.03, len(state)) * np.linspace(0.3, 1.5, 50)[:, None]

    return infer


def latencies(mean_ms: float, seed: int) -> Callable[[], int]:
    chance = random.Random(seed)
    return lambda: round(mean_ms * chance.uniform(1 - JITTER, 1 + JITTER) * 1e6)


def played(way: Callable[[], Strategy], mean_ms: float, ticks: int) -> Rehearsal:
    """One rehearsal; the same seeds for every way."""
    return rehearse(way, undecided(1), latencies(mean_ms, 2), ticks=ticks, state=np.zeros(14))


def table() -> dict[str, float]:
    """Print ticks and seams of every way at every inference time; the figures of `blend`."""
    print(f"  {'':<36}" + "".join(f"{mean_ms:>16} ms" for mean_ms in INFERENCE_MS))
    figures: dict[str, float] = {}
    for name, way in WAYS.items():
        cells = []
        for mean_ms in INFERENCE_MS:
            record = played(way, mean_ms, TICKS)
            cells.append(f"{record.missing_ticks} / {record.held_ticks}, {record.seam_ratio:.2f}")
            if name == "blend":
                figures[f"virtual_missing_ticks_{mean_ms}ms"] = record.missing_ticks
                figures[f"virtual_seam_ratio_{mean_ms}ms"] = record.seam_ratio
        print(f"  {name:<36}" + "".join(f"{cell:>19}" for cell in cells))
    return figures


def draw(path: Path, mean_ms: float = 200.0) -> None:
    """One joint under each way, the chunks behind it, and the steps from tick to tick."""
    figure, axes = plt.subplots(2, len(WAYS), figsize=(15, 6), sharex=True, sharey="row", layout="constrained")
    for column, (name, way) in enumerate(WAYS.items()):
        record = played(way, mean_ms, SHOWN_TICKS)
        time_s = np.arange(SHOWN_TICKS) * 0.02
        joint = record.positions[:, 0]
        above, below = axes[:, column]
        first_ns = record.chunks[0].observation_ns
        for chunk in record.chunks:
            start_s = (chunk.observation_ns - first_ns) * 1e-9 - mean_ms * 1e-3
            above.plot(start_s + 0.02 * np.arange(chunk.horizon), chunk.actions[:, 0], color="0.8", linewidth=1)
        above.plot(time_s, joint, color="tab:blue", linewidth=1.5)
        held = [action is not None and action.step.holding for action in record.actions]
        above.plot(time_s[held], joint[held], ".", color="tab:red", markersize=4, label="holding")
        above.set_title(f"{name}, {mean_ms:.0f} ms ± {JITTER:.0%}")
        above.set_xlim(0, SHOWN_TICKS * 0.02)
        below.plot(time_s[1:], np.diff(joint) / 0.02, color="tab:blue", linewidth=1)
        below.set_xlabel("time, s")
        if any(held):
            above.legend(loc="lower right")
    axes[0, 0].set_ylabel("joint, rad (grey: the chunks)")
    axes[1, 0].set_ylabel("step / period, rad/s")
    figure.savefig(path, dpi=120)
    plt.close(figure)
