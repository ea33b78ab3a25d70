# SPDX-License-Identifier: Apache-2.0
"""`episodes replay`: publishes an episode on the session's topics at its own pace, for rviz2. The one verb with ROS.

Never into a running session: it refuses if anybody publishes arm_status, joint_states or session/state, and stops if
somebody begins to. It publishes nothing that a driver listens to. When each row is due is decided here, without ROS.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from h1_recorder.commands.files import Verb, reason
from h1_recorder.episode.apart import ChildError, in_child
from h1_recorder.episode.episode import Episode, EpisodeError, read

PAUSE_NS = 1_000_000_000
"""Between the end of an episode and its beginning when it is replayed again and again."""

_BLOCK = 25
"""Images that are read at once."""


class ReplayError(ValueError):
    """The episode cannot be replayed, or not here; the message says why and what to do."""


@dataclass(frozen=True)
class ReplayedRow:
    """What is published for one row.

    Attributes:
        row: its number.
        positions, velocities, efforts: of the arm joints; rad, rad/s, N·m.
        images: JPEG by camera, of those whose image is another than in the row published before.
        text: phase and time for a person.
        human: a person guides the arms.
    """

    row: int
    positions: list[float]
    velocities: list[float]
    efforts: list[float]
    images: dict[str, bytes]
    text: str
    human: bool


class Replay:
    """Walks through an episode.

    Args:
        episode: as read.
        rate: times its own pace.
        start_s: where to begin, s.
        loop: begin again at the end.

    Raises:
        ReplayError: there is nothing to replay behind `start_s`.
    """

    def __init__(self, episode: Episode, *, rate: float = 1.0, start_s: float = 0.0, loop: bool = False) -> None:
        if not len(episode):
            raise ReplayError(f"{episode.path} has no rows")
        self.episode, self._rate, self._loop = episode, rate, loop
        ticks = episode.stamps["tick"]
        self._since_ns = ticks - ticks[0]
        self._first = int(np.searchsorted(self._since_ns, round(start_s * 1e9)))
        if self._first == len(ticks):
            raise ReplayError(
                f"{episode.path} lasts {self._since_ns[-1] / 1e9:.2f} s; it cannot begin at {start_s:g} s"
            )
        self._published: dict[str, int] = {}
        self._begun_ns: int | None = None
        self._last_row = -1
        self._images = lru_cache(maxsize=8)(self._block)

    def due(self, now_ns: int) -> ReplayedRow | None:
        """The newest row that is due, or None if there is none since the last call. A late caller skips rows.

        Args:
            now_ns: of any clock that only advances.
        """
        if self._begun_ns is None:
            self._begun_ns = now_ns
        passed_ns = (now_ns - self._begun_ns) * self._rate + int(self._since_ns[self._first])
        row = int(np.searchsorted(self._since_ns, passed_ns, side="right")) - 1
        if row == self._last_row:
            if self._loop and passed_ns > self._since_ns[-1] + PAUSE_NS * self._rate:
                self._begun_ns, self._last_row = None, -1
            return None
        self._last_row = row
        return self._replayed(row)

    @property
    def finished(self) -> bool:
        """The last row was given out, and it is not to begin again."""
        return not self._loop and self._last_row == len(self._since_ns) - 1

    def _replayed(self, row: int) -> ReplayedRow:
        found = self.episode
        phase, seconds = str(found.phase[row]), self._since_ns[row] / 1e9
        return ReplayedRow(
            row=row,
            positions=found.qpos[row].astype(float).tolist(),
            velocities=found.qvel[row].astype(float).tolist(),
            efforts=found.effort[row].astype(float).tolist(),
            images=self._new_images(row),
            text=f"{phase}  {seconds:.1f} s  segment {found.segment[row]}",
            human=phase == "human",
        )

    def _new_images(self, row: int) -> dict[str, bytes]:
        found = {}
        for camera in self.episode.cameras:
            stamp = int(self.episode.stamps[camera][row])
            if self._published.get(camera) != stamp:
                self._published[camera] = stamp
                found[camera] = self._images(camera, row // _BLOCK)[row % _BLOCK]
        return found

    def _block(self, camera: str, block: int) -> list[bytes]:
        return self.episode.jpegs(camera, slice(block * _BLOCK, (block + 1) * _BLOCK))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="EPISODE")
    parser.add_argument("--rate", type=_positive, default=1.0, metavar="X", help="times its own pace (default 1)")
    parser.add_argument("--start", type=_not_negative, default=0.0, metavar="S", help="begin so many seconds into it")
    parser.add_argument("--loop", action="store_true", help="begin again at its end")


def _positive(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError("expected 0.01 to 100")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("expected 0 or more")
    return value


def run(arguments: argparse.Namespace) -> int:
    """`episodes replay`: publishes an episode on the session's topics at its own pace, for rviz2; 130 after Ctrl+C."""
    try:
        from h1_recorder.commands.replay_node import replay
    except ImportError as error:
        return _failed(arguments, f"replaying needs ROS 2 and this workspace sourced: {error}")
    try:
        in_child(lambda: _read_all(arguments.path), arguments.path)  # what it finds is said below, a hang is not
        plan = Replay(read(arguments.path), rate=arguments.rate, start_s=arguments.start, loop=arguments.loop)
        return replay(plan)
    except (EpisodeError, ReplayError, OSError) as error:
        return _failed(arguments, reason(error))
    except ChildError as error:
        return _failed(arguments, f"{arguments.path}: {error}")


def _read_all(path: Path) -> int:
    episode = read(path)
    for camera in episode.cameras:
        for start in range(0, len(episode), _BLOCK):
            episode.jpegs(camera, slice(start, start + _BLOCK))
    return 0


def _failed(arguments: argparse.Namespace, why: str) -> int:
    print(json.dumps({"failed": why}) if arguments.json else f"failed: {why}")
    return 1


VERBS = (Verb("replay", "publish an episode on the session's topics, for rviz2; needs ROS", run, _add_arguments),)
