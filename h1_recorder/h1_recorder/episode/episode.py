"""Reads a finished episode; for other packages and for whoever has nothing but a file.

episode = h1_recorder.episode.episode.read(path)
episode.qpos[episode.phase == "policy"]        # (n, 14) float32, rad
picture = episode.image("ego_cam", 0)          # (H, W, 3) uint8, BGR
summary(path).interventions                    # without reading any row
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from h1_training_node.cameras import CAMERAS

Array = npt.NDArray[Any]
_IMAGES = "observations/images"


class EpisodeError(ValueError):
    """The file is no episode; the message names it and says what is missing."""


@dataclass(frozen=True)
class Summary:
    """One line about an episode.

    Attributes:
        path: of the file.
        frames, policy_frames, human_frames: rows.
        interventions: times that a person took over.
        outcome: success, failure or unlabeled.
        measured_fps: different arm states a second.
        gaps: breaks that should not be.
        epoch, episode, end_reason, task: as recorded.
        duplicate_rows, stale_frames: rows without news of the arms; rows with an old image, all cameras.
    """

    path: Path
    frames: int
    policy_frames: int
    human_frames: int
    interventions: int
    outcome: str
    measured_fps: float
    gaps: int
    epoch: int
    episode: int
    end_reason: str
    task: str
    duplicate_rows: int
    stale_frames: int


@dataclass(frozen=True)
class Episode:
    """A whole episode, but for its pictures, which are read when they are asked for.

    Attributes:
        path: of the file.
        qpos, qvel, effort: (T, 14) float32 measured; rad, rad/s, N·m; left 7 then right 7.
        action: (T, 14) float32, rad, what the policy put out; zeros where a person guided.
        applied_action: (T, 14) float32, rad, what the arms were commanded, or measured where a person guided.
        phase: (T,) "policy" or "human".
        segment: (T,) int32 number of the unbroken run of rows.
        stamps: (T,) int64 ns each: tick, qpos, action and the cameras; -1 = none yet, or dummy.
        hand_qpos, hand_action, hand_command: (T, 12) float32, left 6 then right 6, 0 closed .. 1 open; None without.
        events, gaps: decoded.
        attributes: of the file.
        cameras: names of the cameras that are in it.
    """

    path: Path
    qpos: Array
    qvel: Array
    effort: Array
    action: Array
    applied_action: Array
    phase: Array
    segment: Array
    stamps: dict[str, Array]
    hand_qpos: Array | None
    hand_action: Array | None
    hand_command: Array | None
    events: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    attributes: dict[str, Any]
    cameras: tuple[str, ...] = field(default=CAMERAS)

    def __len__(self) -> int:
        return len(self.phase)

    def jpegs(self, camera: str, rows: slice = slice(None)) -> list[bytes]:
        """The JPEGs of one camera, as stored."""
        with h5py.File(self.path, "r") as file:
            return [bytes(item) for item in file[_IMAGES][camera][rows]]

    def image(self, camera: str, row: int) -> Array:
        """One decoded picture: (H, W, 3) uint8, BGR.

        Raises:
            EpisodeError: it does not decode.
        """
        import cv2

        with h5py.File(self.path, "r") as file:
            data = file[_IMAGES][camera][row]
        picture = cv2.imdecode(np.asarray(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise EpisodeError(f"{self.path}: image {row} of {camera} does not decode")
        return np.asarray(picture)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file at `path`, for reading.

    Raises:
        EpisodeError: it is no HDF5 file, or a broken one.
        OSError: it cannot be opened; says why in the system's words.
    """
    with path.open("rb"):  # HDF5's own words for a missing file are five lines long
        pass
    if not h5py.is_hdf5(path):
        raise EpisodeError(f"{path}: no HDF5 file, or its beginning is lost")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise EpisodeError(f"{path}: broken, or still being written: {error}") from None
    with file:
        yield file


def read(path: Path | str) -> Episode:
    """The episode at `path`.

    Raises:
        EpisodeError: not an episode, or something is missing in it.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            observations = file["observations"]
            optional = {name: file[name][:] if name in file else None for name in ("hand_action", "hand_command")}
            return Episode(
                path=path,
                qpos=observations["qpos"][:],
                qvel=observations["qvel"][:],
                effort=observations["effort"][:],
                action=file["action"][:],
                applied_action=file["applied_action"][:],
                phase=file["phase"][:].astype(str),
                segment=file["segment"][:],
                stamps={name: dataset[:] for name, dataset in file["stamps"].items()},
                hand_qpos=observations["hand_qpos"][:] if "hand_qpos" in observations else None,
                events=[json.loads(line) for line in file["events"].asstr()[:]],
                gaps=[json.loads(line) for line in file["gaps"].asstr()[:]],
                attributes=_attributes(file),
                cameras=tuple(real_cameras(file)),
                **optional,
            )
    except KeyError as error:
        raise EpisodeError(f"{path}: {error.args[0]}") from None


def real_cameras(file: h5py.File) -> Iterator[str]:
    """Cameras of an open file, without the links that give them further names."""
    images = file[_IMAGES]
    for name in images:
        if isinstance(images.get(name, getlink=True), h5py.HardLink):
            yield name


def summary(path: Path | str) -> Summary:
    """One line about the episode at `path`, from its attributes alone.

    Raises:
        EpisodeError: not an episode.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with opened(path) as file:
        found = _attributes(file)
    try:
        return Summary(
            path=path,
            frames=int(found["episode_length"]),
            policy_frames=int(found["policy_frames"]),
            human_frames=int(found["human_frames"]),
            interventions=int(found["interventions"]),
            outcome=str(found["outcome"]),
            measured_fps=float(found["measured_fps"]),
            gaps=int(found["gap_count"]),
            epoch=int(found["epoch"]),
            episode=int(found["episode"]),
            end_reason=str(found["end_reason"]),
            task=str(found["task"]),
            duplicate_rows=int(found["duplicate_rows"]),
            stale_frames=sum(int(value) for name, value in found.items() if name.startswith("stale_frames_")),
        )
    except KeyError as error:
        raise EpisodeError(f"{path}: attribute {error} is missing; it is not one of our episodes") from None


def _attributes(file: h5py.File) -> dict[str, Any]:
    """Attributes as plain Python values."""
    return {
        name: value.item()
        if isinstance(value, np.generic)
        else value.tolist()
        if isinstance(value, np.ndarray)
        else value
        for name, value in file.attrs.items()
    }
