"""`episodes label`: sets the outcome of finished episodes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.episode.episode_file import SaveError
from h1_recorder.episode.info import OUTCOMES
from h1_recorder.episode.save import label_episode

HELP = "set the outcome (and with it the advantage) of episodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE")
    parser.add_argument("--outcome", choices=OUTCOMES, required=True)


def run(arguments: argparse.Namespace) -> int:
    """Label each; 1 if any could not be."""
    failed = False
    for path in arguments.paths:
        try:
            label_episode(path, arguments.outcome)
        except (SaveError, ValueError) as error:
            failed = True
            print(json.dumps({"failed": str(error)}) if arguments.json else f"failed: {error}", flush=True)
        else:
            report = {"labelled": str(path), "outcome": arguments.outcome}
            print(json.dumps(report) if arguments.json else f"{path}: {arguments.outcome}", flush=True)
    return int(failed)
