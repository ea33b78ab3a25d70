# SPDX-License-Identifier: Apache-2.0
"""Reads a finished episode; for other packages and for whoever has nothing but a file.

A file may be damaged, or not be ours: whatever is wrong with it is one `EpisodeError`, and nothing is read that is
larger than a sound file of its size could hold. But HDF5 itself can loop for ever over a damaged file, or crash: before
`read` of a file of unknown origin, have `apart.in_child` read it, or run `episodes validate` on it.

episode = h1_recorder.episode.episode.read(path)
episode.qpos[episode.phase == "policy"]        # (n, 14) float32, rad
image = episode.image("ego_cam", 0)            # (H, W, 3) uint8, BGR
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

from h1_recorder.episode.info import FORMAT_VERSION
from h1_training_node.cameras import CAMERAS

Array = npt.NDArray[Any]
IMAGES = "observations/images"
_ROW_BYTES = 3 * 16
"""Of a row at least: the references to its three images, which are not compressed."""

NUMBERS = {
    **dict.fromkeys(("observations/qpos", "observations/qvel", "observations/effort", "action", "applied_action"), 14),
    **dict.fromkeys(("observations/hand_qpos", "hand_action", "hand_command"), 12),
}
"""Width of every (T, width) float32 array of a file."""

OPTIONAL = ("observations/hand_qpos", "hand_action", "hand_command")
SUMMARISED = (
    *("episode_length", "policy_frames", "human_frames", "interventions", "outcome", "measured_fps", "gap_count"),
    *("epoch", "episode", "end_reason", "task", "duplicate_rows", "fps", "format_version"),
)
_DAMAGED = (*(OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, ArithmeticError, MemoryError),)
"""What h5py raises about a file whose bytes are not what they were."""


class EpisodeError(ValueError):
    """The file is no episode of ours, or a damaged one; the message names it and says what is wrong."""


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
        duplicate_rows, stale_frames: rows without a new arm state; rows with an old image, all cameras.
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
    """A whole episode, but for its images, which are read when they are asked for.

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
        """The JPEGs of one camera, as stored.

        Raises:
            EpisodeError: they cannot be read.
        """
        with opened(self.path) as file:
            return [bytes(item) for item in file[IMAGES][camera][rows]]

    def image(self, camera: str, row: int) -> Array:
        """One decoded image: (H, W, 3) uint8, BGR.

        Raises:
            EpisodeError: it does not decode.
        """
        import cv2

        data = self.jpegs(camera, slice(row, row + 1))[0]
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            raise EpisodeError(f"{self.path}: image {row} of {camera} does not decode")
        return np.asarray(image)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file at `path`, for reading. HDF5's own lock is left out: not every disk has it, and the folder has ours.

    Raises:
        EpisodeError: it is no HDF5 file, or a damaged one; also if what is done with it finds that out.
        OSError: it cannot be opened; says why in the system's words.
    """
    with path.open("rb"):  # HDF5's own words for a missing file are five lines long
        pass
    try:
        if not h5py.is_hdf5(path):
            raise EpisodeError(f"{path}: no HDF5 file, or its beginning is lost")
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except EpisodeError:
        raise
    except _DAMAGED as error:
        raise EpisodeError(f"{path}: damaged: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]


def read(path: Path | str) -> Episode:
    """The episode at `path`.

    Raises:
        EpisodeError: not an episode, or something in it is missing or damaged.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with opened(path) as file:
        if faults := structure_faults(file):
            raise EpisodeError(f"{path}: {faults[0]}")
        observations = file["observations"]
        optional = {name.rpartition("/")[2]: file[name][:] if name in file else None for name in OPTIONAL}
        phase = file["phase"][:]
        if unknown := [name for name in np.unique(phase) if name not in (b"policy", b"human")]:
            raise EpisodeError(f"{path}: unknown phase {unknown[0].decode(errors='replace')!r}")
        return Episode(
            path=path,
            qpos=observations["qpos"][:],
            qvel=observations["qvel"][:],
            effort=observations["effort"][:],
            action=file["action"][:],
            applied_action=file["applied_action"][:],
            phase=phase.astype(str),
            segment=file["segment"][:],
            stamps={name: dataset[:] for name, dataset in file["stamps"].items()},
            events=_entries(file, "events"),
            gaps=_entries(file, "gaps"),
            attributes=attributes(file),
            cameras=tuple(real_cameras(file)),
            **optional,
        )


