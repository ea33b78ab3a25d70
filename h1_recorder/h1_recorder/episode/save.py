# SPDX-License-Identifier: Apache-2.0
"""From a journal to its episode file, and a label into a finished one. Saving and recovering are the same code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from h1_recorder.episode.apart import ChildError, in_child
from h1_recorder.episode.content import make_content
from h1_recorder.episode.episode import EpisodeError, attributes, not_ours, opened, summary
from h1_recorder.episode.episode_file import Progress, SaveError, write_episode
from h1_recorder.episode.folder import (
    discard,
    episode_path,
    free_index,
    index_of,
    journal_path,
    outcome_path,
    part_path,
    was_uploaded,
)
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.episode.timeline import NoRowsError
from h1_recorder.recorder.filesystem import lock_for_edit, rename_new, sync_file
from h1_recorder.recorder.journal_file import JournalError, read_info, read_journal

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class EmptyEpisodeError(SaveError):
    """The journal has no moment that is a row; it was moved to `.discarded/`."""


@dataclass(frozen=True)
class Saved:
    """A finished episode.

    Attributes:
        path: of the file.
        journal: of its journal; it may have been renamed.
        length, policy_frames, human_frames: rows.
        note: something a person should know, else empty.
        was_there: the file was finished before, nothing was written.
    """

    path: str
    journal: str
    length: int
    policy_frames: int
    human_frames: int
    note: str = ""
    was_there: bool = False


def save_journal(
    journal: Path,
    *,
    outcome: str | None = None,
    allow_dummies: bool | None = None,
    progress: Progress = lambda _: None,
) -> Saved:
    """Turn a journal into the episode that it was.

    A file of the same name that is not this episode stays as it is: journal and episode get the next free index.

    Args:
        journal: `.episode_<k>.mcap`.
        outcome: instead of the one in the journal.
        allow_dummies: instead of what the journal says.
        progress: receives 0..1.

    Raises:
        EmptyEpisodeError: there is no row in it; the journal is in `.discarded/`.
        SaveError: it cannot be read, lacks a required stream, or cannot be written; the journal stays.
    """
    try:
        path, note, finished = _target(journal)
        if finished is not None:
            return finished
        if note:
            renamed = journal_path(journal.parent, index_of(path))
            rename_new(journal, renamed)
            journal = renamed
        outcome = outcome or _noted_outcome(journal)
        content = make_content(read_journal(journal), outcome=outcome, allow_dummies=allow_dummies)
        progress(0.02)
        write_episode(path, content, progress)
    except NoRowsError as error:
        raise _no_rows(journal, error) from None
    except (JournalError, ValueError) as error:
        raise SaveError(str(error)) from error
    except OSError as error:
        raise SaveError(f"cannot save {journal}: {error.strerror or error}") from error
    outcome_path(journal).unlink(missing_ok=True)
    frames = content.attributes
    return Saved(str(path), str(journal), content.length, frames["policy_frames"], frames["human_frames"], note)


def _no_rows(journal: Path, error: NoRowsError) -> SaveError:
    """What to raise for a journal without rows; one that nothing can help is moved out of the way."""
    cameras = [name for name in error.missing if "cam" in name]
    if cameras and len(cameras) == len(error.missing):
        return SaveError(f"{journal}: {error}; 'episodes recover --allow-dummies {journal}' saves it with grey images")
    moved = discard([journal])
    why = str(error).removeprefix("no rows: ")
    return EmptyEpisodeError(f"nothing to save: {why}; the journal is {moved[0] if moved else journal}")


def _target(journal: Path) -> tuple[Path, str, Saved | None]:
    """Where the episode goes, what is to be said about that, and the episode itself if it is there already."""
    path = episode_path(journal.parent, index_of(journal))
    if was_uploaded(journal):
        free = episode_path(journal.parent, free_index(journal.parent))
        return free, f"{path.name} was uploaded and deleted here; saved as {free.name}", None
    if not path.exists():
        return path, "", None
    uuid = read_info(journal).uuid
    found = _attributes(path)
    if found.get("episode_uuid") == uuid:
        noted = _noted_outcome(journal)
        if noted is not None and found["outcome"] != noted:
            label_episode(path, noted)
        names = ("episode_length", "policy_frames", "human_frames")
        length, policy, human = (int(found[name]) for name in names)
        return path, "", Saved(str(path), str(journal), length, policy, human, was_there=True)
    if not found and _noted_outcome(journal) is not None:
        path.replace(part_path(path))  # ours, broken while a label was put into it; the journal has everything
        return path, "", None
    free = episode_path(journal.parent, free_index(journal.parent))
    return free, f"{path.name} was there and is another episode; saved as {free.name}", None


def _attributes(path: Path) -> dict[str, Any]:
    """Of the episode at `path`; none if it cannot be read as one, tried in a child first: it may be damaged."""
    try:
        if in_child(lambda: int(not _attributes_here(path)), path):
            return {}
    except ChildError:
        return {}
    return _attributes_here(path)


def _attributes_here(path: Path) -> dict[str, Any]:
    try:
        with opened(path) as file:
            return {} if not_ours(file) else attributes(file)
    except (EpisodeError, OSError):
        return {}


def label_episode(path: Path, outcome: str) -> None:
    """Set `outcome` and `advantage` of a finished episode in place; if that fails, save it again from its journal.

    The label is noted beside the file until it is in it, so that being killed here costs nothing either. Nothing is
    opened for writing that was not read as an episode of ours.

    Raises:
        SaveError: neither worked, or it is no episode of ours.
    """
    if outcome not in OUTCOMES:
        raise SaveError(f"outcome is '{outcome}'; expected one of {', '.join(OUTCOMES)}")
    journal = journal_path(path.parent, index_of(path))
    note = outcome_path(journal)
    try:
        summary(path)
    except OSError as error:
        raise SaveError(f"cannot label {path}: {error.strerror or error}") from error
    except EpisodeError as error:
        text = str(error).removeprefix(f"{path}: ") + ("" if journal.exists() else "; its journal is gone")
        if not (journal.exists() and _is_cut_short(path)):
            raise SaveError(f"cannot label {path}: {text}") from error
        _save_again(path, journal, outcome)
    else:
        _edit_or_save_again(path, journal, outcome)
    note.unlink(missing_ok=True)


def _is_cut_short(path: Path) -> bool:
    """Whether a file begins as HDF5 does and cannot be opened: an episode that broke, if its journal is there."""
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return False
    try:
        with h5py.File(path, "r", locking=False):
            return False
    except OSError:
        return True


def _edit_or_save_again(path: Path, journal: Path, outcome: str) -> None:
    try:
        if journal.exists():
            _write_note(outcome_path(journal), outcome)
        _edit(path, outcome)
    except BlockingIOError as error:
        outcome_path(journal).unlink(missing_ok=True)
        what = "another program has it open; close it there, then label it again"
        raise SaveError(f"cannot label {path}: {what}") from error
    except (OSError, KeyError, RuntimeError) as error:
        if not journal.exists():
            raise SaveError(f"cannot label {path}: {error}; its journal is gone") from error
        _save_again(path, journal, outcome)


def _edit(path: Path, outcome: str) -> None:
    """Set the label of a file that nobody else has open.

    Raises:
        BlockingIOError: somebody has.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        lock_for_edit(descriptor)
        with h5py.File(path, "r+", locking=False) as file:
            file.attrs["outcome"] = outcome
            file.attrs["advantage"] = outcome == "success"
        sync_file(descriptor)
    finally:
        os.close(descriptor)
    with h5py.File(path, "r", locking=False) as file:
        if file.attrs["outcome"] != outcome:
            raise OSError(f"{path} does not read back its outcome")


def _save_again(path: Path, journal: Path, outcome: str) -> None:
    try:
        content = make_content(read_journal(journal), outcome=outcome)
    except (JournalError, ValueError) as error:
        raise SaveError(f"cannot label {path}: {error}") from error
    fresh = path.with_name(f".{path.stem}.again.hdf5")
    fresh.unlink(missing_ok=True)
    write_episode(fresh, content)
    fresh.replace(path)


def _write_note(note: Path, outcome: str) -> None:
    part = note.with_suffix(".outcome.part")
    with part.open("w") as file:
        file.write(outcome)
        file.flush()
        sync_file(file.fileno())
    part.replace(note)


def _noted_outcome(journal: Path) -> str | None:
    try:
        text = outcome_path(journal).read_text().strip()
    except OSError:
        return None
    return text if text in OUTCOMES else None
