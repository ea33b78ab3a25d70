# SPDX-License-Identifier: Apache-2.0
"""What LeRobot's formats have in common: a part of the dataset for each episode file, made again only if it changed.

A part is written by a process of its own: its table, its videos (from the store) and a note of what it was made of.
Metadata is written from the notes when all parts are there; `meta/info.json` last, and it is removed first, so that a
half-made dataset is none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.episode.episode import read
from h1_recorder.export.folder import MEMORY, write_json
from h1_recorder.export.plan import Columns, Options, Plan, Source, source_columns
from h1_recorder.export.rows import Kind, features
from h1_recorder.export.statistics import image_statistics, statistics
from h1_recorder.export.video_store import StoredVideo, VideoStore

FORMAT = 1
"""Raised when parts are made otherwise; older ones are then made again."""
ROBOT_TYPE = "unitree_h1_2"
CHUNK_SIZE = 1000


@dataclass(frozen=True)
class Part:
    """One episode file's part of a dataset, ready to be made by any process.

    Attributes:
        folder: of the dataset.
        source: what is taken.
        kind, options, weights: of the dataset.
        stores: folders of other datasets' videos.
    """

    folder: Path
    source: Source
    kind: Kind
    options: Options
    weights: Sequence[float]
    stores: tuple[Path, ...]

    @property
    def note_path(self) -> Path:
        """Where what it was made of is noted."""
        return self.folder / MEMORY / f"parts/{self.source.place.source:06d}.json"

    def store(self) -> VideoStore:
        """The dataset's videos."""
        return VideoStore(self.folder / MEMORY / "videos", self.options.video, self.stores)

    def digest(self) -> str:
        """Of all that the part depends on."""
        status = self.source.path.stat()
        parts = (
            FORMAT,
            [str(self.source.path.resolve()), status.st_size, status.st_mtime_ns],
            dataclasses.asdict(self.source.place),
            [self.kind.fps, dict(self.kind.cameras), self.kind.hands],
            dataclasses.asdict(self.options.labelling),
            self.source.model.to_json(),
            list(self.weights),
            dataclasses.asdict(self.options.video),
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def note(self) -> dict[str, Any] | None:
        """What was noted of it, if it is there and still holds."""
        try:
            found: dict[str, Any] = json.loads(self.note_path.read_text())
            files = [self.folder / name for name in found["files"]]
        except (OSError, ValueError, KeyError):
            return None
        return found if found.get("digest") == self.digest() and all(file.exists() for file in files) else None

    def columns(self) -> Columns:
        """Its rows."""
        return source_columns(self.source, self.kind, self.options, self.weights, read(self.source.path))

    def videos(self) -> dict[str, StoredVideo]:
        """Of each camera."""
        contents = self.source.survey.contents
        store = self.store()
        return {camera: store.load(contents[camera], camera) for camera in self.kind.cameras}


def parts_of(plan: Plan, folder: Path, reuse: Sequence[Path]) -> list[Part]:
    """All parts of a dataset; videos may come from the datasets `reuse`."""
    stores = tuple(dataset / MEMORY / "videos" for dataset in reuse)
    return [Part(folder, source, plan.kind, plan.options, plan.weights, stores) for source in plan.sources]


def views(parts: Sequence[Part]) -> list[tuple[Part, str]]:
    """Every camera of every part: what can be encoded side by side."""
    return [(part, camera) for part in parts for camera in part.kind.cameras]


def encode(view: tuple[Part, str]) -> int:
    """Make the video of a camera if it is nowhere yet; returns how many were made."""
    part, camera = view
    return len(part.store().make(part.source.path, {camera: part.source.survey.contents[camera]}))


def run_statistics(rows: Columns, runs: Sequence[tuple[int, int]], videos: Mapping[str, StoredVideo]) -> Iterator[Any]:
    """Statistics of each run: of its columns, and of its images, sampled over the bands it lies in."""
    start = 0
    for first, last in runs:
        stop = start + last - first
        found: dict[str, Any] = {name: statistics(values[start:stop]) for name, values in rows.items()}
        for camera, video in videos.items():
            found[image_key(camera)] = image_statistics(*video.counts(first, last))
        yield found
        start = stop


def write_note(part: Part, files: Sequence[str], stats: Sequence[Any]) -> None:
    """Note that a part is complete."""
    counts = {}
    for camera, video in part.videos().items():
        total, images = np.zeros((3, 256), np.int64), 0
        for first, last in part.source.place.runs:
            counted, number = video.counts(first, last)
            total, images = total + counted, images + number
        counts[camera] = [total.tolist(), images]
    write_json(
        part.note_path, {"digest": part.digest(), "files": list(files), "stats": list(stats), "images": counts}, None
    )


def delete_outdated(folder: Path, parts: Sequence[Part], needed: set[Path], patterns: Sequence[str]) -> None:
    """Delete files of the dataset that no part needs: loaders take all that match, whatever the metadata says."""
    needed = needed | {part.note_path for part in parts}
    for pattern in (f"{MEMORY}/parts/*.json", *patterns):
        for path in set(folder.glob(pattern)) - needed:
            path.unlink()
    store = parts[0].store()
    store.keep_only(
        {store.path(part.source.survey.contents[camera], camera) for part in parts for camera in part.kind.cameras}
    )


def dataset_features(kind: Kind, options: Options) -> dict[str, Any]:
    """The `features` of `meta/info.json`; what is said of a video is what lerobot 0.6.1 says."""
    video = options.video
    found: dict[str, Any] = {}
    for camera, (height, width) in kind.cameras.items():
        found[image_key(camera)] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": video.codec,
                "video.pix_fmt": "yuv420p",
                "video.fps": kind.fps,
                "video.channels": 3,
                "has_audio": False,
                "video.g": video.gop,
                "video.crf": video.quality,
                "video.preset": int(video.preset) if video.preset.isdecimal() else video.preset,
                "video.fast_decode": 0,
                "video.video_backend": "pyav",
                "video.extra_options": {},
                "video.is_depth_map": False,
                "is_depth_map": False,
            },
        }
    every = features(kind)
    first = {name: every.pop(name) for name in ("observation.state", "action")}
    return {**first, **found, **every}


def image_key(camera: str) -> str:
    """LeRobot's name of a camera's images."""
    return f"observation.images.{camera}"
