# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk: each whole or not there, with a manifest that says what it was made of; and which one serves.

    0003-5b1f09aa/      weights, `manifest.json`, `check.json` once it was checked
    .making-4711/       one under way; removed at the next start
    state.json          the epoch and the checkpoint that serve, and all that did before

Everything is written under another name, synced, and renamed. A rollback is a new epoch with an older checkpoint.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

UNTRAINED = "untrained"
"""Name of what serves before there is a checkpoint."""
MANIFEST, CHECK, STATE = "manifest.json", "check.json", "state.json"
_MAKING = ".making-"
_NAME = re.compile(r"\d{4,}-[0-9a-f]{8}")
_BLOCK = 1 << 20


class StoreError(Exception):
    """The folder of checkpoints cannot be used; the message names what is wrong."""


@dataclass(frozen=True)
class Served:
    """Which weights serve.

    Attributes:
        epoch: as clients see it.
        checkpoint: its name, or `UNTRAINED`.
        history: what served before: epoch, checkpoint, since (UTC), why.
        present: uuids of episodes that lay in the upload folder before anything was trained here, and do not count.
    """

    epoch: int
    checkpoint: str = UNTRAINED
    history: tuple[dict[str, Any], ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpisodeRef:
    """One episode that a checkpoint was made of.

    Attributes:
        file: relative to the upload folder.
        uuid: of the episode.
        sha256: of the file as it was trained on.
        checkpoint: which weights drove it; empty if it does not say.
        outcome: as labelled then.
    """

    file: str
    uuid: str
    sha256: str
    checkpoint: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint was made of.

    Attributes:
        name: of the checkpoint.
        parent: the checkpoint that served when it was made.
        trainer, settings: how it was made.
        episodes: from which.
        held_out: what was kept from the training, for the check.
        metrics: what the trainer reports.
        files: sha256 of each file in it.
        created: UTC.
    """

    name: str
    parent: str
    trainer: str
    settings: dict[str, Any]
    episodes: tuple[EpisodeRef, ...]
    held_out: tuple[EpisodeRef, ...]
    metrics: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    created: str = ""


class Store:
    """The folder. Only one server at a time has it; others may read, and roll back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from None
        self._lock: int | None = None

    def claim(self) -> None:
        """Be the one server of this folder, and clear away what one that was killed left.

        Raises:
            StoreError: another one has it.
        """
        self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self.folder}: another policy_server has these checkpoints; end it first") from None
        for left in self.folder.glob(f"{_MAKING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def served(self) -> Served | None:
        """What serves; None if nothing ever did.

        Raises:
            StoreError: the state cannot be read.
        """
        path = self.folder / STATE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return Served(
                int(document["epoch"]),
                str(document["checkpoint"]),
                tuple(document["history"]),
                tuple(document["present"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: {error}; restore it, or remove it to begin at --first-epoch") from None

    def serve(self, served: Served, why: str) -> Served:
        """From now on this epoch and checkpoint serve; on disk before it returns.

        Raises:
            OSError: it cannot be written; what served before still does.
        """
        entry = {"epoch": served.epoch, "checkpoint": served.checkpoint, "since": _now(), "why": why}
        changed = Served(served.epoch, served.checkpoint, (*served.history, entry), served.present)
        _write_whole(self.folder / STATE, changed)
        return changed

    def making(self) -> Path:
        """An empty folder for a checkpoint under way.

        Raises:
            OSError: it cannot be made.
        """
        return Path(tempfile.mkdtemp(prefix=_MAKING, dir=self.folder))

    def commit(self, made: Path, manifest: Manifest) -> Manifest:
        """Give what was made its name, once all of it is on disk.

        Raises:
            OSError: it cannot be written.
            StoreError: there is nothing in it.
        """
        files = {path.relative_to(made).as_posix(): sha256(path) for path in sorted(made.rglob("*")) if path.is_file()}
        if not files:
            raise StoreError("the training wrote no weights")
        number = 1 + max((int(name.split("-")[0]) for name in self.names()), default=0)
        digest = hashlib.sha256(json.dumps([files, manifest.parent]).encode()).hexdigest()[:8]
        whole = Manifest(**{**vars(manifest), "name": f"{number:04d}-{digest}", "files": files, "created": _now()})
        _write_whole(made / MANIFEST, whole)
        for path in made.rglob("*"):
            _sync(path)
        _sync(made)
        made.rename(self.folder / whole.name)
        _sync(self.folder)
        return whole

    def names(self) -> list[str]:
        """All checkpoints, oldest first."""
        return sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def path(self, name: str) -> Path | None:
        """Where a checkpoint lies; None for the untrained one.

        Raises:
            StoreError: there is none of that name.
        """
        if name == UNTRAINED:
            return None
        if not _NAME.fullmatch(name) or not (self.folder / name / MANIFEST).is_file():
            known = ", ".join(self.names()) or "none yet"
            raise StoreError(f"{self.folder}: no checkpoint '{name}'; there are: {known}")
        return self.folder / name

    def manifest(self, name: str) -> Manifest:
        """What `name` was made of.

        Raises:
            StoreError: no such checkpoint, or its manifest cannot be read.
        """
        path = self.path(name)
        if path is None:
            raise StoreError("the untrained policy was made of nothing")
        try:
            document = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            sources = {part: tuple(_source(entry) for entry in document[part]) for part in ("episodes", "held_out")}
            return Manifest(**{**document, **sources})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path / MANIFEST}: {error}") from None

    def is_sound(self, name: str) -> str:
        """What is wrong with a checkpoint's files; empty if they are as they were written."""
        try:
            path, manifest = self.path(name), self.manifest(name)
            assert path is not None
            wrong = [file for file, digest in manifest.files.items() if sha256(path / file) != digest]
        except (StoreError, OSError) as error:
            return str(error)
        return f"{wrong[0]} is not as it was written" if wrong else ""

    def note_check(self, name: str, result: dict[str, Any]) -> None:
        """Write down what the check of a checkpoint came to.

        Raises:
            OSError: it cannot be written.
        """
        _write_whole(self.folder / name / CHECK, result)

    def unfinished(self) -> Manifest | None:
        """The newest checkpoint, if it was made of what serves now and neither refused nor served yet.

        A server that is killed while it checks or switches leaves one.
        """
        names, served = self.names(), self.served()
        if not names or served is None or names[-1] in {entry["checkpoint"] for entry in served.history}:
            return None
        try:
            manifest = self.manifest(names[-1])
            check = json.loads((self.folder / names[-1] / CHECK).read_text(encoding="utf-8"))
        except FileNotFoundError:
            check = {}
        except (StoreError, OSError, ValueError):
            return None
        is_newer = not served.history or manifest.created >= served.history[-1]["since"]
        return manifest if is_newer and manifest.parent == served.checkpoint and not check.get("reason") else None

    def known_uuids(self) -> set[str]:
        """Episodes that some training or its check has seen, whether its weights serve or not."""
        served = self.served()
        known = set(served.present) if served is not None else set()
        for name in self.names():
            try:
                manifest = self.manifest(name)
                known |= {source.uuid for source in (*manifest.episodes, *manifest.held_out)}
            except StoreError:
                continue  # a manifest that somebody damaged costs a training, and no data
        return known

    def rollback(self, name: str) -> Served:
        """Let an older checkpoint serve under a new epoch; a running server notices.

        Raises:
            StoreError: no such checkpoint, or its files were changed.
            OSError: the state cannot be written.
        """
        if name != UNTRAINED and (wrong := self.is_sound(name)):
            raise StoreError(wrong)
        with self._changing():
            served = self.served()
            if served is None:
                raise StoreError(f"{self.folder}: nothing has served from here yet")
            return self.serve(Served(served.epoch + 1, name, served.history, served.present), "rollback")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        descriptor = os.open(self.folder / ".changing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def advance(self, seen: Served, checkpoint: str, why: str) -> Served | None:
        """Let `checkpoint` serve under the next epoch, unless something else serves by now than was `seen`.

        Raises:
            OSError: the state cannot be written.
        """
        with self._changing():
            now = self.served()
            if now is not None and now.epoch != seen.epoch:
                return None
            return self.serve(Served(seen.epoch + 1, checkpoint, seen.history, seen.present), why)


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _source(entry: dict[str, str] | str) -> EpisodeRef:
    """As a manifest has it; one of before 2026-11-28 names only the file of what was held out."""
    return EpisodeRef(entry, "", "") if isinstance(entry, str) else EpisodeRef(**entry)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_whole(path: Path, value: Any) -> None:
    document = value if isinstance(value, dict) else asdict(value)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
