# SPDX-License-Identifier: Apache-2.0
"""`episodes diff`: how two episodes differ, in rows, numbers, images and attributes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from h1_recorder.commands.files import Verb, reason, say
from h1_recorder.episode.apart import ChildError, in_child


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("one", type=Path, metavar="EPISODE")
    parser.add_argument("other", type=Path, metavar="EPISODE")


def run(arguments: argparse.Namespace) -> int:
    """`episodes diff`: how two episodes differ; 0 if they do not, 1 if they do, 2 if one cannot be read."""

    def compare() -> int:
        try:
            found = differences(arguments.one, arguments.other)
        except Exception as error:  # of whatever kind: a damaged file is a line, not a traceback
            return failed(reason(error))
        for name, text in found:
            say(arguments, {"name": name, "difference": text}, f"{name}: {text}")
        if not found and not arguments.json:
            print("no difference")
        return int(bool(found))

    def failed(why: str) -> int:
        say(arguments, {"failed": why}, f"failed: {why}")
        return 2

    try:
        return in_child(compare, arguments.one, arguments.other)
    except ChildError as error:
        return failed(f"{arguments.one} or {arguments.other} is {error}")


def differences(one: Path, other: Path) -> list[tuple[str, str]]:
    """What differs between two files and how, a pair each.

    Raises:
        EpisodeError: one is no episode.
        OSError: one cannot be opened.
    """
    from h1_recorder.episode.episode import read

    a, b = read(one), read(other)
    names = sorted(a.attributes.keys() | b.attributes.keys())
    found = [
        (f"attribute {name}", f"{a.attributes.get(name)} | {b.attributes.get(name)}")
        for name in names
        if a.attributes.get(name) != b.attributes.get(name)
    ]
    columns = ("qpos", "qvel", "effort", "hand_qpos", "action", "applied_action", "hand_action", "hand_command")
    for name in (*columns, "phase", "segment"):
        found += _array_difference(name, getattr(a, name), getattr(b, name))
    for name in sorted(a.stamps.keys() | b.stamps.keys()):
        found += _array_difference(f"stamps/{name}", a.stamps.get(name), b.stamps.get(name))
    for name in ("events", "gaps"):
        if getattr(a, name) != getattr(b, name):
            found.append((name, f"{len(getattr(a, name))} | {len(getattr(b, name))} entries, not the same"))
    for camera in sorted({*a.cameras, *b.cameras}):
        found += _image_difference(a, b, camera)
    return found


def _array_difference(name: str, a: Any, b: Any) -> list[tuple[str, str]]:
    import numpy as np

    if a is None or b is None:
        return [] if a is b else [(name, f"{_there(a)} | {_there(b)}")]
    if a.shape != b.shape:
        return [(name, f"shape {a.shape} | {b.shape}")]
    same = (a == b) | ((a != a) & (b != b))  # nan is the same as nan
    if same.all():
        return []
    rows = np.flatnonzero(~same.reshape(len(a), -1).all(axis=1))
    text = f"{len(rows)} rows, the first is {rows[0]}"
    if a.dtype.kind in "fi":
        text += f", by up to {np.nanmax(np.abs(a - b)):g}"
    return [(name, text)]


def _there(array: Any) -> str:
    return "there" if array is not None else "missing"


def _image_difference(a: Any, b: Any, camera: str) -> list[tuple[str, str]]:
    name = f"images/{camera}"
    if camera not in a.cameras or camera not in b.cameras:
        return [(name, "in one of them only")]
    if len(a) != len(b):
        return [(name, f"{len(a)} | {len(b)} images")]
    rows = [row for row, (p, q) in enumerate(zip(a.jpegs(camera), b.jpegs(camera), strict=True)) if p != q]
    return [(name, f"{len(rows)} images, the first is {rows[0]}")] if rows else []


VERBS = (Verb("diff", "how two episodes differ; exit status 1 if they do", run, _add_arguments),)
