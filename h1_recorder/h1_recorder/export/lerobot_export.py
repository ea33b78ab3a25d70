"""Makes a LeRobotDataset v3.0 of episodes (huggingface/lerobot: src/lerobot/datasets, CODEBASE_VERSION "v3.0").

Each episode is one Parquet file and one video a camera. When they are complete, a note in `.export/` says what they
were made of; an export that was broken off, or that finds new episodes, does only what no note holds for. What only an
earlier, longer export needed is deleted: loaders take all files that match, whatever the metadata says.
`meta/info.json` is written last and removed first, so that a half-made dataset is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode, read, summary
from h1_recorder.export.lerobot_meta import CHUNK_SIZE, DATA_PATH, VIDEO_PATH, WriteTable, write_json, write_meta
from h1_recorder.export.lerobot_rows import ExportError, PictureStatistics, Place, columns, has_hands, statistics
from h1_recorder.export.video_file import VideoFile, even

NOTES = ".export"
_SAMPLE_EVERY = 10
_NO_TASK = "unnamed task"

Array = npt.NDArray[Any]
Progress = Callable[[Path, float], None]


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        folder: of the dataset.
        episodes, frames: in it.
        kept: episodes that an earlier export had made.
        masked: rows whose action is no action.
        dummy_frames: grey pictures that stand in for a camera's.
    """

    folder: Path
    episodes: int
    frames: int
    kept: int
    masked: int
    dummy_frames: int


def export(
    paths: Sequence[Path],
    folder: Path,
    *,
    lookahead: int = 1,
    write_table: WriteTable,
    progress: Progress = lambda path, share: None,
) -> Exported:
    """Make, continue or extend the dataset in `folder`.

    Args:
        paths: of the episodes, in their order.
        folder: of the dataset; made if it is not there.
        lookahead: see `lerobot_rows.columns`.
        write_table: writes columns as a table, see `parquet.write_table`.
        progress: is told the episode and the share of it that is done.

    Raises:
        ExportError: nothing to export, episodes that do not fit together, or a folder that holds something else.
        OSError: of the file system.
    """
    if not paths:
        raise ExportError("no episodes found")
    if folder.exists() and any(folder.iterdir()) and not (folder / NOTES).is_dir():
        raise ExportError(f"{folder} is not empty and no export of ours; choose another folder")
    (folder / NOTES).mkdir(parents=True, exist_ok=True)
    (folder / "meta/info.json").unlink(missing_ok=True)
    tasks: dict[str, int] = {}
    notes: list[dict[str, Any]] = []
    kept = 0
    for number, path in enumerate(paths):
        task = summary(path).task or _NO_TASK
        first = notes[-1]["to_index"] if notes else 0
        place = Place(number, first, tasks.setdefault(task, len(tasks)))
        note = _valid_note(folder, path, place, lookahead)
        kept += note is not None
        if note is None:
            note = _export_episode(folder, path, place, lookahead, write_table, progress)
        _check_same_kind(notes[0] if notes else note, note)
        notes.append({**note, "task": task})
        progress(path, 1.0)
    _delete_outdated(folder, notes)
    write_meta(folder, notes, tasks, write_table)
    masked, dummies = (sum(note[name] for note in notes) for name in ("masked", "dummy_frames"))
    return Exported(folder, len(notes), notes[-1]["to_index"], kept, masked, dummies)


def _note_path(folder: Path, number: int) -> Path:
    return folder / NOTES / f"episode_{number:06d}.json"


def _source(path: Path, place: Place, lookahead: int) -> dict[str, Any]:
    """What an episode's part of the dataset depends on."""
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
        "place": [place.episode_index, place.first_index, place.task_index],
        "lookahead": lookahead,
    }


def _valid_note(folder: Path, path: Path, place: Place, lookahead: int) -> dict[str, Any] | None:
    """The note of this very episode at this very place, if its files are there."""
    try:
        note: dict[str, Any] = json.loads(_note_path(folder, place.episode_index).read_text())
        files = [folder / name for name in note["files"]]
    except (OSError, ValueError, KeyError):
        return None
    same = note.get("source") == _source(path, place, lookahead)
    return note if same and all(file.exists() for file in files) else None