def structure_faults(file: h5py.File) -> list[str]:
    """What is missing in an open file, or of another shape or type than it should be, a line each.

    A file that has none is read without surprises.
    """
    if faults := not_ours(file):
        return [faults]
    missing = [f"attribute '{name}' is missing" for name in SUMMARISED if name not in file.attrs]
    if missing:
        return missing
    try:
        length = int(file.attrs["episode_length"])
        fps = int(file.attrs["fps"])
    except (TypeError, ValueError, OverflowError):
        return ["attributes 'episode_length' and 'fps' are not both numbers"]
    if not 0 <= length * _ROW_BYTES <= file.id.get_filesize():
        return [f"attribute 'episode_length' is {length}; the file has {file.id.get_filesize()} bytes"]
    phase = file.get("phase")
    if isinstance(phase, h5py.Dataset) and len(phase.shape) == 1 and phase.shape[0] != length:
        return [f"attribute 'episode_length' is {length}; there are {phase.shape[0]} rows"]
    faults_found = [] if 1 <= fps <= 1000 else [f"attribute 'fps' is {fps}; expected 1 to 1000"]
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        **{name: ((length, width), "float32") for name, width in NUMBERS.items()},
        "phase": ((length,), "|S10"),
        "segment": ((length,), "int32"),
        **{f"stamps/{name}": ((length,), "int64") for name in ("tick", "qpos", "action", *CAMERAS)},
        **{f"{IMAGES}/{name}": ((length,), "uint8 strings") for name in CAMERAS},
        **dict.fromkeys(("events", "gaps"), ((-1,), "text")),
    }
    for name, (shape, kind) in expected.items():
        faults_found += _array_fault(file, name, shape, kind)
    return faults_found


def _array_fault(file: h5py.File, name: str, shape: tuple[int, ...], kind: str) -> list[str]:
    """What is wrong with the dataset `name`: one line, or none; -1 in `shape` is any length that the file can hold."""
    if name not in file:
        return [] if name in OPTIONAL else [f"'{name}' is missing"]
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return [f"'{name}' is a group; expected a dataset"]
    if shape == (-1,) and len(found.shape) == 1 and found.shape[0] * 16 <= file.id.get_filesize():
        shape = found.shape
    if kind == "text":
        right = h5py.check_string_dtype(found.dtype) is not None
    elif kind == "uint8 strings":
        right = h5py.check_vlen_dtype(found.dtype) == np.uint8
    else:
        right = found.dtype == np.dtype(kind)
    if right and found.shape == shape:
        return []
    return [f"'{name}' is {found.shape} {found.dtype}; expected {shape} {kind}"]


def not_ours(file: h5py.File) -> str:
    """Why an open file is not one that this program can read as an episode; empty if it is."""
    found = file.attrs.get("format_version")
    if found is None:
        return "attribute 'format_version' is missing; it is not one of our episodes"
    try:
        version = int(found)
    except (TypeError, ValueError):
        return f"attribute 'format_version' is {str(found)[:40]!r}; it is not one of our episodes"
    if not 1 <= version <= FORMAT_VERSION:
        return f"is of format {version}, this program reads 1 to {FORMAT_VERSION}; use the version that wrote it"
    return ""


def _entries(file: h5py.File, name: str) -> list[dict[str, Any]]:
    """The JSON objects of `events` or `gaps`.

    Raises:
        EpisodeError: an entry is none.
    """
    found = []
    for number, line in enumerate(file[name].asstr()[:]):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise EpisodeError(f"{file.filename}: entry {number} of '{name}' is no JSON object")
        found.append(entry)
    return found


def real_cameras(file: h5py.File) -> Iterator[str]:
    """Cameras of an open file, without the links that give them further names."""
    images = file[IMAGES]
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
        if fault := not_ours(file):
            raise EpisodeError(f"{path}: {fault}")
        found = attributes(file)
        if missing := [name for name in SUMMARISED if name not in found]:
            raise EpisodeError(f"{path}: attribute '{missing[0]}' is missing; it is not one of our episodes")
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


def attributes(file: h5py.File) -> dict[str, Any]:
    """Attributes as plain Python values."""
    return {
        name: value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
        for name, value in file.attrs.items()
    }
