# SPDX-License-Identifier: Apache-2.0
"""What was verified at the upload's target: `.uploaded.json` beside the data, so that no file is read there twice.

An entry holds only while the local file has the size and time of modification that it had when rsync's checksums
found it equal at the target. A label that changes later, another target or a lost ledger makes files unverified
again, which costs time and never data. The file may be deleted at any time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h1_session_manager.memory import write_whole

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