def _delete_outdated(folder: Path, notes: list[dict[str, Any]]) -> None:
    """Delete every data and video file that none of `notes` names, and every note beyond them."""
    needed = {folder / name for note in notes for name in note["files"]}
    needed |= {_note_path(folder, number) for number in range(len(notes))}
    for pattern in (f"{NOTES}/episode_*.json", "data/chunk-*/file-*.parquet", "videos/*/chunk-*/file-*.mp4"):
        for path in set(folder.glob(pattern)) - needed:
            path.unlink()


def _check_same_kind(first: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ("fps", "width", "pictures"):
        if first[name] != other[name]:
            raise ExportError(
                f"{name} of {other['source']['path']} is {other[name]}, of {first['source']['path']} {first[name]};"
                " a dataset has one: export them apart"
            )


def _export_episode(
    folder: Path, path: Path, place: Place, lookahead: int, write_table: WriteTable, progress: Progress
) -> dict[str, Any]:
    episode = read(path)
    source = _source(path, place, lookahead)
    rows = columns(episode, place, lookahead=lookahead)
    chunk, file = divmod(place.episode_index, CHUNK_SIZE)
    data = DATA_PATH.format(chunk_index=chunk, file_index=file)
    files, pictures, counts, stats = [data], {}, {}, {name: statistics(column) for name, column in rows.items()}
    for number, camera in enumerate(episode.cameras):
        key = f"observation.images.{camera}"
        name = VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        told = partial(_tell, progress, path, number, len(episode.cameras))
        seen, size = _export_video(folder / name, episode, camera, told)
        files.append(name)
        pictures[camera], stats[key] = list(size), seen.result()
        counts[key] = {"values": seen.counts, "pictures": stats[key]["count"][0]}
    (folder / data).parent.mkdir(parents=True, exist_ok=True)
    write_table(folder / data, rows)
    note = {
        "source": source,
        "files": files,
        "length": len(episode),
        "from_index": place.first_index,
        "to_index": place.first_index + len(episode),
        "fps": int(episode.attributes["fps"]),
        "width": 26 if has_hands(episode) else 14,
        "pictures": pictures,
        "masked": int((~rows["action_valid"]).sum()),
        "dummy_frames": sum(int((episode.stamps[camera] < 0).sum()) for camera in episode.cameras),
        "stats": stats,
        "counts": counts,
    }
    write_json(_note_path(folder, place.episode_index), note, indent=None)
    return note


def _tell(progress: Progress, path: Path, part: int, parts: int, share: float) -> None:
    progress(path, (part + share) / parts)


def _export_video(
    path: Path, episode: Episode, camera: str, progress: Callable[[float], None]
) -> tuple[PictureStatistics, tuple[int, int]]:
    """One camera's pictures as a video; their statistics, height and width."""
    seen, size = PictureStatistics(), (0, 0)
    last, picture = b"", np.empty(0, np.uint8)
    with VideoFile(path, fps=int(episode.attributes["fps"])) as video:
        for start in range(0, len(episode), 50):
            for row, data in enumerate(episode.jpegs(camera, slice(start, start + 50)), start):
                if data != last:
                    last, picture = data, _decoded(data, f"{episode.path}: image {row} of {camera}")
                if row and picture.shape[:2] != size:
                    raise ExportError(_change_of_size(episode, row, camera, picture.shape, size))
                video.add(picture)
                if row % _SAMPLE_EVERY == 0:
                    seen.add(picture)
                size = (picture.shape[0], picture.shape[1])
            progress(start / len(episode))
    return seen, size


def _change_of_size(episode: Episode, row: int, camera: str, now: tuple[int, ...], before: tuple[int, ...]) -> str:
    sizes = f"{now[1]}x{now[0]}, those before it {before[1]}x{before[0]}"
    grey = " (grey dummies)" if episode.stamps[camera][row - 1] < 0 else ""
    return (
        f"{episode.path}: image {row} of {camera} is {sizes}{grey}; a video has one size: export without this episode"
    )


def _decoded(data: bytes, what: str) -> Array:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ExportError(f"{what} does not decode; 'episodes validate' says what else is wrong")
    return even(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
