# SPDX-License-Identifier: Apache-2.0
"""What was verified at the upload's target: `.uploaded.json` beside the data, so that no file is read there twice.

An entry holds only while the local file has the size and time of modification that it had when rsync's checksums
found it equal at the target. A label that changes later, another target or a lost ledger makes files unverified
again, which costs time and never data. The file may be deleted at any time.

`session clean` deletes, on request, what was verified, and nothing else, ever. A small hidden file stays in each one's
place: its index must not be used again, or the next upload would replace the episode at the target.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h1_session_manager.memory import write_whole
from h1_training_node.folder_lock import RECORDER_LOCK

FILE_NAME = ".uploaded.json"
FORMAT = 1
_EPISODE = re.compile(r"training_session_epoch(\d+)/episode_\d+\.hdf5")


@dataclass(frozen=True)
class FileState:
    """Size in bytes and time of modification in ns: by what a change is noticed."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Raises OSError if there is no such file."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


def finished_episodes(source: Path) -> dict[str, FileState]:
    """The complete episodes in `source`, by their path in it. Journals and files in the making are hidden ones."""
    found: dict[str, FileState] = {}
    for path in sorted(source.glob("training_session_epoch*/episode_*.hdf5")):
        name = path.relative_to(source).as_posix()
        try:
            if _EPISODE.fullmatch(name) and path.is_file():
                found[name] = FileState.of(path)
        except OSError:  # discarded between the listing and the look
            continue
    return found


@dataclass
class Ledger:
    """The verified files of one folder at one target.

    Attributes:
        source: the folder.
        target: as rsync has it.
    """

    source: Path
    target: str
    _entries: dict[str, tuple[FileState, float]] = field(default_factory=dict)

    @classmethod
    def load(cls, source: Path, target: str) -> Ledger:
        """As left by earlier uploads; empty if there is none, it cannot be read, or it is about another target."""
        ledger = cls(source, target)
        try:
            document: Any = json.loads((source / FILE_NAME).read_text(encoding="utf-8"))
            if document["format"] == FORMAT and document["target"] == target:
                for entry in document["files"]:
                    state = FileState(int(entry["size"]), int(entry["mtime_ns"]))
                    ledger._entries[str(entry["path"])] = (state, float(entry["when"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(source, target)
        return ledger

    @classmethod
    def load_any(cls, source: Path) -> Ledger:
        """As left by the last upload, whatever its target was; empty if there is none."""
        try:
            target = str(json.loads((source / FILE_NAME).read_text(encoding="utf-8"))["target"])
        except (OSError, ValueError, KeyError, TypeError):
            target = ""
        return cls.load(source, target)

    def unverified(self) -> dict[str, FileState]:
        """The finished episodes that are not known to be at the target as they are here."""
        return {name: state for name, state in finished_episodes(self.source).items() if not self._holds(name, state)}

    def unverified_epochs(self) -> frozenset[int]:
        """The epochs that those episodes are of."""
        return frozenset(int(match[1]) for name in self.unverified() if (match := _EPISODE.fullmatch(name)))

    def verified(self) -> dict[str, FileState]:
        """The finished episodes that were found equal at the target, and have not changed since."""
        return {name: state for name, state in finished_episodes(self.source).items() if self._holds(name, state)}

    def add(self, verified: dict[str, FileState], when: float) -> None:
        """Remember that these files were found equal at the target at `when` (UTC, s), and write it down.

        `verified` is how each file was before it was sent: one that has changed since is not remembered.

        Raises:
            OSError: the ledger cannot be written.
        """
        present = finished_episodes(self.source)
        for name, state in verified.items():
            if present.get(name) == state:
                self._entries[name] = (state, when)
        self._entries = {name: entry for name, entry in self._entries.items() if name in present}
        files = [
            {"path": name, "size": state.size, "mtime_ns": state.mtime_ns, "when": at}
            for name, (state, at) in sorted(self._entries.items())
        ]
        document = {"format": FORMAT, "target": self.target, "files": files}
        write_whole(self.source / FILE_NAME, json.dumps(document, indent=1) + "\n")

    def _holds(self, name: str, state: FileState) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry[0] == state


class CleanError(RuntimeError):
    """Nothing was deleted; the message says why and what to do."""


def clean(save_dir: Path, *, dry_run: bool, confirm: Callable[[str], bool], say: Callable[[str], None]) -> int:
    """Delete the verified episodes of `save_dir`; returns the bytes that became free (would become, in a dry run).

    Args:
        save_dir: the folder of a session's episodes.
        dry_run: only say what would go.
        confirm: asked once, with the question; False deletes nothing.
        say: takes each line.

    Raises:
        CleanError: no such folder, or a session writes there.
    """
    if not save_dir.is_dir():
        raise CleanError(f"{save_dir} is no folder; name the session's save_dir")
    if holder := _in_use(save_dir):
        raise CleanError(f"{holder} is in use by a session; end it first")
    ledger = Ledger.load_any(save_dir)
    verified = ledger.verified()
    total = sum(state.size for state in verified.values())
    for name, state in sorted(verified.items()):
        say(f"  {name}  {_megabytes(state.size)}")
    stay = len(ledger.unverified())
    say(f"{len(verified)} episodes, {_megabytes(total)}, verified at {ledger.target or '(no upload yet)'}; "
        f"{stay} not verified, which stay")  # fmt: skip
    if dry_run or not verified:
        return total if dry_run else 0
    if not confirm(f"Delete these {len(verified)} episodes from this machine?"):
        say("Nothing was deleted")
        return 0
    freed = sum(_delete(save_dir / name, state, ledger.target) for name, state in verified.items())
    say(f"{_megabytes(freed)} freed")
    return freed


def _delete(path: Path, state: FileState, target: str) -> int:
    """One episode, if it is still the one that was verified; returns its bytes."""
    if FileState.of(path) != state:
        return 0
    tombstone = path.with_name(f".{path.stem}.uploaded")
    tombstone.write_text(json.dumps({"size": state.size, "target": target, "deleted": round(time.time())}) + "\n")
    path.unlink()
    return state.size


def _in_use(save_dir: Path) -> Path | None:
    """A folder in which a recorder is at work, if there is one."""
    for lock in (save_dir / RECORDER_LOCK, *save_dir.glob(f"training_session_epoch*/{RECORDER_LOCK}")):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.parent
        finally:
            os.close(descriptor)
    return None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
