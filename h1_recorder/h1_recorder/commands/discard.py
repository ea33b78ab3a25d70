# SPDX-License-Identifier: Apache-2.0
"""`episodes discard`: moves episodes and their journals into `.discarded/` beside them, where they stay for a week."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

from h1_recorder.commands.files import for_each, say
from h1_recorder.episode.folder import DISCARDED, discard, episode_path, index_of, journal_path, outcome_path

HELP = "move episodes and their journals into .discarded, from where 'restore' brings them back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|JOURNAL", help="files, not folders")


def run(arguments: argparse.Namespace) -> int:
    """Discard each; 1 if any could not be."""

    def put_away(path: Path) -> bool:
        index = index_of(path)
        if path.parent.name == DISCARDED:
            raise ValueError(f"{path} is discarded already")
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        journal = journal_path(path.parent, index)
        moved = discard([episode_path(path.parent, index), journal])  # a journal that stays would become the episode
        outcome_path(journal).unlink(missing_ok=True)
        say(arguments, {"discarded": str(moved[0])}, str(moved[0]))
        return True

    return for_each(arguments, arguments.paths, "episodes", put_away, apart=False)
