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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h1_recorder.episode.episode import read
from h1_recorder.export.folder import MEMORY, Progress, each, write_json
from h1_recorder.export.plan import Columns, Options, Plan, Source, described
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
        stores: folders of other datasets' videos.
    """

    folder: Path
    source: Source
    stores: tuple[Path, ...]

    @property
    def kind(self) -> Kind:
        """Of the dataset."""
        return self.source.kind

    @property
    def note_path(self) -> Path:
        """Where what it was made of is noted."""
        return self.folder / MEMORY / f"parts/{self.source.place.source:06d}.json"

    def store(self) -> VideoStore:
        """The dataset's videos."""
        return VideoStore(self.folder / MEMORY / "videos", self.source.options.video, self.stores)

    def digest(self) -> str:
        """Of all that the part depends on."""
        status = self.source.path.stat()
        parts = (
            FORMAT,
            [str(self.source.path.resolve()), status.st_size, status.st_mtime_ns],
            dataclasses.asdict(self.source.place),
            [self.kind.fps, dict(self.kind.cameras), self.kind.hands],
            dataclasses.asdict(self.source.options.labelling),
            self.source.model.to_json(),
            list(self.source.weights),
            dataclasses.asdict(self.source.options.video),
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

    def noted(self) -> dict[str, Any]:
        """As `note`, of a part that is complete."""
        note = self.note()
        assert note is not None, "it was written a moment ago"
        return note

    def columns(self) -> Columns:
        """Its rows."""
        return self.source.columns(read(self.source.path))

    def videos(self) -> dict[str, StoredVideo]:
        """Of each camera."""
        contents = self.source.survey.contents
        store = self.store()
        return {camera: store.load(contents[camera], camera) for camera in self.kind.cameras}


def make_parts(
    plan: Plan,
    folder: Path,
    write_part: Callable[[Part], None],
    patterns: Sequence[str],
    *,
    reuse: Sequence[Path],
    jobs: int,
    progress: Progress,
) -> tuple[list[Part], Mapping[str, int]]:
    """Make what is missing or outdated of a dataset's parts.

    Args:
        plan: of the dataset.
        folder: of it.
        write_part: writes table and videos of a part, and its note.
        patterns: of tables and videos, of which none may be left that no part needs.
        reuse: other datasets, whose videos are taken instead of being made.
        jobs: processes.
        progress: is called with what is done.

    Returns:
        The parts, and numbers for whoever asked: `encoded` videos, `rewritten` tables.

    Raises:
        ExportError: an image cannot be had, or a label.
        OSError: of the file system.
    """
    (folder / "meta/info.json").unlink(missing_ok=True)
    stores = tuple(dataset / MEMORY / "videos" for dataset in reuse)
    parts = [Part(folder, source, stores) for source in plan.sources]
    views = [(part, camera) for part in parts for camera in part.kind.cameras]  # what can be encoded side by side
    encoded = sum(each(_encode, views, jobs, "videos", progress))
    outdated = [part for part in parts if part.note() is None]
    for _ in each(write_part, outdated, jobs, "tables", progress):
        pass
    _delete_outdated(folder, parts, patterns)
    return parts, {"encoded": encoded, "rewritten": len(outdated)}


def _encode(view: tuple[Part, str]) -> int:
    """Make the video of a camera if it is nowhere yet; returns how many were made."""
    part, camera = view
    return len(part.store().make(part.source.path, {camera: part.source.survey.contents[camera]}))


def write_note(part: Part, files: Sequence[str], rows: Columns, videos: Mapping[str, StoredVideo]) -> None:
    """Note that a part is complete, with the statistics of each run: of its columns, and of its images.

    Images are sampled over the bands that a run lies in.
    """
    stats = []
    totals = {camera: (np.zeros((3, 256), np.int64), 0) for camera in videos}
    for _, (first, last), run in part.source.by_run(rows):
        found: dict[str, Any] = {name: statistics(values) for name, values in run.items()}
        for camera, video in videos.items():
            counts, images = video.counts(first, last)
            found[image_key(camera)] = image_statistics(counts, images)
            totals[camera] = (totals[camera][0] + counts, totals[camera][1] + images)
        stats.append(found)
    images_counted = {camera: [counts.tolist(), images] for camera, (counts, images) in totals.items()}
    note = {"digest": part.digest(), "files": list(files), "stats": stats, "images": images_counted}
    write_json(part.note_path, note, None)


def _delete_outdated(folder: Path, parts: Sequence[Part], patterns: Sequence[str]) -> None:
    """Delete files of the dataset that no part needs: loaders take all that match, whatever the metadata says."""
    needed = {part.note_path for part in parts}
    needed |= {folder / name for part in parts for name in part.noted()["files"]}
    for pattern in (f"{MEMORY}/parts/*.json", *patterns):
        for path in set(folder.glob(pattern)) - needed:
            path.unlink()
    store = parts[0].store()
    store.keep_only(
        {store.path(part.source.survey.contents[camera], camera) for part in parts for camera in part.kind.cameras}
    )


def write_info(plan: Plan, folder: Path, version: str, data_path: str, video_path: str, **more: Any) -> None:
    """Where the dataset comes from, and, last of all files, `meta/info.json`.

    Args:
        plan: of the dataset.
        folder: of it.
        version: of LeRobot's format.
        data_path, video_path: patterns of its files.
        more: what this version has besides.
    """
    first, every = plan.training_episodes, plan.episodes
    info = {
        "codebase_version": version,
        "robot_type": ROBOT_TYPE,
        "total_episodes": every,
        "total_frames": plan.rows,
        "total_tasks": len(plan.tasks),
        "chunks_size": CHUNK_SIZE,
        **more,
        "fps": plan.kind.fps,
        "splits": {"train": f"0:{first}", **({"val": f"{first}:{every}"} if first < every else {})},
        "data_path": data_path,
        "video_path": video_path,
        "features": _features(plan.kind, plan.options),
    }
    write_json(folder / "meta/h1_2_export.json", described(plan))
    write_json(folder / "meta/info.json", info)


def _features(kind: Kind, options: Options) -> dict[str, Any]:
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
