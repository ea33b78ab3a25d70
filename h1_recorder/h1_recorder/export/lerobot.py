# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v3.0 (huggingface/lerobot: src/lerobot/datasets, CODEBASE_VERSION "v3.0"; lerobot 0.4 and later).

Each episode file is one table and one video a camera, each run of it an episode of the dataset: `from_timestamp` says
where in the video it begins, so that no choice of rows needs another video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.export.folder import Progress, write_json
from h1_recorder.export.lerobot_parts import CHUNK_SIZE, Part, image_key, make_parts, write_info, write_note
from h1_recorder.export.parquet import read_columns, write_rows, write_table
from h1_recorder.export.plan import Plan
from h1_recorder.export.rows import features
from h1_recorder.export.statistics import image_statistics, joined_statistics
from h1_recorder.export.video_store import place

CODEBASE_VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
_PARTS_AT_ONCE = 50


def write(plan: Plan, folder: Path, *, reuse: Sequence[Path], jobs: int, progress: Progress) -> Mapping[str, int]:
    """Make, continue or extend the dataset in `folder`; see `make_parts`."""
    patterns = ("data/chunk-*/*.parquet", "videos/*/chunk-*/*.mp4")
    parts, made = make_parts(plan, folder, _write_part, patterns, reuse=reuse, jobs=jobs, progress=progress)
    _write_meta(plan, folder, parts, progress)
    return made


def _files(part: Part) -> list[str]:
    """Table and videos of a part, below the dataset's folder."""
    chunk, file = divmod(part.source.place.source, CHUNK_SIZE)
    names = {"chunk_index": chunk, "file_index": file}
    videos = [VIDEO_PATH.format(video_key=image_key(camera), **names) for camera in part.kind.cameras]
    return [DATA_PATH.format(**names), *videos]


def _write_part(part: Part) -> None:
    part.note_path.unlink(missing_ok=True)
    rows, videos, runs = part.columns(), part.videos(), part.source.place.runs
    table, *copies = (part.folder / name for name in _files(part))
    table.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, rows, row_groups=[last - first for first, last in runs])
    for camera, copy in zip(part.kind.cameras, copies, strict=True):
        place(videos[camera].path, copy)
    write_note(part, _files(part), rows, videos)


def _write_meta(plan: Plan, folder: Path, parts: Sequence[Part], progress: Progress) -> None:
    """Everything below `meta/`; `info.json` comes last."""
    (folder / EPISODES_PATH).parent.mkdir(parents=True, exist_ok=True)
    tasks = plan.tasks
    write_table(
        folder / "meta/tasks.parquet",
        {"task_index": np.arange(len(tasks), dtype=np.int64), "task": tasks},
        index="task",
    )
    write_rows(folder / EPISODES_PATH, _episode_blocks(parts))
    progress("statistics", 0, 1)
    write_json(folder / "meta/stats.json", _dataset_statistics(plan, folder, parts))
    progress("statistics", 1, 1)
    sizes = {"data_files_size_in_mb": 100, "video_files_size_in_mb": 200}
    write_info(plan, folder, CODEBASE_VERSION, DATA_PATH, VIDEO_PATH, **sizes)


def _episode_blocks(parts: Sequence[Part]) -> Iterator[list[dict[str, Any]]]:
    """`meta/episodes`: a row an episode, some parts at a time."""
    for start in range(0, len(parts), _PARTS_AT_ONCE):
        yield [row for part in parts[start : start + _PARTS_AT_ONCE] for row in _episode_rows(part)]


def _episode_rows(part: Part) -> Iterator[dict[str, Any]]:
    note, place, attributes = part.noted(), part.source.place, part.source.survey.attributes
    chunk, file = divmod(place.source, CHUNK_SIZE)
    row = place.first_index
    for number, ((first, last), stats) in enumerate(zip(place.runs, note["stats"], strict=True)):
        found: dict[str, Any] = {
            "episode_index": place.episode_index + number,
            "tasks": [part.source.task],
            "length": last - first,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": row,
            "dataset_to_index": row + last - first,
        }
        for camera in part.kind.cameras:
            key = f"videos/{image_key(camera)}"
            found |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
            found |= {f"{key}/from_timestamp": first / part.kind.fps, f"{key}/to_timestamp": last / part.kind.fps}
        for name, values in stats.items():
            found |= {f"stats/{name}/{kind}": value for kind, value in values.items()}
        found |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        found |= {f"source/{name}": str(attributes[name]) for name in ("episode_uuid", "config_sha256", "outcome")}
        found |= {"source/file": part.source.name}
        yield found | {"source/first_row": first, "source/last_row": last - 1}
        row += last - first


def _dataset_statistics(plan: Plan, folder: Path, parts: Sequence[Part]) -> dict[str, Any]:
    """Over all rows, exact but for the images, which are sampled."""
    tables = [folder / _files(part)[0] for part in parts]
    widths = {name: feature["shape"][0] for name, feature in features(plan.kind).items()}
    found: dict[str, Any] = joined_statistics(widths, plan.rows, lambda names: read_columns(tables, names))
    for camera in plan.kind.cameras:
        total, images = np.zeros((3, 256), np.int64), 0
        for part in parts:
            counted, number = part.noted()["images"][camera]
            total, images = total + np.array(counted), images + number
        found[image_key(camera)] = image_statistics(total, images)
    return found
