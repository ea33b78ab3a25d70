# SPDX-License-Identifier: Apache-2.0
"""How well each epoch's weights do the task: the rows of a curve, what they must reach, and how they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SEALED = "sealed"
FIXED = "fixed"
_NORMAL_95 = 1.96
_ROWS_A_SECOND = 50
UNTRAINED_AT_MOST, TRAINED_AT_LEAST, CORRECTIONS_AT_MOST = 0.05, 0.90, 0.4
TRAIN_AT_MOST_S, INFER_AT_MOST_MS = 10.0, 5.0
_COLUMNS = (
    "epoch",
    "episodes",
    "human rows",
    "corrections",
    "human s",
    "training s",
    "inference ms",
    "success",
    "95 %",
)


@dataclass(frozen=True)
class CurveRow:
    """One epoch's weights.

    Attributes:
        seed: of robot, scene, person.
        epoch: 0 is the untrained policy.
        episodes: that the weights were made of.
        human_rows: of these.
        corrections_per_episode, human_s: in the newest of them; human seconds an episode.
        train_s: processor time of the training: at the lowest priority, beside a session, it takes longer.
        infer_ms: median of an inference.
        successes, attempts: evaluated at virtual time.
        success, success_low, success_high: their share, and its Wilson interval.
        ablation: empty for none.
        objects: on which objects: `FIXED`, `SEALED`, or the name of what was changed.
    """

    seed: int
    epoch: int
    episodes: int
    human_rows: int
    corrections_per_episode: float
    human_s: float
    train_s: float
    infer_ms: float
    successes: int
    attempts: int
    success: float
    success_low: float
    success_high: float
    ablation: str = ""
    objects: str = FIXED


def wilson(successes: int, attempts: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson."""
    if not attempts:
        return 0.0, 1.0
    share, square = successes / attempts, _NORMAL_95**2
    middle = share + square / (2 * attempts)
    half = _NORMAL_95 * math.sqrt(share * (1 - share) / attempts + square / (4 * attempts**2))
    scale = 1 + square / attempts
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def missed(rows: Sequence[CurveRow]) -> list[str]:
    """What of the bar these rows, of one seed and without ablation, do not reach."""
    fixed = [row for row in rows if row.objects == FIXED]
    sealed = [row for row in rows if row.objects == SEALED]
    first, last = fixed[0], fixed[-1]
    found = []
    if first.success > UNTRAINED_AT_MOST:
        found.append(f"untrained {first.success:.2f}, at most {UNTRAINED_AT_MOST:.2f} expected")
    found += [
        f"epoch {row.epoch}, {row.objects} objects: {row.success:.3f} of {TRAINED_AT_LEAST:.2f}"
        for row in (last, *sealed)
        if row.success < TRAINED_AT_LEAST
    ]
    if last.corrections_per_episode > CORRECTIONS_AT_MOST:
        found.append(f"{last.corrections_per_episode:.2f} corrections an episode, at most {CORRECTIONS_AT_MOST}")
    if (slowest := max(row.train_s for row in fixed)) > TRAIN_AT_MOST_S:
        found.append(f"a training took {slowest:.1f} s, at most {TRAIN_AT_MOST_S:g} expected")
    if last.infer_ms > INFER_AT_MOST_MS:
        found.append(f"an inference takes {last.infer_ms:.1f} ms, at most {INFER_AT_MOST_MS:g} expected")
    return found


def table(rows: Sequence[CurveRow]) -> str:
    """A line a row."""
    lines = [" ".join(f"{column:>12}" for column in _COLUMNS)]
    for row in rows:
        values = (
            f"{row.epoch}{'' if row.objects == FIXED else ' ' + row.objects}",
            row.episodes,
            row.human_rows,
            f"{row.corrections_per_episode:.2f}",
            f"{row.human_s:.2f}",
            f"{row.train_s:.1f}",
            f"{row.infer_ms:.1f}",
            f"{row.successes}/{row.attempts} {row.success:.2f}",
            f"{row.success_low:.2f}-{row.success_high:.2f}",
        )
        lines.append(" ".join(f"{value:>12}" for value in values))
    return "\n".join(lines)


def save(rows: Sequence[CurveRow], folder: Path, *, by_person: bool = False) -> None:
    """`curve.json`, to which what it held of other seeds and ablations stays, and `curve.png` (`draw`) of it all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "curve.json"
    made = {(row.seed, row.ablation) for row in rows}
    found = load(path)
    if not found and path.exists():
        path.replace(path.with_name("curve.json.unreadable"))
    every = [*(row for row in found if (row.seed, row.ablation) not in made), *rows]
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps([asdict(row) for row in every], indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    draw(every, folder / "curve.png", by_person=by_person)


def load(path: Path) -> list[CurveRow]:
    """The rows in `curve.json`; none if there is no such file, or it is not one."""
    try:
        return [CurveRow(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def draw(rows: Sequence[CurveRow], path: Path, *, by_person: bool = False) -> None:
    """Success over episodes, a line a seed with its interval, ablations in other colours; the sealed set as a ring.

    With `by_person`, over the seconds that a person guided; there is no bar then.
    """

    def along(row: CurveRow) -> float:
        return row.human_rows / _ROWS_A_SECOND if by_person else row.episodes

    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), dpi=130, width_ratios=(3, 2))
    ablations = sorted({row.ablation for row in rows})
    colours = {name: f"C{number}" for number, name in enumerate(ablations)}
    for name in ablations:
        seeds = sorted({row.seed for row in rows if row.ablation == name})
        for number, seed in enumerate(seeds):
            line = sorted(
                (row for row in rows if (row.seed, row.ablation, row.objects) == (seed, name, FIXED)),
                key=lambda row: row.epoch,
            )
            label = (name or "corrections") if number == 0 else None
            episodes = [along(row) for row in line]
            left.plot(episodes, [row.success for row in line], "o-", ms=3, lw=1.4, color=colours[name], label=label)
            low, high = [row.success_low for row in line], [row.success_high for row in line]
            left.fill_between(episodes, low, high, color=colours[name], alpha=0.08, lw=0)
            if not name:
                right.plot(
                    [row.episodes for row in line[1:]],
                    [row.corrections_per_episode for row in line[1:]],
                    "o-",
                    ms=3,
                    color="C0",
                )
        for row in rows:
            if row.ablation == name and row.objects == SEALED:
                left.plot(along(row), row.success, "o", ms=9, mfc="none", color=colours[name])
    if not by_person:
        left.axhline(TRAINED_AT_LEAST, color="grey", lw=0.8, ls=":")
        right.axhline(CORRECTIONS_AT_MOST, color="grey", lw=0.8, ls=":")
    left.set(
        xlabel="seconds that a person guided" if by_person else "episodes that the weights were made of",
        ylabel=f"success on {rows[0].attempts} unseen objects",
        ylim=(-0.03, 1.03),
    )
    left.legend(loc="lower right", fontsize=8, frameon=False)
    left.set_title("ring: sealed set; band: 95 % (Wilson)" + ("" if by_person else "; dotted: the bar"), fontsize=8)
    right.set(xlabel="episodes", ylabel="corrections an episode", ylim=(-0.03, 1.03))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
