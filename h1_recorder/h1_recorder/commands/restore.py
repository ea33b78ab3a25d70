"""`episodes restore`: brings discarded episodes and journals back under their own names."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.list import folders
from h1_recorder.episode.folder import DISCARDED, restore

HELP = "bring back what was discarded; without --all it only lists what is there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="DISCARDED_FILE|FOLDER")
    parser.add_argument("--all", action="store_true", help="restore everything that the folders discarded")


def run(arguments: argparse.Namespace) -> int:
    """List or restore; 1 if any could not be."""
    failed = False
    for path in arguments.paths:
        if not path.is_dir():
            failed |= not _restored(path, arguments.json)
            continue
        for found in _discarded(path):
            if arguments.all:
                failed |= not _restored(found, arguments.json)
            else:
                print(json.dumps({"discarded": str(found)}) if arguments.json else found)
    return int(failed)


def _discarded(folder: Path) -> list[Path]:
    return [path for inside in folders(folder) for path in sorted((inside / DISCARDED).glob("*episode_*"))]


def _restored(path: Path, as_json: bool) -> bool:
    try:
        if path.parent.name != DISCARDED:
            raise FileNotFoundError(f"{path} is not in a {DISCARDED} folder")
        report = {"restored": str(restore(path))}
    except OSError as error:
        report = {"path": str(path), "failed": str(error)}
    print(json.dumps(report) if as_json else report.get("restored") or f"{path}: {report['failed']}")
    return "restored" in report
