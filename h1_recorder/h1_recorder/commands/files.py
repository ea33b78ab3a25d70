# SPDX-License-Identifier: Apache-2.0
"""What all verbs share: files found at any level of folders, one line about each, and a status that reports the truth.

A verb goes through everything that it was given: what is wrong with one file is a line that names it, and the next one
is looked at all the same. Nothing found is something wrong, too, unless `--allow-empty` says that it may be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from h1_recorder.episode.apart import ChildError, in_child
from h1_recorder.episode.folder import DATASET_MEMORY, episodes


def add_paths(parser: argparse.ArgumentParser, metavar: str = "EPISODE|FOLDER", help: str | None = None) -> None:
    """Declare the files and folders that a verb is given."""
    parser.add_argument("paths", nargs="+", type=Path, metavar=metavar, help=help)


class Verb(NamedTuple):
    """One verb of the command.

    Attributes:
        name: as it is typed.
        help: a line in the list of all.
        run: does it; returns the exit status. Its docstring describes it.
        add_arguments: declares its arguments.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = add_paths


def whole(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number, `least` or more."""

    def parsed(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}'; expected a whole number, {least} or more")
        return int(text)

    return parsed


def folders(path: Path) -> list[Path]:
    """The folder `path` and all in it, hidden ones and datasets that were exported left out; none if it is a file."""
    if not path.is_dir():
        return []
    found = []
    for name, inside, _ in os.walk(path):
        is_dataset = DATASET_MEMORY in inside
        inside[:] = [] if is_dataset else sorted(folder for folder in inside if not folder.startswith("."))
        found += [] if is_dataset else [Path(name)]
    return found


def found_in(paths: Iterable[Path], inside: Callable[[Path], Iterable[Path]]) -> list[Path]:
    """Files as given, and of folders what `inside` finds in each, at any level."""
    found: list[Path] = []
    for path in paths:
        found += [file for folder in folders(path) for file in inside(folder)] if path.is_dir() else [path]
    return found


def found_episodes(paths: Iterable[Path]) -> list[Path]:
    """Episode files, of folders those at any level."""
    return found_in(paths, episodes)


def say(arguments: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    """One line on standard output: JSON if that was asked for."""
    print(json.dumps(report) if arguments.json else text, flush=True)


Work = Callable[[Path], bool]


def for_each(
    arguments: argparse.Namespace, paths: list[Path], what: str, work: Work, *, apart: bool = True, slow: int = 1
) -> int:
    """Do `work` with each path; the exit status: 1 if it was wrong with one, or if there is none.

    Args:
        arguments: of the verb.
        paths: as found.
        what: is looked for, in the plural.
        work: with one path; False if something is wrong, which it has said. It may raise.
        apart: in a child process each: HDF5 can loop for ever over a damaged file, or die of it.
        slow: how many times the CPU time of reading a file it may take.
    """
    if not paths:
        places = ", ".join(map(str, arguments.paths))
        say(arguments, {"failed": f"no {what} found in {places}"}, f"no {what} found in {places}")
        return int(not arguments.allow_empty)

    def attempt(path: Path) -> int:
        try:
            return int(not work(path))
        except Exception as error:  # of whatever kind: the files after it are to be looked at all the same
            say(arguments, {"path": str(path), "failed": reason(error)}, about(path, error))
            return 1

    failed = False
    for path in paths:
        try:
            failed |= bool(in_child(partial(attempt, path), path, slow=slow)) if apart else bool(attempt(path))
        except ChildError as error:
            failed = True
            say(arguments, {"path": str(path), "failed": str(error)}, f"{path}: {error}")
    return int(failed)


def about(path: Path, error: Exception) -> str:
    """One line that begins with the file's name."""
    text = reason(error)
    return text if text.startswith(str(path)) else f"{path}: {text}"


def reason(error: Exception) -> str:
    """Why something failed, in one line; the system's own words where it is one of the system's."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    lines = str(error).splitlines()
    if isinstance(error, (ValueError, RuntimeError)) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
