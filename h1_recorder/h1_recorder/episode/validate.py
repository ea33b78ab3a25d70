"""Checks an episode file against `docs/episode_format.md`: layout, counts, stamps, phases, pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h1_recorder.episode.episode import EpisodeError, opened, real_cameras
from h1_recorder.episode.episode_file import IMAGES, LINKS
from h1_training_node.cameras import CAMERAS

_WIDTHS = {
    "observations/qpos": 14,
    "observations/qvel": 14,
    "observations/effort": 14,
    "action": 14,
    "applied_action": 14,
    "observations/hand_qpos": 12,
    "hand_action": 12,
    "hand_command": 12,
}
_OPTIONAL = ("observations/hand_qpos", "hand_action", "hand_command")
_ATTRIBUTES = (
    *("episode_length", "fps", "timestamp", "policy_frames", "human_frames", "outcome", "advantage", "end_reason"),
    *("epoch", "episode", "task", "prompt", "interventions", "gap_count", "event_count", "duplicate_rows"),
    *("measured_fps", "joint_names", "gains", "limits", "payload", "serials", "versions", "format_version"),
    "config_sha256",
)


def problems(path: Path, *, decode_images: bool = True) -> list[str]:
    """What is wrong with the episode at `path`, a line each; empty if nothing is.

    Args:
        path: of the file.
        decode_images: decode every JPEG, not only look at its first bytes.
    """
    try:
        with opened(path) as file:
            return list(_problems(file, decode_images))
    except EpisodeError as error:
        return [str(error).removeprefix(f"{path}: ")]
    except OSError as error:
        return [f"cannot be opened: {error.strerror or error}"]


def _problems(file: h5py.File, decode_images: bool) -> Iterator[str]:
    missing = list(_missing(file))
    yield from missing
    if missing:
        return
    length = int(file.attrs["episode_length"])
    yield from _shapes(file, length)
    if length == 0:
        yield "has no rows"
        return
    with contextlib.suppress(ValueError):  # a wrong shape, reported above
        yield from _counts(file, length)
        yield from _times(file)
        yield from _phases(file)
    for camera in real_cameras(file):
        yield from _pictures(file, camera, decode_images)


def _missing(file: h5py.File) -> Iterator[str]:
    for name in _ATTRIBUTES:
        if name not in file.attrs:
            yield f"attribute '{name}' is missing"
    stamps = [f"stamps/{name}" for name in ("tick", "qpos", "action", *CAMERAS)]
    images = [f"{IMAGES}/{name}" for name in (*CAMERAS, *LINKS)]
    for name in (*_WIDTHS, "phase", "segment", "events", "gaps", *stamps, *images):
        if name not in file and name not in _OPTIONAL:
            yield f"'{name}' is missing"
    for camera in CAMERAS:
        for name in ("stale_frames", "jpeg_source"):
            if f"{name}_{camera}" not in file.attrs:
                yield f"attribute '{name}_{camera}' is missing"


def _shapes(file: h5py.File, length: int) -> Iterator[str]:
    for name, width in _WIDTHS.items():
        if name in file and (file[name].shape != (length, width) or file[name].dtype != np.float32):
            yield f"'{name}' is {file[name].shape} {file[name].dtype}; expected ({length}, {width}) float32"
    if file["phase"].dtype != np.dtype("S10"):
        yield f"'phase' is {file['phase'].dtype}; expected S10"
    for name in ("phase", "segment", *(f"stamps/{key}" for key in file["stamps"])):
        if file[name].shape != (length,):
            yield f"'{name}' is {file[name].shape}; expected ({length},)"
    for camera in CAMERAS:
        dataset = file[IMAGES][camera]
        if dataset.shape != (length,) or h5py.check_vlen_dtype(dataset.dtype) != np.uint8:
            yield f"images of {camera} are {dataset.shape} {dataset.dtype}; expected ({length},) of uint8 strings"


def _counts(file: h5py.File, length: int) -> Iterator[str]:
    phase = file["phase"][:]
    policy, human = int((phase == b"policy").sum()), int((phase == b"human").sum())
    for name, found in (("policy_frames", policy), ("human_frames", human), ("episode_length", policy + human)):
        if int(file.attrs[name]) != found:
            yield f"attribute '{name}' is {file.attrs[name]}; the rows say {found} of {length}"
    for name, dataset in (("gap_count", "gaps"), ("event_count", "events")):
        if int(file.attrs[name]) != len(file[dataset]):
            yield f"attribute '{name}' is {file.attrs[name]}; there are {len(file[dataset])}"
    if bool(file.attrs["advantage"]) != (file.attrs["outcome"] == "success"):
        yield f"advantage is {file.attrs['advantage']}, but the outcome is {file.attrs['outcome']}"


def _times(file: h5py.File) -> Iterator[str]:
    tick, segment = file["stamps/tick"][:], file["segment"][:]
    step, same = np.diff(tick), np.diff(segment) == 0
    period = 1e9 / int(file.attrs["fps"])
    if (np.abs(step[same] - period) > 1).any():
        yield f"within a segment rows are not {period / 1e6:.3f} ms apart"
    if (step <= 0).any():
        yield "ticks do not advance"
    if ((np.diff(segment) != 0) & (np.diff(segment) != 1)).any() or segment[0] != 0:
        yield "segments are not numbered 0, 1, 2 ..."
    if (step[~same] < 1.5 * period).any():
        yield "two segments follow each other without a break"
    for name, dataset in file["stamps"].items():
        stamps = dataset[:]
        if (stamps > tick).any():
            yield f"stamps/{name} is later than its row"
        known = stamps[stamps >= 0]
        if (np.diff(known) < 0).any():
            yield f"stamps/{name} goes back"


def _phases(file: h5py.File) -> Iterator[str]:
    human = file["phase"][:] == b"human"
    action, applied, qpos = file["action"][:], file["applied_action"][:], file["observations/qpos"][:]
    stamps = file["stamps/action"][:]
    if action[human].any():
        yield "action is not zero in a human row"
    if not np.array_equal(applied[human], qpos[human]):
        yield "applied_action is not the measured position in a human row"
    if (stamps[human] != -1).any():
        yield "a human row has an action's stamp"
    waiting = ~human & (stamps == -1)
    if not np.array_equal(action[waiting], applied[waiting]):
        yield "action is not applied_action before a run's first action"
    if not (np.isfinite(action).all() and np.isfinite(applied).all() and np.isfinite(qpos).all()):
        yield "a joint position is not finite"


def _pictures(file: h5py.File, camera: str, decode: bool) -> Iterator[str]:
    dataset = file[IMAGES][camera]
    previous: Any = None
    for row in range(len(dataset)):
        data = dataset[row]
        if previous is not None and np.array_equal(data, previous):
            continue
        previous = data
        if not _is_picture(data, decode):
            yield f"image {row} of {camera} does not decode"
            return


def _is_picture(data: Any, decode: bool) -> bool:
    if bytes(data[:3]) != b"\xff\xd8\xff":
        return False
    if not decode:
        return True
    import cv2

    return cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
