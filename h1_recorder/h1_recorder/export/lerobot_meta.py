"""The metadata of a LeRobotDataset v3.0: where its files are, and what the episodes make together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.export.lerobot_rows import features, histogram_statistics

CODEBASE_VERSION = "v3.0"
CHUNK_SIZE = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

WriteTable = Callable[..., None]


def write_meta(folder: Path, notes: list[dict[str, Any]], tasks: dict[str, int], write_table: WriteTable) -> None:
    """Write everything below `meta/`; `info.json` comes last.

    Args:
        folder: of the dataset.
        notes: what each episode's part of it is made of, in their order, each with its `task`; at least one.
        tasks: their indices.
        write_table: writes columns as a table, see `parquet.write_table`.

    Raises:
        OSError: of the file system.
    """
    (folder / "meta/episodes/chunk-000").mkdir(parents=True, exist_ok=True)
    task_columns = {"task_index": np.array(list(tasks.values()), np.int64), "task": list(tasks)}
    write_table(folder / "meta/tasks.parquet", task_columns, index="task")
    write_table(folder / "meta/episodes/chunk-000/file-000.parquet", _episode_columns(notes))
    write_json(folder / "meta/stats.json", _joined_statistics(notes))
    first, frames = notes[0], notes[-1]["to_index"]
    info = {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": "unitree_h1_2",
        "total_episodes": len(notes),
        "total_frames": frames,
        "total_tasks": len(tasks),
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": first["fps"],
        "splits": {"train": f"0:{len(notes)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features(first["width"], first["fps"], first["pictures"]),
    }
    write_json(folder / "meta/info.json", info)


def _episode_columns(notes: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """`meta/episodes`: a row an episode."""
    rows = []
    for number, note in enumerate(notes):
        chunk, file = divmod(number, CHUNK_SIZE)
        row: dict[str, Any] = {"episode_index": number, "tasks": [note["task"]], "length": note["length"]}
        row |= {"data/chunk_index": chunk, "data/file_index": file}
        row |= {"dataset_from_index": note["from_index"], "dataset_to_index": note["to_index"]}
        for camera in note["pictures"]:
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
            row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": note["length"] / note["fps"]}
        for name, values in note["stats"].items():
            row |= {f"stats/{name}/{kind}": value for kind, value in values.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


def _joined_statistics(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all episodes; quantiles of numbers are the means of the episodes' by rows, as in LeRobot, all else exact."""
    found: dict[str, Any] = {}
    for name, values in notes[0]["stats"].items():
        if name in notes[0]["counts"]:
            counts = np.sum([note["counts"][name]["values"] for note in notes], axis=0)
            pictures = sum(note["counts"][name]["pictures"] for note in notes)
            found[name] = {**histogram_statistics(counts), "count": [pictures]}
            continue
        each = {kind: np.array([note["stats"][name][kind] for note in notes]) for kind in values}
        weight = each["count"] / each["count"].sum()
        mean = (weight * each["mean"]).sum(0)
        spread = np.sqrt((weight * (each["std"] ** 2 + (each["mean"] - mean) ** 2)).sum(0))
        joined = {kind: (weight * each[kind]).sum(0) for kind in values if kind.startswith("q")}
        joined |= {"min": each["min"].min(0), "max": each["max"].max(0), "mean": mean, "std": spread}
        found[name] = {**{kind: value.tolist() for kind, value in joined.items()}, "count": [int(each["count"].sum())]}
    return found


def write_json(path: Path, content: Any, indent: int | None = 4) -> None:
    """Write `content`; the file appears complete or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=indent))
    part.replace(path)
