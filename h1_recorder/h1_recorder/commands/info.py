# SPDX-License-Identifier: Apache-2.0
"""`episodes info`: all about one episode, or a line about each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.files import for_each, found_episodes, say
from h1_recorder.commands.list import line, plain
from h1_recorder.episode.episode import read, summary

HELP = "all about one episode, or a line about each of several"
_LONG = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Print; 1 if any is not an episode."""
    paths = found_episodes(arguments.paths)

    def show(path: Path) -> bool:
        if len(paths) > 1:
            say(arguments, plain(summary(path)), line(summary(path)))
        else:
            _all_about(path, arguments.json)
        return True

    return for_each(arguments, paths, "episodes", show)


def _all_about(path: Path, as_json: bool) -> None:
    episode = read(path)
    if as_json:
        print(json.dumps({**plain(summary(path)), "attributes": episode.attributes, "gaps": episode.gaps}))
        return
    print(line(summary(path)))
    for name, value in episode.attributes.items():
        text = str(value)
        print(f"  {name:28} {text if len(text) <= _LONG else text[: _LONG - 3] + '...'}")
    for what, entries in (("gap", episode.gaps), ("event", episode.events)):
        for entry in entries:
            print(f"  {what:28} {json.dumps(entry)}")
