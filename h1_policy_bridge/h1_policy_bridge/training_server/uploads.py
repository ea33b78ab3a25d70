# SPDX-License-Identifier: Apache-2.0
"""The folder that episodes are uploaded to: which of them count, and why another one does not yet.

rsync writes under a hidden name and renames, so what has an episode's name is whole. It counts when it validates and,
where the uploader's list lies beside the data, when that list holds it as it is; one that lies there twice counts once.
A file is read once, and again only if its size or time of modification has changed; first in a child process, since
HDF5 loops for ever over some that are damaged.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from h1_policy_bridge.training_server.policy import TrainingError
from h1_policy_bridge.training_server.rows import is_correction, read_rows, runs
from h1_policy_bridge.training_server.store import EpisodeRef, sha256
from h1_recorder.episode import episode as episode_file
from h1_recorder.episode import validate
from h1_recorder.episode.apart import ChildError, in_child

LIST = ".uploaded.json"
Validator = Callable[[Path], list[str]]


_MOST_EPOCHS = 24
"""In a curve: the whole status then stays far below what a client reads of it."""


@dataclass(frozen=True)
class Upload:
    """One episode that counts.

    Attributes:
        path: its file.
        source: as a manifest has it.
        epoch: of the weights that drove it.
        succeeded_alone: it was a success, and nobody corrected; None if it is not labelled.
    """

    path: Path
    source: EpisodeRef
    epoch: int
    succeeded_alone: bool | None


class Uploads:
    """What lies in the folder.

    Args:
        folder: searched with all below it; need not be there yet.
        problems: what is wrong with a file, a line each.
        checkpoints: folder in which no uploads lie.

    Attributes:
        refused: by file, relative to the folder, why it does not count.
    """

    def __init__(self, folder: Path, problems: Validator | None = None, *, checkpoints: Path | None = None) -> None:
        self._folder, self._checkpoints = folder, (checkpoints or folder / "checkpoints").resolve()
        self._problems = problems or (lambda path: validate.problems(path, decode_images=False))
        self._read: dict[Path, tuple[tuple[int, int], Upload | str]] = {}
        self.refused: dict[str, str] = {}

    def look(self) -> list[Upload]:
        """The episodes that count now, oldest first by folder and number."""
        found: dict[str, Upload] = {}
        refused: dict[str, str] = {}
        listed = self._listed()
        for path, stamp in sorted(self._files().items(), key=lambda item: _order(item[0])):
            if path not in self._read or self._read[path][0] != stamp:
                self._read[path] = (stamp, self._examined(path))
            upload = self._read[path][1]
            name = path.relative_to(self._folder).as_posix()
            if isinstance(upload, str):
                refused[name] = upload
            elif listed is not None and listed.get(name) != stamp:
                refused[name] = f"waits: {LIST} does not hold it as it is"
            elif (first := found.setdefault(upload.source.uuid, upload)) is not upload:
                refused[name] = f"is the same episode as {first.source.file}"
        self.refused = refused
        return list(found.values())

    def _files(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for place, inside, names in os.walk(self._folder):
            folder = Path(place)
            inside[:] = [name for name in inside if name[0] != "." and (folder / name).resolve() != self._checkpoints]
            for path in (folder / name for name in fnmatch.filter(names, "episode_*.hdf5")):
                with contextlib.suppress(OSError):  # removed since the listing
                    status = path.stat()
                    found[path] = (status.st_size, status.st_mtime_ns)
        return found

    def _listed(self) -> dict[str, tuple[int, int]] | None:
        """What the uploader has verified: size and time of modification by file; None without its list."""
        try:
            document = json.loads((self._folder / LIST).read_text(encoding="utf-8"))
            return {entry["path"]: (int(entry["size"]), int(entry["mtime_ns"])) for entry in document["files"]}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # being written, or broken: nothing is known to be verified

    def _examined(self, path: Path) -> Upload | str:
        try:
            if in_child(lambda: int(bool(self._problems(path))), path) and (wrong := self._problems(path)):
                return wrong[0]
            with episode_file.opened(path) as file:
                names = ("episode_uuid", "checkpoint", "outcome", "epoch")
                attributes = {name: str(file.attrs.get(name, "")) for name in names}
            epoch = _epoch(attributes["epoch"] or "-1")
            rows = read_rows(path, images=False)
            digest = sha256(path)
        except (ChildError, episode_file.EpisodeError, TrainingError, OSError) as error:
            return str(error)
        source = EpisodeRef(
            file=path.relative_to(self._folder).as_posix(),
            uuid=attributes["episode_uuid"] or digest,
            sha256=digest,
            checkpoint=attributes["checkpoint"],
            outcome=attributes["outcome"],
        )
        alone = rows.succeeded and not any(is_correction(rows, run) for run in runs(rows))
        is_labelled = source.outcome in ("success", "failure")
        return Upload(path, source, epoch, alone if is_labelled else None)


def _epoch(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise TrainingError(f"attribute 'epoch' is '{text}'; expected a whole number") from None


def uuids(uploads: Iterable[Upload]) -> set[str]:
    """Of these episodes."""
    return {upload.source.uuid for upload in uploads}


def curve(uploads: Iterable[Upload]) -> tuple[tuple[int, float, int], ...]:
    """How well each epoch's weights did: epoch, share of its labelled episodes that succeeded alone, their number.

    Of the newest `_MOST_EPOCHS` epochs that have such episodes, oldest first.
    """
    found: dict[int, list[bool]] = {}
    for upload in uploads:
        if upload.succeeded_alone is not None:
            found.setdefault(upload.epoch, []).append(upload.succeeded_alone)
    points = [(epoch, round(sum(alone) / len(alone), 3), len(alone)) for epoch, alone in sorted(found.items())]
    return tuple(points[-_MOST_EPOCHS:])


def _order(path: Path) -> tuple[str, int, str]:
    """By folder, then by the number in the name: episode_10 comes after episode_9."""
    digits = "".join(character for character in path.stem if character.isdigit())
    parent = path.parent.as_posix()
    return parent, int(digits or 0), path.name
