# SPDX-License-Identifier: Apache-2.0
"""Writes an episode as HDF5, reads it back, and gives it its name.

A file appears under its final name complete, synced and verified, or not at all; an existing one is never replaced.
Images go in by blocks of rows: one at a time costs 1 ms a row, in blocks 0.15 ms. Numbers are compressed, which for
them is cheap and halves them; JPEGs are not, nothing is left in them to compress. HDF5's own locks stay unused: not
every disk has them, and the folder has ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h1_recorder.episode.content import Content
from h1_recorder.episode.episode import IMAGES
from h1_recorder.episode.folder import part_path
from h1_recorder.recorder.filesystem import (
    keep_private,
    preallocate,
    release_rest,
    rename_new,
    sync_file,
    sync_folder,
)
from h1_training_node.cameras import CAMERAS

LINKS = {"cam_head": "ego_cam", "cam_high": "ego_cam", "cam_low": "ego_cam"}
"""Further names of cameras, for loaders that look for those: the original client's and openpi's converters."""

_BLOCK_ROWS = 100
_CHUNK_ROWS = 1000
_SYNC_PERIOD_S = 0.1
_SMALLEST_HEAP, _REST_BYTES = 4096, 1_000_000

Progress = Callable[[float], None]


class SaveError(RuntimeError):
    """The file could not be written, or does not hold what was written; the message names it and the cause."""


def write_episode(path: Path, content: Content, progress: Progress = lambda _: None) -> None:
    """Write, sync, verify, and rename to `path`.

    Args:
        path: final name.
        content: what to write.
        progress: receives 0..1 now and then.

    Raises:
        FileExistsError: there is a file of that name.
        SaveError: writing failed, or reading back gave something else; nothing is left behind.
    """
    part = part_path(path)
    try:
        part.unlink(missing_ok=True)
        with _SyncedBeside(part) as synced:
            _write(part, content, lambda share: progress(0.6 * share))
            synced.written()
            _verify(part, content, lambda share: progress(0.6 + 0.4 * share))
        rename_new(part, path)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise SaveError(f"cannot write {path}: {_plain(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    progress(1.0)


class _SyncedBeside:
    """Has the disk work on a file while it is being written, and while it is compared in memory.

    On leaving, the whole file is on the disk, and what was preallocated behind its end is free.

    Args:
        path: of the file; it need not be there yet.

    Raises:
        OSError: on leaving; the disk could not take it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> _SyncedBeside:
        self._done = self._pool.submit(self._sync_all)
        return self

    def written(self) -> None:
        """Nothing more is written."""
        self._written.set()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._written.set()
        with self._pool:
            if kind is None:  # else there is a reason already, and it is the better one
                self._done.result()

    def _sync_all(self) -> None:
        while not self._written.wait(_SYNC_PERIOD_S):
            with contextlib.suppress(FileNotFoundError):
                _sync(self._path)
        release_rest(self._path)  # waits for the disk, as the sync does
        _sync(self._path)


def _plain(error: OSError) -> str:
    """h5py wraps the system's message in its own; give the system's where there is one."""
    if error.errno:
        return os.strerror(error.errno)
    text = str(error)
    for code in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EDQUOT, errno.EIO):
        if os.strerror(code).lower() in text.lower():
            return os.strerror(code)
    return text


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: Content, progress: Progress) -> None:
    # "x": a file that was truncated is flushed by ext4 as it closes
    with h5py.File(path, "x", libver="earliest", locking=False) as file:
        keep_private(path)
        preallocate(path, _largest_size(content))
        for name, value in content.attributes.items():
            file.attrs[name] = value
        for name, array in content.arrays.items():
            chunk = (min(_CHUNK_ROWS, content.length), *array.shape[1:])
            file.create_dataset(name, data=array, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True)
        for name, lines in (("events", content.events), ("gaps", content.gaps)):
            file.create_dataset(name, data=np.array(lines, object), shape=(len(lines),), dtype=h5py.string_dtype())
        images = file.create_group(IMAGES)
        for link, camera in LINKS.items():
            images[link] = h5py.SoftLink(camera)  # relative: it also holds where the group is copied to
        for number, camera in enumerate(CAMERAS):
            dataset = images.create_dataset(camera, (content.length,), dtype=h5py.vlen_dtype(np.uint8))
            for start, block in _image_blocks(content, camera):
                dataset.write_direct(block, dest_sel=np.s_[start : start + len(block)])
                progress((number + start / content.length) / len(CAMERAS))


def _largest_size(content: Content) -> int:
    """Bytes that the file takes at most; an image is in a heap of its own of at least 4096 bytes."""
    numbers = sum(array.nbytes for array in content.arrays.values())
    texts = sum(map(len, (*content.events, *content.gaps))) * 4
    images = sum(
        max(_SMALLEST_HEAP, size + _SMALLEST_HEAP // 32)
        for source, index in content.images.values()
        for size in source.sizes(index)
    )
    return numbers + texts + images + _REST_BYTES


def _image_blocks(content: Content, camera: str) -> Any:
    """First row and JPEGs of each block of rows, as an object array of uint8 arrays."""
    source, index = content.images[camera]
    last, image = None, np.empty(0, np.uint8)
    for start in range(0, content.length, _BLOCK_ROWS):
        rows = index[start : start + _BLOCK_ROWS]
        block = np.empty(len(rows), dtype=h5py.vlen_dtype(np.uint8))
        for i, message in enumerate(rows):
            if message != last:
                last, image = message, np.frombuffer(source.jpeg(int(message)), np.uint8)
            block[i] = image
        yield start, block


def _verify(path: Path, content: Content, progress: Progress) -> None:
    """Read everything back and compare.

    Raises:
        SaveError: something differs.
    """
    with h5py.File(path, "r", locking=False) as file:
        for name, array in content.arrays.items():
            if file[name].dtype != array.dtype or not np.array_equal(file[name][:], array, equal_nan=_is_float(array)):
                raise SaveError(f"{path}: '{name}' does not read back as it was written")
        for name, lines in (("events", content.events), ("gaps", content.gaps)):
            if list(file[name].asstr()[:]) != lines:
                raise SaveError(f"{path}: '{name}' does not read back as it was written")
        for name, value in content.attributes.items():
            if file.attrs[name] != value:
                raise SaveError(f"{path}: attribute '{name}' does not read back as it was written")
        for number, camera in enumerate(CAMERAS):
            dataset = file[IMAGES][camera]
            for start, block in _image_blocks(content, camera):
                found = dataset[start : start + len(block)]
                for row, (one, other) in enumerate(zip(found, block, strict=True), start):
                    if not _are_same_bytes(one, other):
                        raise SaveError(f"{path}: image {row} of {camera} does not read back as it was written")
                progress((number + start / content.length) / len(CAMERAS))


def _are_same_bytes(one: Any, other: Any) -> bool:
    """Whether two arrays are equal uint8; comparing copies takes half the time of `np.array_equal`."""
    return bool(one.dtype == other.dtype == np.uint8 and one.tobytes() == other.tobytes())


def _is_float(array: Any) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))
