# SPDX-License-Identifier: Apache-2.0
"""`episodes list`: a line an episode; with --json what a session's closing table needs."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from h1_recorder.commands.files import for_each, found_episodes, found_in, say
from h1_recorder.episode.episode import Summary, summary
from h1_recorder.episode.folder import unsaved_journals

HELP = "a line an episode, and the journals that are not episodes yet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Print; 1 if any cannot be read."""
    journals = found_in([path for path in arguments.paths if path.is_dir()], unsaved_journals)

    def show(path: Path) -> bool:
        if path in journals:
            size = path.stat().st_size
            text = f"{path}: journal, {size / 1e6:.1f} MB; 'episodes recover' makes it an episode"
            say(arguments, {"journal": str(path), "bytes": size}, text)
        else:
            found = summary(path)
            say(arguments, plain(found), line(found))
        return True

    return for_each(arguments, [*found_episodes(arguments.paths), *journals], "episodes", show)


def plain(found: Summary) -> dict[str, Any]:
    """A summary as JSON can have it."""
    return {**dataclasses.asdict(found), "path": str(found.path)}


def line(found: Summary) -> str:
    """A summary for a person."""
    return (
        f"{found.path}  {found.frames} rows ({found.policy_frames} policy, {found.human_frames} human, "
        f"{found.interventions} interventions)  {found.outcome}  {found.measured_fps:.2f} Hz  {found.gaps} gaps"
    )
