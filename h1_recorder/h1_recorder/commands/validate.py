# SPDX-License-Identifier: Apache-2.0
"""`episodes validate`: checks layout, values, counters, stamps, phases and images; the exit status is for scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

from h1_recorder.commands.files import for_each, found_episodes, say
from h1_recorder.episode.validate import check

HELP = "check episodes; exit status 1 if anything is wrong"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--fast", action="store_true", help="do not decode the images")


def run(arguments: argparse.Namespace) -> int:
    """Check each; 1 if anything is wrong, or nothing was found. Warnings are no faults of a file."""

    def validate(path: Path) -> bool:
        found = check(path, decode_images=not arguments.fast)
        verdict = "" if found.problems else " good"
        lines = [f"{path}:{verdict}", *found.problems, *(f"warning: {warning}" for warning in found.warnings)]
        report = {"path": str(path), "problems": found.problems, "warnings": found.warnings}
        say(arguments, report, "\n  ".join(lines))
        return not found.problems

    return for_each(arguments, found_episodes(arguments.paths), "episodes", validate)
