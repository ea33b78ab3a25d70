# SPDX-License-Identifier: Apache-2.0
"""`episodes video`: an MP4 of an episode's cameras side by side, over a bar of who was in control when."""

from __future__ import annotations

import argparse
from pathlib import Path

from h1_recorder.commands.files import for_each, found_episodes, say

HELP = "make an MP4 of the cameras side by side, with names, time and who was in control"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="for the videos (default: here)")
    parser.add_argument("--every", type=_at_least_one, default=2, metavar="N", help="take every N-th row (default 2)")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}'; expected a whole number, 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Make each; 1 if any could not be."""
    from h1_recorder.episode.episode import read
    from h1_recorder.export.scene import make_video

    def make(path: Path) -> bool:
        target = arguments.out / f"{path.resolve().parent.name}_{path.stem}.mp4"
        arguments.out.mkdir(parents=True, exist_ok=True)
        make_video(read(path), target, every=arguments.every)
        say(arguments, {"path": str(path), "video": str(target)}, str(target))
        return True

    return for_each(arguments, found_episodes(arguments.paths), "episodes", make, slow=20)
