"""The simulated training host: data that arrive are trained on, and the server's epoch rises.

Episodes that lie there at the start belong to the past. rsync writes under a hidden name and renames, so what bears
an episode's name is whole; a short calm tells that no more is on its way.
"""

from __future__ import annotations

from pathlib import Path

_CALM_S = 0.5


class Training:
    """Epoch and readiness, as `/training_status` reports them.

    Args:
        folder: the upload target, searched with all below it; None trains never.
        first_epoch: reported at the start, ready.
        training_s: how long a training takes.
    """

    def __init__(self, folder: Path | None, *, first_epoch: int, training_s: float) -> None:
        self._folder = folder
        self._training_s = training_s
        self._trained = self._episodes()
        self._seen = self._trained
        self._changed_s = 0.0
        self.epoch = first_epoch
        self.ready = True

    def look(self, now_s: float) -> bool:
        """Look at the folder; True if the epoch has risen. Data that arrive during a training join it."""
        episodes = self._episodes()
        if episodes != self._seen:
            self._seen, self._changed_s = episodes, now_s
        if not episodes.keys() - self._trained.keys():
            return False
        calm_s = now_s - self._changed_s
        self.ready = calm_s < _CALM_S
        if calm_s < _CALM_S + self._training_s:
            return False
        self._trained = episodes
        self.epoch += 1
        self.ready = True
        return True

    @property
    def episodes(self) -> int:
        """Episodes trained on so far."""
        return len(self._trained)

    def _episodes(self) -> dict[Path, tuple[int, int]]:
        found: dict[Path, tuple[int, int]] = {}
        if self._folder is not None and self._folder.is_dir():
            for path in self._folder.rglob("episode_*.hdf5"):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found[path] = (status.st_size, status.st_mtime_ns)
        return found
