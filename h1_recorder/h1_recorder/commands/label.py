# SPDX-License-Identifier: Apache-2.0
"""`episodes label`: sets the outcome of finished episodes."""

from __future__ import annotations

import argparse
from pathlib import Path

from h1_recorder.commands.files import for_each, found_episodes, say
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.episode.save import label_episode

HELP = "set the outcome (and with it the advantage) of episodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--outcome", choices=OUTCOMES, required=True)


def run(arguments: argparse.Namespace) -> int:
    """Label each; 1 if any could not be."""

    def label(path: Path) -> bool:
        label_episode(path, arguments.outcome)
        say(arguments, {"labelled": str(path), "outcome": arguments.outcome}, f"{path}: {arguments.outcome}")
        return True

    return for_each(arguments, found_episodes(arguments.paths), "episodes", label)
