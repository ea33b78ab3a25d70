"""What a LeRobotDataset says about the rows of an episode: columns, features, statistics. Pure, no file is touched.

In rows of the policy `action` is what the policy put out. Where a person guided, the policy put out nothing and the
file holds zeros, which would teach a robot to go to zero; there `action` is where the person had the joints `lookahead`
rows later. Rows without such a later row (at the end of a run) hold the measured position, and `action_valid` masks
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode

Array = npt.NDArray[Any]

HAND_NAMES = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("little", "ring", "middle", "index", "thumb_bend", "thumb_rotation")
)
"""Order of the hands' twelve values: the registers' own."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


class ExportError(ValueError):
    """An episode that cannot be exported, or not together with the others; the message says which and why."""


@dataclass(frozen=True)
class Place:
    """Where an episode's rows stand in the dataset.

    Attributes:
        episode_index: of the episode.
        first_index: `index` of its first row.
        task_index: of its task.
    """

    episode_index: int
    first_index: int
    task_index: int


def has_hands(episode: Episode) -> bool:
    """The policy commanded the hands too, so that state and action have 26 values."""
    return episode.hand_action is not None and episode.hand_qpos is not None


def columns(episode: Episode, place: Place, *, lookahead: int = 1) -> dict[str, Array]:
    """Every column of the dataset but the videos.

    Args:
        episode: as read.
        place: where its rows stand in the dataset.
        lookahead: rows between a person's joint position and the action that led there; at least 1.

    Returns:
        `observation.state`, `action` (T, 14 or 26) float32 in rad, hands 0..1; all else (T,).

    Raises:
        ExportError: the episode has no rows.
    """
    length = len(episode)
    if length == 0:
        raise ExportError(f"{episode.path} has no rows")
    state, action = episode.qpos, episode.action
    if has_hands(episode):
        assert episode.hand_qpos is not None and episode.hand_action is not None
        state = np.hstack([state, episode.hand_qpos])
        action = np.hstack([action, episode.hand_action])
    human = episode.phase == "human"
    action, valid = _with_guided_actions(state, action, human, episode.segment, lookahead)
    last = np.arange(length) == length - 1
    fps = float(episode.attributes["fps"])
    return {
        "observation.state": state.astype(np.float32),
        "action": action.astype(np.float32),
        "action_valid": valid,
        "intervention": human,
        "next.done": last,
        "next.success": last & (episode.attributes["outcome"] == "success"),
        "timestamp": (np.arange(length) / fps).astype(np.float32),
        "frame_index": np.arange(length, dtype=np.int64),
        "episode_index": np.full(length, place.episode_index, np.int64),
        "index": place.first_index + np.arange(length, dtype=np.int64),
        "task_index": np.full(length, place.task_index, np.int64),
    }


def _with_guided_actions(
    state: Array, action: Array, human: Array, segment: Array, lookahead: int
) -> tuple[Array, Array]:
    """`action` with a person's in their rows, and where it is one: (T, n), (T,) bool."""
    length = len(state)
    later = np.minimum(np.arange(length) + lookahead, length - 1)
    reached = (np.arange(length) + lookahead < length) & (segment[later] == segment) & human[later]
    valid = ~human | reached
    guided = np.where(reached[:, None], state[later], state)
    return np.where(human[:, None], guided, action), valid


def features(widths: int, fps: int, pictures: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """The `features` of `meta/info.json`.

    Args:
        widths: of state and action, 14 or 26.
        fps: rows a second.
        pictures: height and width of each camera.
    """
    names = list(JOINT_NAMES) + (list(HAND_NAMES) if widths > len(JOINT_NAMES) else [])
    found: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [widths], "names": names},
        "action": {"dtype": "float32", "shape": [widths], "names": names},
    }
    for name in ("action_valid", "intervention", "next.done", "next.success"):
        found[name] = {"dtype": "bool", "shape": [1], "names": None}
    for camera, (height, width) in pictures.items():
        found[f"observation.images.{camera}"] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }
    found["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        found[name] = {"dtype": "int64", "shape": [1], "names": None}
    return found


def statistics(column: Array) -> dict[str, list[Any]]:
    """min, max, mean, std, count and quantiles over the rows of a column, as LeRobot has them: flat lists."""
    values = np.asarray(column, np.float64).reshape(len(column), -1)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True))
    return {**{name: value.tolist() for name, value in found.items()}, "count": [len(values)]}


class PictureStatistics:
    """Statistics over sampled pictures, by channel in RGB and 0..1: lists of shape (3, 1, 1), as LeRobot has them."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._pictures = 0

    def add(self, picture: Array) -> None:
        """Take in a (H, W, 3) uint8 RGB picture; every fourth line and column of it is enough."""
        for channel in range(3):
            self._counts[channel] += np.bincount(picture[::4, ::4, channel].ravel(), minlength=256)
        self._pictures += 1

    def result(self) -> dict[str, Any]:
        """Of all pictures so far; at least one."""
        return {**histogram_statistics(self._counts), "count": [self._pictures]}

    @property
    def counts(self) -> list[list[int]]:
        """(3, 256) how often each value occurred; adding these up joins episodes exactly."""
        return [[int(count) for count in channel] for channel in self._counts]


def histogram_statistics(counts: Array) -> dict[str, Any]:
    """Statistics of (3, 256) counts of the values 0..255, scaled to 0..1, each of shape (3, 1, 1)."""
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    spread = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    below = counts.cumsum(1) / total[:, None]
    found = {"min": _at_share(below, 1e-12), "max": _at_share(below, 1 - 1e-12), "mean": mean, "std": spread}
    found |= {name: _at_share(below, share) for name, share in QUANTILES.items()}
    return {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}


def _at_share(below: Array, share: float) -> Array:
    """(3,) the first value, 0..1, at which `share` of a channel's pixels are not above it."""
    return np.asarray((below >= share).argmax(1) / 255)
