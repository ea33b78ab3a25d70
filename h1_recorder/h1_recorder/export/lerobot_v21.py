# SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v2.1 (lerobot 0.1 to 0.3.3, and the commit 0cf8648 that openpi pins): a table and a video an episode.

An episode is a run of an episode file; its videos are cut out of the file's, which has key frames where runs begin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from h1_recorder.export.folder import Progress, write_text
from h1_recorder.export.lerobot_parts import CHUNK_SIZE, Part, image_key, make_parts, write_info, write_note
from h1_recorder.export.parquet import write_table
from h1_recorder.export.plan import Plan
from h1_recorder.export.video_file import cut

CODEBASE_VERSION = "v2.1"
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_STATISTICS = ("min", "max", "mean", "std", "count")


def write(plan: Plan, folder: Path, *, reuse: Sequence[Path], jobs: int, progress: Progress) -> Mapping[str, int]:
    """Make, continue or extend the dataset in `folder`; see `make_parts`."""
    patterns = ("data/chunk-*/*.parquet", "videos/chunk-*/*/*.mp4")
    parts, made = make_parts(plan, folder, _write_part, patterns, reuse=reuse, jobs=jobs, progress=progress)
    _write_meta(plan, folder, parts)
    return made


def _files(part: Part, run: int) -> list[str]:
    """Table and videos of a run, below the dataset's folder."""
    index = part.source.place.episode_index + run
    names = {"episode_chunk": index // CHUNK_SIZE, "episode_index": index}
    videos = [VIDEO_PATH.format(video_key=image_key(camera), **names) for camera in part.kind.cameras]
    return [DATA_PATH.format(**names), *videos]


def _write_part(part: Part) -> None:
    part.note_path.unlink(missing_ok=True)
    rows, videos = part.columns(), part.videos()
    written: list[str] = []
    for number, (first, last), run in part.source.by_run(rows):
        names = _files(part, number)
        table, *copies = (part.folder / name for name in names)
        for path in (table, *copies):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, run)
        for camera, copy in zip(part.kind.cameras, copies, strict=True):
            cut(videos[camera].path, first, last, copy, fps=part.kind.fps)
        written += names
    write_note(part, written, rows, videos)


def _write_meta(plan: Plan, folder: Path, parts: Sequence[Part]) -> None:
    """Everything below `meta/`; `info.json` comes last."""
    tasks = ({"task_index": index, "task": task} for index, task in enumerate(plan.tasks))
    _write_lines(folder / "meta/tasks.jsonl", tasks)
    _write_lines(folder / "meta/episodes.jsonl", (line for part in parts for line in _episodes(part)))
    _write_lines(folder / "meta/episodes_stats.jsonl", (line for part in parts for line in _episodes_stats(part)))
    videos, chunks = plan.episodes * len(plan.kind.cameras), (plan.episodes - 1) // CHUNK_SIZE + 1
    write_info(plan, folder, CODEBASE_VERSION, DATA_PATH, VIDEO_PATH, total_videos=videos, total_chunks=chunks)


def _episodes(part: Part) -> Iterator[dict[str, Any]]:
    place, attributes = part.source.place, part.source.survey.attributes
    kept = {name: str(attributes[name]) for name in ("episode_uuid", "config_sha256", "outcome")}
    for number, (first, last) in enumerate(place.runs):
        index = place.episode_index + number
        found = {"episode_index": index, "tasks": [part.source.task], "length": last - first, **kept}
        yield {**found, "source_rows": [first, last - 1]}


def _episodes_stats(part: Part) -> Iterator[dict[str, Any]]:
    for number, stats in enumerate(part.noted()["stats"]):
        index = part.source.place.episode_index + number
        yield {
            "episode_index": index,
            "stats": {name: {kind: values[kind] for kind in _STATISTICS} for name, values in stats.items()},
        }


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
