# SPDX-License-Identifier: Apache-2.0
"""`session clean`: delete, on request, local episodes that were verified at the upload's target. Nothing else, ever.

A small hidden file stays in each one's place: its index must not be used again, or the next upload would replace the
episode at the target.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from h1_session_manager.upload.ledger import FileState, Ledger
from h1_training_node.folder_lock import RECORDER_LOCK


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
