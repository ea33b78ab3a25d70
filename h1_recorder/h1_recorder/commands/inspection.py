# SPDX-License-Identifier: Apache-2.0
"""`episodes info`, `list` and `validate`: all about an episode, a line about each, and whether it is what it says."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from h1_recorder.commands.files import Verb, add_paths, for_each, found_episodes, found_in, say
from h1_recorder.episode.episode import Summary, read, summary
from h1_recorder.episode.folder import unsaved_journals
from h1_recorder.episode.validate import check

_LONG = 100


def info(arguments: argparse.Namespace) -> int:
    """`episodes info`: all about one episode, or a line about each."""
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


def list_all(arguments: argparse.Namespace) -> int:
    """`episodes list`: a line an episode; with --json what a session's closing table needs."""
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


def validate(arguments: argparse.Namespace) -> int:
    """`episodes validate`: checks layout, values, counters, stamps, phases and images; the exit status is for scripts.

    Warnings are no faults of a file.
    """

    def looked_at(path: Path) -> bool:
        found = check(path, decode_images=not arguments.fast)
        verdict = "" if found.problems else " good"
        lines = [f"{path}:{verdict}", *found.problems, *(f"warning: {warning}" for warning in found.warnings)]
        report = {"path": str(path), "problems": found.problems, "warnings": found.warnings}
        say(arguments, report, "\n  ".join(lines))
        return not found.problems

    return for_each(arguments, found_episodes(arguments.paths), "episodes", looked_at)


def _validate_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser)
    parser.add_argument("--fast", action="store_true", help="do not decode the images")


VERBS = (
    Verb("info", "all about one episode, or a line about each of several", info),
    Verb("list", "a line an episode, and the journals that are not episodes yet", list_all),
    Verb("validate", "check episodes; exit status 1 if anything is wrong", validate, _validate_arguments),
)
