# SPDX-License-Identifier: Apache-2.0
"""ALOHA's episodes (tonyzhaozh/act, MarkFzp/act-plus-plus, moojink/openvla-oft): an HDF5 file an episode.

`images` raw: (T, H, W, 3) uint8 RGB, `compress` False, as all three read them. `images` compressed: the recorded JPEGs,
padded to one length, `compress` True and `compress_len`, as act-plus-plus reads them.

The attribute `sim` is True. Where it is False, the loaders pair an observation with the action before it (act:
utils.py, "hack, to make timesteps more aligned"); here action t belongs to observation t, which they spell `sim`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode, read
from h1_recorder.export.folder import Progress, each, write_json
from h1_recorder.export.images import decoded_images, jpegs
from h1_recorder.export.plan import Plan, Source, described
from h1_recorder.export.rows import Kind
from h1_recorder.export.video_store import decoded

CAMERA_NAMES = {"ego_cam": "cam_high"}
"""ALOHA's names for ours; the wrists have the same."""
IMAGES = ("raw", "compressed")
_FURTHER = ("valid_action", "intervention", "pre_intervention", "sample_weight", "source_row", "stamps.tick")


@dataclass(frozen=True)
class _Part:
    folder: Path
    source: Source
    first_name: int
    longest: int


def write(
    plan: Plan,
    folder: Path,
    *,
    reuse: Sequence[Path],
    jobs: int,
    progress: Progress,
    images: str = "raw",
    equal_length: bool = False,
    resize: tuple[int, int] | None = None,
) -> Mapping[str, int]:
    """Write `folder`/episode_N.hdf5; with a validation split `folder`/train and `folder`/val.

    Args:
        plan: of the dataset.
        folder: of the files.
        reuse: has no meaning here, there are no videos.
        jobs: processes.
        progress: is called with what is done.
        images: one of `IMAGES`.
        equal_length: go on with each episode's last row until all are as long as the longest; act stacks them.
        resize: width and height of raw images; None: as recorded.

    Raises:
        ExportError: an image cannot be had, or a label.
        OSError: of the file system.
    """
    longest = max(last - first for source in plan.sources for first, last in source.place.runs) if equal_length else 0
    train, val = (folder / "train", folder / "val") if plan.training_episodes < plan.episodes else (folder, folder)
    parts, names = [], {train: 0, val: 0}
    for source in plan.sources:
        place = val if source.is_validation else train
        parts.append(_Part(place, source, names[place], longest))
        names[place] += len(source.place.runs)
    for path in folder.rglob("*episode_*.hdf5*"):
        path.unlink()
    for place in names:
        place.mkdir(exist_ok=True)
    for _ in each(partial(_write_part, images=images, resize=resize), parts, jobs, "episodes", progress):
        pass
    write_json(folder / "h1_2_export.json", described(plan))
    return {"files": plan.episodes}


def _write_part(part: _Part, images: str, resize: tuple[int, int] | None) -> None:
    source, episode = part.source, read(part.source.path)
    for number, (first, last), run in source.by_run(source.columns(episode)):
        more = max(part.longest - (last - first), 0)
        run = {name: _held(values, more) for name, values in run.items()}
        target = part.folder / f"episode_{part.first_name + number}.hdf5"
        temporary = target.with_name(f".{target.name}.part")
        with h5py.File(temporary, "w") as file:
            file.attrs["sim"], file.attrs["compress"] = True, images == "compressed"
            file.attrs["task"], file.attrs["padded_rows"] = source.task, more
            file.attrs["source"] = json.dumps([source.name, first, last])
            file["action"] = run["action"]
            for name in ("qvel", "effort"):
                file[f"observations/{name}"] = run[name]
            file["observations/qpos"] = run["observation.state"]
            for name in _FURTHER:
                file[name.replace(".", "_")] = run[name]
            if images == "compressed":
                _write_compressed(file, episode, (first, last), more, source.kind)
            else:
                _write_raw(file, episode, (first, last), more, source.kind, resize)
        temporary.replace(target)


def _held(values: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    """The values, and the last one `more` times."""
    return np.concatenate([values, np.repeat(values[-1:], more, axis=0)]) if more else values


def _write_raw(
    file: h5py.File, episode: Episode, run: tuple[int, int], more: int, kind: Kind, resize: tuple[int, int] | None
) -> None:
    for camera, size in kind.cameras.items():
        height, width = (resize[1], resize[0]) if resize else size
        shape = (run[1] - run[0] + more, height, width, 3)
        name = f"observations/images/{CAMERA_NAMES.get(camera, camera)}"
        dataset = file.create_dataset(name, shape, np.uint8, chunks=(1, height, width, 3))
        image = None
        for row, image in enumerate(decoded_images(episode, camera, run, size, resize)):
            dataset[row] = image
        for row in range(run[1] - run[0], shape[0]):
            dataset[row] = image


def _write_compressed(file: h5py.File, episode: Episode, run: tuple[int, int], more: int, kind: Kind) -> None:
    lengths = []
    for camera in kind.cameras:
        found: list[bytes] = []
        for row, data in jpegs(episode, camera, run):
            if not found or data != found[-1]:
                decoded(data, f"{episode.path}: image {row} of {camera}")
            found.append(data)
        found += found[-1:] * more
        longest = max(map(len, found))
        name = f"observations/images/{CAMERA_NAMES.get(camera, camera)}"
        dataset = file.create_dataset(name, (len(found), longest), np.uint8, chunks=(1, longest))
        for row, data in enumerate(found):
            dataset[row] = np.frombuffer(data.ljust(longest, b"\0"), np.uint8)
        lengths.append([len(data) for data in found])
    file["compress_len"] = np.array(lengths, np.float64)
