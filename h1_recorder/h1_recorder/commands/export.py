"""`episodes export lerobot`: makes a LeRobotDataset v3.0 of episodes, for training."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from h1_recorder.commands.list import found_episodes
from h1_recorder.commands.reason import reason

HELP = "make a LeRobotDataset v3.0 of episodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's arguments."""
    parser.add_argument("format", choices=("lerobot",))
    parser.add_argument("paths", nargs="+", type=Path, metavar="EPISODE|FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the dataset; run again to go on")
    parser.add_argument(
        "--lookahead",
        type=_at_least_one,
        default=1,
        metavar="ROWS",
        help="where a person guided, the action is the joint position this many rows later (default 1)",
    )


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Export; 1 if it could not be done."""
    from h1_recorder.episode.episode import EpisodeError
    from h1_recorder.export.lerobot_export import export
    from h1_recorder.export.lerobot_rows import ExportError
    from h1_recorder.export.parquet import check_pyarrow, write_table

    paths = found_episodes(arguments.paths)
    try:
        check_pyarrow()
        with _Bar(paths, arguments.json) as bar:
            done = export(
                paths, arguments.out, lookahead=arguments.lookahead, write_table=write_table, progress=bar.show
            )
    except (ExportError, EpisodeError, OSError) as error:
        print(json.dumps({"failed": reason(error)}) if arguments.json else f"failed: {reason(error)}")
        return 1
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(done), "folder": str(done.folder)}))
        return 0
    print(f"{done.folder}: {done.episodes} episodes, {done.frames} rows, {done.masked} of them without a valid action")
    if done.kept:
        print(f"  {done.kept} episodes were there already")
    if done.dummy_frames:
        print(f"  {done.dummy_frames} pictures are grey dummies; leave such episodes out unless you want them")
    return 0


class _Bar:
    """A progress bar on stderr; none where nobody looks."""

    def __init__(self, paths: list[Path], quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._paths = {path: number for number, path in enumerate(paths)}
        self._progress = Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty())
        self._task = self._progress.add_task("export", total=len(paths))

    def show(self, path: Path, share: float) -> None:
        self._progress.update(self._task, completed=self._paths[path] + share, description=path.name)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
