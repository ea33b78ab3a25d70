# SPDX-License-Identifier: Apache-2.0
"""`episodes restore`: brings discarded episodes and journals back under their own names."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from h1_recorder.commands.files import for_each, found_in, say
from h1_recorder.episode.folder import DISCARDED, restore

HELP = "bring back what was discarded; without --all it only lists what is there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="DISCARDED_FILE|FOLDER")
    parser.add_argument("--all", action="store_true", help="restore everything that the folders discarded")


def run(arguments: argparse.Namespace) -> int:
    """List or restore; 1 if any could not be."""

    def bring_back(path: Path) -> bool:
        if not arguments.all and path not in arguments.paths:
            say(arguments, {"discarded": str(path)}, str(path))
            return True
        if path.parent.name != DISCARDED:
            raise ValueError(f"{path} is not in a {DISCARDED} folder")
        restored = restore(path)
        say(arguments, {"restored": str(restored)}, str(restored))
        return True

    return for_each(arguments, found_in(arguments.paths, _discarded), "discarded files", bring_back, apart=False)


def _discarded(folder: Path) -> Iterable[Path]:
    return sorted((folder / DISCARDED).glob("*episode_*"))
