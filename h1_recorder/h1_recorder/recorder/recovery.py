# SPDX-License-Identifier: Apache-2.0
"""At start: every journal that an earlier session left behind becomes the episode that it was."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h1_recorder.episode.folder import (
    discard,
    journals,
    prune_discarded,
    prune_kept_journals,
    remove_leftovers,
    was_uploaded,
)
from h1_recorder.recorder.disk import GB
from h1_recorder.recorder.parameters import RecorderParameters
from h1_training_node.folder_lock import FolderInUseError
from h1_training_node.message_numbers import Level

if TYPE_CHECKING:
    from h1_recorder.recorder.recorder import EventSink, Recorder


class VerifiedJournals:
    """Journals that have become verified episodes, until `delete`.

    Args:
        parameters: say whether journals are kept, and within which limits.
    """

    def __init__(self, parameters: RecorderParameters) -> None:
        self._parameters = parameters
        self._paths: list[Path] = []

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, journal: Path) -> None:
        """Its episode was read back."""
        self._paths.append(journal)

    def forget(self) -> None:
        """They are needed after all."""
        self._paths = []

    def delete(self, *, wait: bool = False) -> None:
        """Delete them, in a thread: for a large file that takes a disk a tenth of a second, and messages arrive."""
        paths, self._paths = self._paths, []
        if paths:
            thread = threading.Thread(target=self._delete, args=(paths,), name="delete-journals", daemon=True)
            thread.start()
            if wait:
                thread.join()

    def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                if self._parameters.keep_journal:
                    most = self._parameters.keep_journal_gb * GB
                    prune_kept_journals(path.parent, days=self._parameters.keep_journal_days, most_bytes=most)
                else:
                    path.unlink(missing_ok=True)


def recover(recorder: Recorder, parameters: RecorderParameters, event: EventSink) -> list[Path]:
    """Lock the folders of `save_dir`, clean them, and have their journals saved in the background.

    Args:
        recorder: whose jobs do it, and who holds the locks.
        parameters: of the node.
        event: receives what was found, and what became of it.

    Returns:
        The journals found.
    """
    if not parameters.save_dir:
        return []
    found: list[Path] = []
    for folder in _folders(Path(parameters.save_dir)):
        try:
            recorder.lock(folder)
        except FolderInUseError as error:
            event(Level.WARN, "folder_in_use", str(error))
            continue
        except OSError as error:
            event(Level.WARN, "folder_unusable", f"{folder}: {error.strerror or error}")
            continue
        try:
            _clean(folder, parameters)
        except OSError as error:  # what is outdated stays; what was recorded is saved all the same
            event(Level.WARN, "folder_unusable", f"{folder} cannot be cleaned up: {error.strerror or error}")
        found += [journal for journal in journals(folder) if not was_uploaded(journal)]
    if found:
        recorder.jobs.recover(found, _on_recovered(found, parameters, event))
    return found


def _folders(save_dir: Path) -> list[Path]:
    """`save_dir` and the folders in it that hold episodes or journals."""
    with contextlib.suppress(OSError):
        inside = {path.parent for path in save_dir.glob("*/*episode_*") if not path.parent.name.startswith(".")}
        inside |= {path.parent.parent for path in save_dir.glob("*/.discarded/*episode_*")}
        own = [save_dir] if any(save_dir.glob("*episode_*")) else []
        return own + sorted(inside)
    return []


def _clean(folder: Path, parameters: RecorderParameters) -> None:
    """Delete everything outdated in `folder`."""
    remove_leftovers(folder)
    prune_discarded(folder, parameters.discarded_days)
    if parameters.keep_journal:
        days, most = parameters.keep_journal_days, parameters.keep_journal_gb * GB
        prune_kept_journals(folder, days=days, most_bytes=most)
    else:
        with contextlib.suppress(OSError):
            discard([journal for journal in journals(folder) if was_uploaded(journal)])


def _on_recovered(
    found: list[Path], parameters: RecorderParameters, event: EventSink
) -> Callable[[list[dict[str, Any]], str], None]:
    left = set(map(str, found))

    def done(reports: list[dict[str, Any]], failure: str) -> None:
        left.difference_update(report.get("journal") for report in reports)
        if failure and left:
            names = ", ".join(sorted(left))
            event(Level.ERROR, "recovery_failed", f"{failure}; left as they are, the next start tries again: {names}")
        for report in reports:
            if "failed" in report:
                level = Level.WARN if report.get("empty") else Level.ERROR
                event(level, "journal_empty" if report.get("empty") else "recovery_failed", report["failed"])
                continue
            saved = report["saved"]
            if not saved["was_there"]:
                event(
                    Level.WARN,  # so that the operator's terminal shows it: an earlier session did not end well
                    "journal_recovered",
                    f"{saved['path']}: {saved['length']} rows ({saved['policy_frames']} policy, "
                    f"{saved['human_frames']} human) from a journal left behind; it goes with the next upload "
                    f"{saved['note']}".rstrip(),
                )
            if not parameters.keep_journal:
                with contextlib.suppress(OSError):
                    Path(saved["journal"]).unlink(missing_ok=True)

    return done
