"""`episodes info`: all about one episode, or a line about each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from h1_recorder.commands.list import found_episodes, line, plain
from h1_recorder.commands.reason import reason
from h1_recorder.episode.episode import EpisodeError, read, summary

HELP = "all about one episode, or a line about each of several"
_LONG = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Print; 1 if any is not an episode."""
    paths = found_episodes(arguments.paths)
    if not paths:
        where = ", ".join(map(str, arguments.paths))
        print(json.dumps({"failed": f"no episodes in {where}"}) if arguments.json else f"no episodes in {where}")
    failed = not paths
    for path in paths:
        try:
            if len(paths) > 1:
                print(json.dumps(plain(summary(path))) if arguments.json else line(summary(path)))
            else:
                _all_about(path, arguments.json)
        except (EpisodeError, OSError) as error:
            failed = True
            print(reason(error))
    return int(failed)


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
