# SPDX-License-Identifier: Apache-2.0
"""The folder that an export makes, continues and extends, and the processes that do it episode by episode."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from h1_recorder.episode.folder import DATASET_MEMORY
from h1_recorder.export.rows import ExportError

MEMORY = DATASET_MEMORY
"""What an export remembers beside a dataset: surveys, videos, what each part was made of. A copy does not need it."""

Progress = Callable[[str, int, int], None]
"""Is called with what is done at present, how many of it are done, and how many there are."""

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Work(Protocol[Item, Result]):
    """A function that can be handed to another process."""

    def __call__(self, item: Item, /) -> Result: ...


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """`folder`, made if it is not there, for one export at a time.

    Raises:
        ExportError: it holds something else, or another export is at work in it.
        OSError: of the file system.
    """
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file; choose a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / MEMORY).is_dir():
        raise ExportError(f"{folder} is not empty and no export of ours; choose another folder")
    (folder / MEMORY).mkdir(parents=True, exist_ok=True)
    with (folder / MEMORY / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"another export is at work in {folder}; wait for it, or choose another folder") from None
        yield folder


def each(work: Work[Item, Result], items: Sequence[Item], jobs: int, what: str, progress: Progress) -> Iterator[Result]:
    """The results of `work` for all items, in their order, by up to `jobs` processes; few are in flight at a time."""
    progress(what, 0, len(items))
    if jobs <= 1 or len(items) <= 1:
        for number, item in enumerate(items, 1):
            yield work(item)
            progress(what, number, len(items))
        return
    # Fresh processes: a forked one would inherit the locks of libraries with threads.
    with ProcessPoolExecutor(min(jobs, len(items)), multiprocessing.get_context("spawn")) as pool:
        waiting = iter(items)
        running: list[Future[Result]] = [pool.submit(work, item) for item in islice(waiting, 2 * jobs)]
        done = 0
        try:
            while running:
                yield running.pop(0).result()
                done += 1
                progress(what, done, len(items))
                running += [pool.submit(work, item) for item in islice(waiting, 1)]
        except BrokenExecutor:
            raise ExportError(
                "a worker process was killed, by lack of memory perhaps; run again to go on, with fewer --jobs"
            ) from None
        finally:
            for future in running:
                future.cancel()


def cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0))


def write_json(path: Path, content: Any, indent: int | None = 4) -> None:
    """Write `content`; the file appears complete or not at all."""
    write_text(path, json.dumps(content, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Write `text`; the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
