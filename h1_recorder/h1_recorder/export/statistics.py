# SPDX-License-Identifier: Apache-2.0
"""Statistics as LeRobot has them: of an episode's columns and images, and of all rows of a dataset. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_VALUES_AT_ONCE = 12_000_000
"""float64 that the statistics of a whole dataset hold at a time: 96 MB."""
_LINES = 4
"""Of an image every fourth line and column are counted."""


def statistics(column: Array) -> dict[str, list[Any]]:
    """min, max, mean, std, count and quantiles over the rows of a column: flat lists."""
    values = np.asarray(column, np.float64).reshape(len(column), -1)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True))
    return {**{name: value.tolist() for name, value in found.items()}, "count": [len(values)]}


def joined_statistics(
    widths: dict[str, int], rows: int, read: Callable[[Sequence[str]], Iterable[dict[str, Array]]]
) -> dict[str, dict[str, list[Any]]]:
    """Exact statistics of every column over all rows, a few values a row at a time so that memory stays flat.

    Args:
        widths: values a row, by column.
        rows: of the dataset.
        read: yields these columns part by part, each (n,) or (n, width).
    """
    found: dict[str, list[dict[str, list[Any]]]] = {name: [] for name in widths}
    every = [(name, value) for name, width in widths.items() for value in range(width)]
    step = max(_VALUES_AT_ONCE // max(rows, 1), 1)
    for start in range(0, len(every), step):
        chosen = every[start : start + step]
        held, at = np.empty((len(chosen), rows)), 0
        for part in read(list(dict.fromkeys(name for name, _ in chosen))):
            length = len(next(iter(part.values())))
            for line, (name, value) in zip(held, chosen, strict=True):
                line[at : at + length] = part[name].reshape(length, -1)[:, value]
            at += length
        for line, (name, _) in zip(held, chosen, strict=True):
            found[name].append(statistics(line))
    return {name: _side_by_side(parts) for name, parts in found.items()}


def _side_by_side(parts: list[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """One column's statistics of those of its values."""
    kinds = [kind for kind in parts[0] if kind != "count"]
    return {**{kind: [part[kind][0] for part in parts] for kind in kinds}, "count": parts[0]["count"]}


def image_counts(image: Array) -> Array:
    """(3, 256) how often each value occurs in a (H, W, 3) uint8 image, by channel; sampled."""
    sample = image[::_LINES, ::_LINES]
    return np.stack([np.bincount(sample[:, :, channel].ravel(), minlength=256) for channel in range(3)])


def image_statistics(counts: Array, images: int) -> dict[str, Any]:
    """Of (3, 256) counts of the values 0..255, scaled to 0..1, each of shape (3, 1, 1); count: of `images`."""
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    spread = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    below = counts.cumsum(1) / total[:, None]
    found = {"min": _at_share(below, 1e-12), "max": _at_share(below, 1 - 1e-12), "mean": mean, "std": spread}
    found |= {name: _at_share(below, share) for name, share in QUANTILES.items()}
    return {**{name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}, "count": [images]}


def _at_share(below: Array, share: float) -> Array:
    """(3,) the first value, 0..1, at which `share` of a channel's pixels are not above it."""
    return np.asarray((below >= share).argmax(1) / 255)
