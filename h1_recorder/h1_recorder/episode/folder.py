# SPDX-License-Identifier: Apache-2.0
"""The folder of an epoch: which index is free, what is an episode already, what was discarded.

training_session_epoch3/
    episode_0.hdf5           a finished episode
    .episode_1.mcap          journal of an open or unfinished one, or a kept one
    .episode_2.uploaded      stands for an episode that was deleted here after its upload: its index stays taken
    .episode_1.outcome       a label that is being put into episode_1.hdf5
    .discarded/              episodes and journals that were discarded, under their own names
    .recorder.lock           held by the recorder that writes here
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from pathlib import Path

from h1_recorder.recorder.filesystem import rename_new

DISCARDED = ".discarded"
DATASET_MEMORY = ".export"
"""In the folder of a dataset that was exported: what an export remembers of it."""
_EPISODE_NAME = re.compile(r"^\.?episode_(\d+)\.(hdf5|mcap|hdf5\.part|uploaded)$")
_DAY_S = 86_400.0


def episode_path(folder: Path, index: int) -> Path:
    """Where the finished episode is."""
    return folder / f"episode_{index}.hdf5"


def journal_path(folder: Path, index: int) -> Path:
    """Where its journal is."""
    return folder / f".episode_{index}.mcap"


def part_path(path: Path) -> Path:
    """The temporary name of an episode file while it is written: hidden, in the same folder."""
    return path.with_name(f".{path.name}.part")


def outcome_path(journal: Path) -> Path:
    """Where a label is noted while it is being put into the episode of `journal`."""
    return journal.with_suffix(".outcome")


def was_uploaded(journal: Path) -> bool:
    """The episode of `journal` was deleted here after its upload; made again, it would replace that at the target."""
    return journal.with_suffix(".uploaded").exists()


def rescue_path(journal: Path, fallback: Path | None) -> Path:
    """A free name for a journal whose file was deleted: in its own folder, made again if it must be, else in
    `fallback`.

    Raises:
        OSError: neither can be.
    """
    try:
        folder = _writable(journal.parent)
    except OSError:
        if fallback is None:
            raise
        folder = _writable(fallback)
    path = folder / journal.name
    taken = path.exists() or episode_path(folder, index_of(path)).exists()
    return journal_path(folder, free_index(folder)) if taken else path


def _writable(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    return folder


def index_of(path: Path) -> int:
    """k of a journal's or an episode's path.

    Raises:
        ValueError: it is called otherwise.
    """
    match = _EPISODE_NAME.match(path.name)
    if match is None:
        there = "" if path.exists() else " and is not there"
        raise ValueError(f"{path} is not called episode_<number>.hdf5 or .episode_<number>.mcap{there}")
    return int(match[1])


def free_index(folder: Path) -> int:
    """The first index that no episode, journal or discarded episode of `folder` has.

    Raises:
        OSError: the folder cannot be read.
    """
    taken = set()
    for place in (folder, folder / DISCARDED):
        with contextlib.suppress(FileNotFoundError):
            taken |= {int(match[1]) for path in place.iterdir() if (match := _EPISODE_NAME.match(path.name))}
    index = 0
    while index in taken:
        index += 1
    return index


def journals(folder: Path) -> list[Path]:
    """Journals in `folder`, by index."""
    return sorted((path for path in folder.glob(".episode_*.mcap") if _EPISODE_NAME.match(path.name)), key=index_of)


def unsaved_journals(folder: Path) -> list[Path]:
    """Journals in `folder` that are not episodes yet, by index."""
    return [path for path in journals(folder) if not _was_saved(path)]


def _was_saved(journal: Path) -> bool:
    return was_uploaded(journal) or episode_path(journal.parent, index_of(journal)).exists()


def episodes(folder: Path) -> list[Path]:
    """Finished episodes in `folder`, by index."""
    return sorted(folder.glob("episode_*.hdf5"), key=index_of_or_last)


def index_of_or_last(path: Path) -> int:
    """For sorting: files that only look like episodes come last."""
    try:
        return index_of(path)
    except ValueError:
        return 1 << 62


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete half-written files of a recorder that was killed while saving; their journals still have everything."""
    found = [*folder.glob(".episode_*.hdf5.part"), *folder.glob(".episode_*.again.hdf5*"), *folder.glob("..*.part")]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def discard(paths: list[Path]) -> list[Path]:
    """Move episodes and journals to `.discarded/` beside them; returns where they are now.

    Raises:
        OSError: they cannot be moved.
    """
    moved = []
    for path in paths:
        if not path.exists():
            continue
        place = path.parent / DISCARDED
        place.mkdir(exist_ok=True)
        rename_new(path, place / path.name)
        with contextlib.suppress(OSError):
            os.utime(place / path.name)  # a week from now, not from its recording
        moved.append(place / path.name)
    return moved


def restore(path: Path) -> Path:
    """Move one discarded episode or journal back; returns where it is now.

    Raises:
        FileExistsError: its name is taken.
        OSError: it cannot be moved.
    """
    target = path.parent.parent / path.name
    rename_new(path, target)
    return target


def prune_discarded(folder: Path, days: float) -> list[Path]:
    """Delete what was discarded more than `days` ago; returns what was deleted."""
    return _delete_old((folder / DISCARDED).glob("*episode_*"), days)


def prune_kept_journals(folder: Path, *, days: float, most_bytes: float) -> list[Path]:
    """Delete journals of finished episodes that are older than `days`, then the oldest until the rest fit.

    A journal whose episode is neither there nor uploaded is never deleted.
    """
    kept = [path for path in journals(folder) if _was_saved(path)]
    deleted = _delete_old(kept, days)
    left = sorted((path for path in kept if path not in deleted), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in left)
    for path in left:
        if total <= most_bytes:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
        deleted.append(path)
    return deleted


def _delete_old(paths: object, days: float) -> list[Path]:
    deleted = []
    for path in list(paths):  # type: ignore[call-overload]
        if time.time() - path.stat().st_mtime > days * _DAY_S:
            path.unlink(missing_ok=True)
            deleted.append(path)
    return deleted
