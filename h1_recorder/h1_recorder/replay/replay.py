"""When each row of an episode is to be published again, and what is seen of it. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from h1_recorder.episode.content import JOINT_NAMES
from h1_recorder.episode.episode import Episode

PAUSE_NS = 1_000_000_000
"""Between the end of an episode and its beginning when it is replayed again and again."""

_BLOCK = 25
"""Pictures that are read at once."""


class ReplayError(ValueError):
    """The episode cannot be replayed, or not here; the message says why and what to do."""


@dataclass(frozen=True)
class Scene:
    """What is published for one row.

    Attributes:
        row: its number.
        names, positions, velocities, efforts: of the arm joints; rad, rad/s, N·m.
        pictures: JPEG by camera, of those whose picture is another than in the row published before.
        text: phase and time for a person.
        human: a person guides the arms.
    """

    row: int
    names: tuple[str, ...]
    positions: list[float]
    velocities: list[float]
    efforts: list[float]
    pictures: dict[str, bytes]
    text: str
    human: bool


class Replay:
    """Walks through an episode.

    Args:
        episode: as read.
        rate: times its own pace.
        start_s: where to begin, s.
        loop: begin anew at the end.

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
        self._shown: dict[str, int] = {}
        self._begun_ns: int | None = None
        self._last_row = -1
        self._pictures = lru_cache(maxsize=8)(self._block)

    def due(self, now_ns: int) -> Scene | None:
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
        return self._scene(row)

    @property
    def finished(self) -> bool:
        """The last row was given out, and it is not to begin anew."""
        return not self._loop and self._last_row == len(self._since_ns) - 1

    def _scene(self, row: int) -> Scene:
        found = self.episode
        phase, seconds = str(found.phase[row]), self._since_ns[row] / 1e9
        return Scene(
            row=row,
            names=JOINT_NAMES,
            positions=found.qpos[row].astype(float).tolist(),
            velocities=found.qvel[row].astype(float).tolist(),
            efforts=found.effort[row].astype(float).tolist(),
            pictures=self._new_pictures(row),
            text=f"{phase}  {seconds:.1f} s  segment {found.segment[row]}",
            human=phase == "human",
        )

    def _new_pictures(self, row: int) -> dict[str, bytes]:
        found = {}
        for camera in self.episode.cameras:
            stamp = int(self.episode.stamps[camera][row])
            if self._shown.get(camera) != stamp:
                self._shown[camera] = stamp
                found[camera] = self._pictures(camera, row // _BLOCK)[row % _BLOCK]
        return found

    def _block(self, camera: str, block: int) -> list[bytes]:
        return self.episode.jpegs(camera, slice(block * _BLOCK, (block + 1) * _BLOCK))
