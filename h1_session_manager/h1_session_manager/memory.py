# SPDX-License-Identifier: Apache-2.0
"""What outlives the session: which epochs are finished and what is owed to the upload target.

A small JSON file beside the data, `.session_state.json`, written whole or not at all. An epoch is finished when it
was uploaded or skipped (or kept, where no target is configured); an unfinished one is offered again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE_NAME = ".session_state.json"
FORMAT = 1
_EPISODE_NAME = re.compile(r"\.?episode_(\d+)\.(hdf5|mcap|hdf5\.part|uploaded)$")


class MemoryFileError(ValueError):
    """The memory of an earlier session cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Memory:
    """What is remembered.

    Attributes:
        robot: identity of the robot and joint configuration that the folder was recorded under.
        finished: how each finished epoch was finished: "synced", "skipped" or "kept".
        owed: epochs with episodes that are not verified at the target.
    """

    robot: str = ""
    finished: Mapping[int, str] = field(default_factory=dict)
    owed: frozenset[int] = frozenset()

    @property
    def last_finished(self) -> int:
        """The highest finished epoch; -1 if there is none."""
        return max(self.finished, default=-1)

    def with_finished(self, epoch: int, how: str) -> Memory:
        """The same with `epoch` finished."""
        return replace(self, finished={**self.finished, epoch: how})

    def with_owed(self, epoch: int) -> Memory:
        """The same with an episode of `epoch` to upload; the epoch is in work again."""
        finished = {known: how for known, how in self.finished.items() if known != epoch}
        return replace(self, finished=finished, owed=self.owed | {epoch})

    def with_unverified(self, epochs: frozenset[int]) -> Memory:
        """The same with episodes found that are not known to be at the target; what is finished stays so."""
        return replace(self, owed=self.owed | epochs)

    def with_all_uploaded(self) -> Memory:
        """The same after an upload that left nothing behind: what was owed is finished."""
        return replace(self, finished={**self.finished, **dict.fromkeys(self.owed, "synced")}, owed=frozenset())

    def text(self) -> str:
        """As the file holds it."""
        finished = {str(epoch): how for epoch, how in sorted(self.finished.items())}
        document = {"format": FORMAT, "robot": self.robot, "finished": finished, "owed": sorted(self.owed)}
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> Memory:
        """From the file's text.

        Raises:
            ValueError, TypeError: not what `text` writes.
        """
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        finished, owed, robot = document.get("finished"), document.get("owed"), document.get("robot")
        if not isinstance(finished, dict) or not isinstance(owed, list) or not isinstance(robot, str):
            raise ValueError("'finished', 'owed' or 'robot' is missing or of the wrong type")
        return cls(robot, {int(epoch): str(how) for epoch, how in finished.items()}, frozenset(int(e) for e in owed))


def load(save_dir: Path, robot: str, *, allow_mixed: bool = False) -> Memory:
    """The memory kept in `save_dir`, or an empty one.

    Raises:
        MemoryFileError: the file cannot be read, or the folder belongs to another robot configuration.
    """
    path = save_dir / FILE_NAME
    try:
        memory = Memory.parse(path.read_text(encoding="utf-8"))
    except OSError:
        # Not there yet; or the whole folder cannot be used, which the recorder says when it is asked to record.
        return Memory(robot=robot)
    except (ValueError, TypeError) as error:
        raise MemoryFileError(
            f"{path} cannot be read ({error}). Move it away to forget which epochs are finished; episodes stay"
        ) from None
    if memory.robot and memory.robot != robot and not allow_mixed:
        raise MemoryFileError(
            f"{save_dir} was recorded under '{memory.robot}', this session is '{robot}'; "
            "choose another save_dir, or set nodes.session_manager.allow_mixed_folder to record into it all the same"
        )
    return replace(memory, robot=robot)


def write_whole(path: Path, text: str) -> None:
    """Write `path` whole or not at all, durably, with its folder if that is missing. Blocks.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def epoch_directory(save_dir: str, epoch: int) -> str:
    """The absolute folder of an epoch's episodes."""
    return str(Path(save_dir).absolute() / f"training_session_epoch{epoch}")


def next_index(save_dir: str, epoch: int) -> int:
    """The index that the recorder will give an epoch's next episode: the first that no episode or journal has, those
    included that were discarded, or deleted here after their upload (`h1_recorder/episode/folder.py`)."""
    folder = Path(epoch_directory(save_dir, epoch))
    taken: set[int] = set()
    with contextlib.suppress(OSError):  # the recorder says what is wrong with the folder, when it is asked to record
        for place in (folder, folder / ".discarded"):
            taken |= {int(match[1]) for path in place.glob("*episode_*") if (match := _EPISODE_NAME.match(path.name))}
    return next(index for index in itertools.count() if index not in taken)
