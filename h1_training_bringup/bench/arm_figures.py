# SPDX-License-Identifier: Apache-2.0
"""Figures and plots of the arms' benchmarks: merged into one flat JSON object, PNGs beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

FOLDER = Path(__file__).resolve().parents[2] / "data" / "bench"
_FILE = FOLDER / "h1_training_bringup.json"


def save(figures: dict[str, float]) -> None:
    """Add `figures` to those that other benchmarks of this package have left."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = json.loads(_FILE.read_text()) if _FILE.exists() else {}
    _FILE.write_text(json.dumps(known | {name: round(value, 4) for name, value in figures.items()}, indent=2) + "\n")


def loaded(figures: Mapping[str, float]) -> dict[str, float]:
    """The same figures, named as measured while all cores are busy: `loaded_arm_period_p99_ms`."""
    return {f"loaded_{name}": value for name, value in figures.items()}


def show(rows: Sequence[tuple[str, float, str, str]]) -> None:
    """Print a line a figure: name, value, unit, bar."""
    for name, value, unit, bar in rows:
        print(f"{name:<34}{value:>10.3f} {unit:<6} {bar}", flush=True)


def plot(
    name: str,
    title: str,
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    marks: Mapping[str, float],
    *,
    unit: str = "rad",
    held: bool = False,
) -> Path:
    """Angles over time, a line each: seconds and values.

    Args:
        name, title: of the figure.
        lines: by label. One that ends in "measured" is dashed, in the colour of the one before it.
        marks: vertical lines, by label, s.
        unit: of the values.
        held: a value stands until the next one, as a command does.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4.5), layout="constrained")
    colour = -1
    for label, (seconds, values) in lines.items():
        measured = label.endswith("measured")
        colour += not measured
        drawn = "steps-post" if held and not measured else "default"
        style = "--" if measured else "-"
        axes.plot(seconds, values, style, label=label, color=f"C{colour}", linewidth=1.4, drawstyle=drawn)
    for label, at in marks.items():
        axes.axvline(at, color="0.6", linewidth=0.8)
        axes.annotate(
            label, (at, 1.0), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right", fontsize=8
        )
    axes.set(title=title, xlabel="s", ylabel=unit)
    axes.legend(fontsize=8)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"h1_training_bringup_{name}.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def percentiles(values: ArrayLike) -> tuple[float, float, float]:
    """p50, p99, largest."""
    data = np.asarray(values, float)
    return float(np.percentile(data, 50)), float(np.percentile(data, 99)), float(data.max())
