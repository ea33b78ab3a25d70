"""`episodes list`: a line an episode; with --json what a session's closing table needs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from h1_recorder.commands.reason import reason
from h1_recorder.episode.episode import EpisodeError, Summary, summary
from h1_recorder.episode.folder import episodes, unsaved_journals

HELP = "a line an episode, and the journals that are not episodes yet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Print; 1 if any cannot be read."""
    failed = False
    for path in found_episodes(arguments.paths):
        try:
            found = summary(path)
        except (EpisodeError, OSError) as error:
            failed = True
            print(json.dumps({"path": str(path), "failed": reason(error)}) if arguments.json else reason(error))
            continue
        print(json.dumps(plain(found)) if arguments.json else line(found))
    for path in arguments.paths:
        for folder in folders(path):
            for journal in unsaved_journals(folder):
                size = journal.stat().st_size
                text = f"{journal}: journal, {size / 1e6:.1f} MB; 'episodes recover' makes it an episode"
                print(json.dumps({"journal": str(journal), "bytes": size}) if arguments.json else text)
    return int(failed)


def folders(path: Path) -> list[Path]:
    """The folder `path` and those in it that may hold episodes; none if it is a file."""
    if not path.is_dir():
        return []
    return [path, *sorted(inside for inside in path.iterdir() if inside.is_dir() and not inside.name.startswith("."))]


def found_episodes(paths: list[Path]) -> list[Path]:
    """Episode files, with folders searched one level deep."""
    found: list[Path] = []
    for path in paths:
        found += [episode for folder in folders(path) for episode in episodes(folder)] if path.is_dir() else [path]
    return found


def plain(found: Summary) -> dict[str, Any]:
    """A summary as JSON can have it."""
    return {**dataclasses.asdict(found), "path": str(found.path)}


def line(found: Summary) -> str:
    """A summary for a person."""
    return (
        f"{found.path}  {found.frames} rows ({found.policy_frames} policy, {found.human_frames} human, "
        f"{found.interventions} interventions)  {found.outcome}  {found.measured_fps:.2f} Hz  {found.gaps} gaps"
    )
