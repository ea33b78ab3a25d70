# SPDX-License-Identifier: Apache-2.0
"""The table at a session's end: one line an episode, read from the files themselves."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import h5py
from rich.console import Console
from rich.table import Table

WIDTH = 80
_COLUMNS = ("frames", "policy", "human", "inter-\nvent.", "outcome", "fps", "gaps", "upload")
_ATTRIBUTES = (
    "episode_length",
    "policy_frames",
    "human_frames",
    "interventions",
    "outcome",
    "measured_fps",
    "gap_count",
)


def closing_lines(save_dir: Path, since_s: float, said: str) -> list[str]:
    """What a session shows last: `unreported_saves`, and the `closing_table`."""
    return [*unreported_saves(save_dir, since_s, said), *closing_table(save_dir, since_s).splitlines()]


def unreported_saves(save_dir: Path, since_s: float, said: str) -> list[str]:
    """`Saved: PATH` of each episode that was finished since `since_s` while nobody was there any more to report it.

    Args:
        save_dir: folder of the episodes.
        since_s: UTC, s.
        said: all that was reported so far.
    """
    return [f"  Saved: {path}" for path in _finished(save_dir, since_s) if f"Saved: {path}" not in said]


def _finished(save_dir: Path, since_s: float) -> list[Path]:
    """The oldest first."""
    times = {}
    for path in save_dir.glob("training_session_epoch*/episode_*.hdf5"):
        with contextlib.suppress(FileNotFoundError):  # discarded in this moment
            times[path] = path.stat().st_mtime
    return sorted((path for path, time_s in times.items() if time_s >= since_s), key=lambda path: times[path])


def closing_table(save_dir: Path, since_s: float) -> str:
    """The episodes of `save_dir` that were finished since `since_s` (UTC, s), as text for the terminal.

    A file that cannot be read has its line too, with the reason; journals that wait for the next start are named.
    """
    paths = _finished(save_dir, since_s)
    journals = [path for path in sorted(save_dir.glob("training_session_epoch*/.episode_*.mcap")) if _is_pending(path)]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("episode", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("outcome", "upload") else "right", no_wrap=True)
    uploads, verified = _upload_states(save_dir), _verified(save_dir)
    defects = {}
    for path in paths:
        cells, defects[path] = _cells(path)
        name = f"{path.parent.name.removeprefix('training_session_')}/{path.stem}"
        table.add_row(name, *cells, "verified" if path in verified else uploads.get(_epoch(path), "not sent"))
    drawn = io.StringIO()  # not the terminal, which may be gone
    Console(file=drawn, width=WIDTH, no_color=True).print(table)
    lines = [f"Episodes of this session, in {save_dir}/training_session_...:", *drawn.getvalue().splitlines()]
    if not paths:
        lines = ["No episode was finished in this session."]
    lines += [f"Unreadable: {path}: {reason}" for path, reason in defects.items() if reason]
    lines += [f"Kept as a journal, becomes an episode at the next start: {journal}" for journal in journals]
    return "\n".join(line.rstrip() for line in lines)


def _is_pending(journal: Path) -> bool:
    return not journal.with_name(journal.stem.removeprefix(".") + ".hdf5").exists()


def _cells(path: Path) -> tuple[list[str], str]:
    """The file's attributes as text, and why they cannot be read; empty if they can."""
    unreadable = ["unreadable", *[""] * (len(_ATTRIBUTES) - 1)]
    try:
        with h5py.File(path, "r", locking=False) as file:
            values = {name: file.attrs[name] for name in _ATTRIBUTES if name in file.attrs}
    except OSError as error:
        return unreadable, str(error)
    if missing := [name for name in _ATTRIBUTES if name not in values]:
        return unreadable, f"attributes {', '.join(missing)} are missing"
    return [f"{value:.1f}" if isinstance(value, float) else str(value) for value in values.values()], ""


def _epoch(path: Path) -> int:
    match = re.fullmatch(r"training_session_epoch(\d+)", path.parent.name)
    return int(match[1]) if match else -1


def _upload_states(save_dir: Path) -> dict[int, str]:
    """What the session manager remembers of each epoch's upload, in words."""
    finished, owed = session_memory(save_dir)
    return {epoch: "verified" if how == "synced" else how for epoch, how in finished.items()} | dict.fromkeys(
        owed, "owed"
    )


def session_memory(save_dir: Path) -> tuple[dict[int, str], list[int]]:
    """What the session manager remembers in `save_dir`; nothing where there is no memory that can be read.

    Returns:
        How each finished epoch was finished: "synced", "kept" or "skipped"; and the epochs with episodes that are not
        verified at the upload target.
    """
    try:
        memory = json.loads((save_dir / ".session_state.json").read_text())
        return {int(epoch): str(how) for epoch, how in dict(memory["finished"]).items()}, [*map(int, memory["owed"])]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, []


def _verified(save_dir: Path) -> set[Path]:
    """The files that rsync's checksums found equal at the target, also in the background, and that are as they were."""
    found: set[Path] = set()
    try:
        document = json.loads((save_dir / ".uploaded.json").read_text())
        entries = [(save_dir / entry["path"], entry["size"], entry["mtime_ns"]) for entry in document["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    for path, size, mtime_ns in entries:
        try:
            status = path.stat()
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
            found.add(path)
    return found
