# SPDX-License-Identifier: Apache-2.0
"""robomimic (ARISE-Initiative/robomimic: docs/datasets/overview.md): one HDF5 file, `data/demo_N`, `mask/train`.

Images are stored decoded, as robomimic reads them; `resize` keeps that affordable. `next_obs` is a view of `obs`, one
row later, and takes no space. The file is written again with each export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode, read
from h1_recorder.export.folder import Progress
from h1_recorder.export.images import decoded_images
from h1_recorder.export.plan import Columns, Plan, Source, described

FILE = "dataset.hdf5"
_OBSERVATIONS = ("qvel", "effort", "applied_action", "hand_qpos")
_FURTHER = (
    *("valid_action", "intervention", "pre_intervention", "sample_weight", "segment", "source_row", "epoch"),
    *("outcome", "stamps.tick", "next.success"),
)


def write(
    plan: Plan,
    folder: Path,
    *,
    reuse: Sequence[Path],
    jobs: int,
    progress: Progress,
    resize: tuple[int, int] | None = None,
) -> Mapping[str, int]:
    """Write `folder`/dataset.hdf5.

    Args:
        plan: of the dataset.
        folder: of the file.
        reuse: has no meaning here, there are no videos.
        jobs: likewise: HDF5 has one writer.
        progress: is called with what is done.
        resize: width and height of the images; None: as recorded.

    Raises:
        ExportError: an image cannot be had, or a label.
        OSError: of the file system.
    """
    part = folder / f".{FILE}.part"
    names: dict[bool, list[str]] = {False: [], True: []}
    with h5py.File(part, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = plan.rows
        data.attrs["env_args"] = json.dumps({"env_name": "unitree_h1_2", "type": 2, "env_kwargs": {}})
        data.attrs["h1_2_export"] = json.dumps(described(plan))
        for done, source in enumerate(plan.sources):
            progress("episodes", done, len(plan.sources))
            episode = read(source.path)
            for number, run, rows in source.by_run(source.columns(episode)):
                name = f"demo_{source.place.episode_index + number}"
                _write_demo(data.create_group(name), rows, episode, run, source, resize)
                names[source.is_validation].append(name)
        progress("episodes", len(plan.sources), len(plan.sources))
        for mask, found in (("train", names[False]), ("valid", names[True])):
            file.create_dataset(f"mask/{mask}", data=np.array(found, dtype="S"))
    part.replace(folder / FILE)
    return {"demonstrations": plan.episodes}


def _write_demo(
    group: h5py.Group,
    rows: Columns,
    episode: Episode,
    run: tuple[int, int],
    source: Source,
    resize: tuple[int, int] | None,
) -> None:
    group.attrs["num_samples"] = run[1] - run[0]
    group.attrs["task"] = source.task
    group.attrs["source"] = f"{source.name} rows {run[0]}..{run[1] - 1}"
    group.create_dataset("actions", data=rows["action"])
    group.create_dataset("rewards", data=rows["next.reward"])
    group.create_dataset("dones", data=rows["next.done"].astype(np.int64))
    group.create_dataset("states", data=np.hstack([rows["observation.state"], rows["qvel"]]))
    for name in _FURTHER:
        group.create_dataset(name.replace(".", "_"), data=rows[name])
    observations = group.create_group("obs")
    observations.create_dataset("qpos", data=rows["observation.state"])
    for name in _OBSERVATIONS:
        if name in rows:
            observations.create_dataset(name, data=rows[name])
    for camera, size in source.kind.cameras.items():
        height, width = (resize[1], resize[0]) if resize else size
        _write_images(observations, camera, decoded_images(episode, camera, run, size, resize), (height, width))
    _write_next(group, observations)


def _write_images(
    group: h5py.Group, camera: str, images: Iterator[npt.NDArray[np.uint8]], size: tuple[int, int]
) -> None:
    shape = (group["qpos"].shape[0], *size, 3)
    dataset = group.create_dataset(
        camera, shape, np.uint8, chunks=(1, *size, 3), compression="gzip", compression_opts=1
    )
    for row, image in enumerate(images):
        dataset[row] = image


def _write_next(group: h5py.Group, observations: h5py.Group) -> None:
    """`next_obs`: the row after, the last one twice; virtual datasets of the same file."""
    following = group.create_group("next_obs")
    for name, dataset in observations.items():
        rows = dataset.shape[0]
        layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
        source: Any = h5py.VirtualSource(".", dataset.name, dataset.shape)
        if rows > 1:
            layout[: rows - 1] = source[1:]
        layout[rows - 1 : rows] = source[rows - 1 : rows]
        following.create_virtual_dataset(name, layout)
