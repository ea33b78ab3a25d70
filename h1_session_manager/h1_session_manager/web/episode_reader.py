# SPDX-License-Identifier: Apache-2.0
"""Reads episodes for the page, in a process of its own at the lowest priority: no recording ever waits for it.

One request a line on standard input (JSON), one reply on standard output: a line with its length in bytes and whether
it is an error, then the bytes. Ends with its standard input, so with the process that it serves. Needs h5py alone and
the documented layout of the file (h1_recorder/docs/episode_format.md).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from h1_session_manager.upload.ledger import Ledger, finished_episodes
from h1_session_manager.words import in_words

CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
_DISCARDED = ".discarded"
_LOWEST_PRIORITY = 19
_MOST_POINTS = 1200
"""Of a curve: more than a screen has."""
_MOST_IMAGES = 100
_MOST_CPU_S = 1.0
"""For the attributes of a file; they take some milliseconds."""


class ReadError(Exception):
    """An episode cannot be read; the message names it."""


def listing(save_dir: str, target: str) -> list[dict[str, Any]]:
    """Every episode in `save_dir`, newest epoch first, the discarded ones too.

    Each with `id` (its path in `save_dir`), `epoch`, `name`, `is_discarded`, `uploaded` (None without a target), and
    either `failed` or its attributes.
    """
    folder = Path(save_dir)
    uploaded = Ledger.load(folder, target).verified() if target else None
    names = [Path(name) for name in finished_episodes(folder)]
    discarded = folder.glob(f"training_session_epoch*/{_DISCARDED}/episode_*.hdf5")
    found = _entries(folder, [*names, *(path.relative_to(folder) for path in discarded)])
    for name, entry in zip(names, found, strict=False):
        entry["uploaded"] = None if uploaded is None else name.as_posix() in uploaded
    return sorted(found, key=lambda entry: (-entry["epoch"], entry["is_discarded"], -entry["number"]))


_known: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
"""What was read of each file, with the time and size that it had then."""


def _entries(folder: Path, names: list[Path]) -> list[dict[str, Any]]:
    """An entry for each name. What is new or changed is read in a child: HDF5 loops for ever over some damaged ones."""
    versions = {name: _version(folder / name) for name in names}
    unread = [name for name in names if _known.get(folder / name, (None,))[0] != versions[name]]
    while unread:
        for entry in _read_in_child(folder, tuple(unread)):
            name = unread.pop(0)
            _known[folder / name] = (versions[name], entry)
        if unread:
            name = unread.pop(0)
            failed = _blank(name) | {"failed": f"{folder / name} is damaged: reading it does not end"}
            _known[folder / name] = (versions[name], failed)
    return [dict(_known[folder / name][1]) for name in names]


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _read_in_child(folder: Path, names: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """The entries of `names` in order, as far as a child with little CPU time for each comes."""
    incoming, outgoing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(incoming)
            for name in names:
                signal.setitimer(signal.ITIMER_VIRTUAL, _MOST_CPU_S)  # its signal ends the process, in HDF5 too
                os.write(outgoing, json.dumps(_entry(folder, name)).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(outgoing)
    with os.fdopen(incoming, encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)
    os.waitpid(child, 0)


def _entry(folder: Path, name: Path) -> dict[str, Any]:
    entry = _blank(name)
    try:
        with _opened(folder / name) as file:
            wanted = ("episode_length", "policy_frames", "human_frames", "outcome", "interventions", "fps", "task",
                      "timestamp", "end_reason", "gap_count")  # fmt: skip
            entry |= {key: _plain(file.attrs[key]) for key in wanted if key in file.attrs}
            json.dumps(entry)
    except Exception as error:  # of whatever kind: a damaged file is one line of the list
        entry = _blank(name) | {"failed": str(error)}
    return entry


def _blank(name: Path) -> dict[str, Any]:
    digits = "".join(filter(str.isdigit, name.stem))
    return {
        "id": name.as_posix(),
        "epoch": int("0" + "".join(filter(str.isdigit, name.parts[0]))),
        "number": int("0" + digits),
        "name": name.name,
        "is_discarded": _DISCARDED in name.parts,
        "uploaded": None,
    }


def detail(path: str) -> dict[str, Any]:
    """What the player needs of one episode.

    Returns:
        `rows`, `fps`, `seconds` (each row's time since the first, thinned like the curves), `runs` (first row, row
        behind the last, phase), `joint_names`, `qpos` and `applied` (14 curves of at most 1200 points, rad), `stride`
        (rows between two points), `cameras`, `events`, `gaps`, `attributes`.
    """
    with _opened(Path(path)) as file:
        rows = int(file["phase"].shape[0])
        stride = max(1, math.ceil(rows / _MOST_POINTS))
        phase, segment = file["phase"][:], file["segment"][:]
        ticks = file["stamps/tick"][:]
        changes = np.flatnonzero((phase[1:] != phase[:-1]) | (segment[1:] != segment[:-1])) + 1
        edges = [0, *changes.tolist(), rows] if rows else [0]
        return {
            "rows": rows,
            "fps": _plain(file.attrs["fps"]),
            "seconds": np.round((ticks[::stride] - ticks[:1]) / 1e9, 3).tolist(),
            "runs": [[a, b, phase[a].decode()] for a, b in itertools.pairwise(edges)],
            "joint_names": [str(name) for name in np.asarray(file.attrs["joint_names"]).tolist()],
            "qpos": _curves(file["observations/qpos"], stride),
            "applied": _curves(file["applied_action"], stride),
            "stride": stride,
            "cameras": [name for name in CAMERAS if f"observations/images/{name}" in file],
            "events": [_event(line) for line in _texts(file, "events")],
            "gaps": [_event(line) for line in _texts(file, "gaps")],
            "attributes": {key: _plain(value) for key, value in file.attrs.items() if np.size(value) <= 1},
        }


def images(path: str, camera: str, first: int, count: int) -> bytes:
    """JPEGs of rows `first` to `first + count`: for each row with another image than the row before (and the first):
    row u32, length u32, bytes; little endian."""
    if camera not in CAMERAS:
        raise ReadError(f"there is no camera '{camera}'; expected one of {', '.join(CAMERAS)}")
    with _opened(Path(path)) as file:
        rows = int(file["phase"].shape[0])
        last = min(rows, first + min(count, _MOST_IMAGES))
        if not 0 <= first < rows:
            raise ReadError(f"row {first} is outside of the episode's {rows}")
        stamps = file[f"stamps/{camera}"][first:last]
        data = file[f"observations/images/{camera}"][first:last]
        parts = []
        for at, jpeg in enumerate(data):
            if at == 0 or stamps[at] != stamps[at - 1]:
                raw = np.asarray(jpeg, dtype=np.uint8).tobytes()
                parts += [np.array([first + at, len(raw)], dtype="<u4").tobytes(), raw]
        return b"".join(parts)


def thumbnail(path: str) -> bytes:
    """The head camera's JPEG in the middle of the episode."""
    with _opened(Path(path)) as file:
        data = file[f"observations/images/{CAMERAS[0]}"]
        if not data.shape[0]:
            raise ReadError(f"{path} has no rows")
        return np.asarray(data[data.shape[0] // 2], dtype=np.uint8).tobytes()


def _opened(path: Path) -> h5py.File:
    """Without HDF5's lock: files are complete when they are there, and a disk may know no locks."""
    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise ReadError(f"{path} is not there any more") from None
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error}") from None


def _curves(dataset: h5py.Dataset, stride: int) -> list[list[float | None]]:
    values = np.asarray(dataset[::stride], dtype=float)
    return [[round(v, 4) if math.isfinite(v) else None for v in column] for column in values.T.tolist()]


def _texts(file: h5py.File, name: str) -> list[str]:
    return [str(line) for line in file[name].asstr()[:]] if name in file else []


def _event(line: str) -> Any:
    """Its source, and its text for a person."""
    try:
        event = json.loads(line)
        return {"source": event.get("source", ""), "text": event.get("detail") or in_words(event.get("reason", ""))}
    except (ValueError, AttributeError):
        return {"source": "", "text": line}


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if not isinstance(value, float) or math.isfinite(value) else None


_REQUESTS: dict[str, Callable[..., Any]] = {
    "listing": listing,
    "detail": detail,
    "images": images,
    "thumbnail": thumbnail,
}


def answer(line: str) -> tuple[bool, bytes]:
    """Whether a request succeeded, and the reply's bytes: JSON but for images."""
    try:
        request = json.loads(line)
        result = _REQUESTS[request["do"]](*request["with"])
    except Exception as error:  # a damaged file must not end the reader
        name = type(error).__name__
        return False, (str(error) if isinstance(error, ReadError) else f"{name}: {error}").encode()
    return True, result if isinstance(result, bytes) else json.dumps(result).encode()


def main() -> int:
    """Serve until standard input ends."""
    os.nice(_LOWEST_PRIORITY)
    for line in sys.stdin:
        is_good, reply = answer(line)
        sys.stdout.buffer.write(f"{len(reply)} {int(is_good)}\n".encode() + reply)
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
