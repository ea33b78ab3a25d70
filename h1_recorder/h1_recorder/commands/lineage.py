# SPDX-License-Identifier: Apache-2.0
"""`episodes lineage`: which weights drove an episode, and which episodes those weights were made of."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from h1_recorder.commands.files import Verb, reason, say
from h1_recorder.episode.apart import ChildError, in_child
from h1_recorder.episode.episode import EpisodeError, opened

_MANIFEST, _FOLDER = "manifest.json", "checkpoints"
_UNTRAINED = "untrained"


class LineageError(ValueError):
    """It cannot be followed; the message says what is missing."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="EPISODE|CHECKPOINT", help="a file, or a checkpoint's folder or name")
    parser.add_argument(
        "--checkpoints", type=Path, help="the policy server's folder; else one that lies beside the episode or above it"
    )


def run(arguments: argparse.Namespace) -> int:
    """`episodes lineage`: which weights drove an episode, and which episodes those weights were made of."""
    what = Path(arguments.what)
    try:
        return in_child(lambda: _print_chain(arguments), what)  # the episode may be damaged
    except ChildError as error:
        say(arguments, {"failed": f"{what}: {error}"}, f"{what}: {error}")
        return 1


def _print_chain(arguments: argparse.Namespace) -> int:
    try:
        chain = list(_chain(*_start(Path(arguments.what), arguments.checkpoints)))
    except (LineageError, EpisodeError, OSError) as error:
        print(json.dumps({"failed": str(error)}) if arguments.json else reason(error))
        return 1
    if arguments.json:
        print(json.dumps(chain))
        return 0
    for manifest in chain:
        print(f"checkpoint {manifest['name']}  {manifest['created']}  {manifest['trainer']}, from {manifest['parent']}")
        for source in manifest["episodes"]:
            driver = source["checkpoint"] or "not said"
            print(f"  {source['file']}  {source['sha256'][:12]}  {source['outcome']:10} driven by {driver}")
        for source in manifest["held_out"]:
            file = source if isinstance(source, str) else source["file"]  # a string: of before 2026-11-28
            print(f"  {file}  held out for the check")
    if not chain:
        print("untrained weights: made of no episode")
    return 0


def _start(what: Path, folder: Path | None) -> tuple[Path, str]:
    """The folder of checkpoints, and the one to begin at."""
    if (what / _MANIFEST).is_file():
        return what.parent, what.name
    if what.suffix != ".hdf5":
        return _folder(Path.cwd(), folder), what.name
    with opened(what) as file:
        name = str(file.attrs.get("checkpoint", ""))
    if not name:
        raise LineageError(f"{what}: it does not say which weights drove it; the policy server named none")
    return (folder or Path(), name) if name == _UNTRAINED else (_folder(what.absolute(), folder), name)


def _folder(start: Path, folder: Path | None) -> Path:
    if folder is not None:
        return folder
    found = next((above / _FOLDER for above in (start, *start.parents) if (above / _FOLDER).is_dir()), None)
    if found is None:
        raise LineageError(f"no folder '{_FOLDER}' beside {start} or above it; name it with --checkpoints DIR")
    return found


def _chain(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The manifests from `name` back to the first."""
    seen: set[str] = set()
    while name != _UNTRAINED:
        path = folder / name / _MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            parent = str(manifest["parent"])
        except FileNotFoundError:
            raise LineageError(f"{folder}: no checkpoint '{name}'") from None
        except (ValueError, KeyError, TypeError) as error:
            raise LineageError(f"{path}: no manifest: {error}") from None
        if name in seen:
            raise LineageError(f"{path}: the checkpoints' parents go round in a circle")
        seen.add(name)
        yield manifest
        name = parent


VERBS = (Verb("lineage", "which episodes made the weights that made this episode", run, _add_arguments),)
