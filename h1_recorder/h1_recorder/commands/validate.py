"""`episodes validate`: checks layout, counts, stamps, phases and pictures; the exit status is for scripts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.list import found_episodes
from h1_recorder.episode.validate import problems

HELP = "check episodes; exit status 1 if anything is wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--fast", action="store_true", help="do not decode the pictures")


def run(arguments: argparse.Namespace) -> int:
    """Check each; 1 if anything is wrong, or nothing was found."""
    paths = found_episodes(arguments.paths)
    if not paths:
        print("no episodes found")
    failed = not paths
    for path in paths:
        found = problems(path, decode_images=not arguments.fast)
        failed = failed or bool(found)
        if arguments.json:
            print(json.dumps({"path": str(path), "problems": found}))
        else:
            print(f"{path}: {'good' if not found else ''}".rstrip())
            for problem in found:
                print(f"  {problem}")
    return int(failed)
