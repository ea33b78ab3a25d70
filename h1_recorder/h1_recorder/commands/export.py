# SPDX-License-Identifier: Apache-2.0
"""`episodes export`: makes a dataset of episodes in the format of a trainer; run again, it goes on or grows."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h1_recorder.commands.files import Verb, found_episodes, reason, say, whole

if TYPE_CHECKING:
    from h1_recorder.export.export import Exported
    from h1_recorder.export.plan import Options

FORMATS = ("lerobot", "lerobot-v2.1", "robomimic", "aloha")
_VIDEO = ("codec", "crf", "gop", "reuse")
_OF_FORMAT = {
    "lerobot": _VIDEO,
    "lerobot-v2.1": _VIDEO,
    "robomimic": ("resize",),
    "aloha": ("resize", "images", "equal_length"),
}
"""Options that not every format has."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("paths", nargs="+", type=Path, metavar="SOURCE... TARGET", help="episodes or folders, dataset")
    parser.add_argument("--jobs", type=whole(1), metavar="N", help="processes (default: one a core)")
    parser.add_argument("--skip-invalid", action="store_true", help="leave out what does not validate")
    _add_choosing(parser.add_argument_group("which rows"))
    _add_labels(parser.add_argument_group("labels"))
    _add_files(parser.add_argument_group("files (not every format has all of these)"))


def _add_choosing(group: Any) -> None:
    group.add_argument(
        "--outcome", action="append", metavar="OUTCOME", help="success, failure or unlabeled; repeatable"
    )
    group.add_argument("--epoch", action="append", type=int, metavar="N", help="of the policy; repeatable")
    group.add_argument("--since", type=_time, metavar="TIME", help="recorded at that time or later (ISO 8601)")
    group.add_argument("--phase", choices=("policy", "human"), help="rows of one phase only")
    group.add_argument("--only-valid", action="store_true", help="leave out rows without an action of their own")
    group.add_argument(
        "--split", choices=("runs", "segments", "none"), default="runs", help="what makes an episode of the dataset"
    )
    group.add_argument("--val-share", type=float, default=0.0, metavar="SHARE", help="of whole files, for validation")
    group.add_argument("--val-seed", type=int, default=0, metavar="N", help="which ones (default 0)")
    group.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N parts of the dataset")


def _add_labels(group: Any) -> None:
    group.add_argument("--labels", choices=("command", "lookahead"), help="of a person's rows (default command)")
    group.add_argument("--lookahead", type=_lookahead, metavar="ROWS|auto", help="as measured (auto), or so many rows")
    group.add_argument("--weights", choices=("success", "sirius", "human", "uniform"), help="(default success)")
    group.add_argument("--policy-weight", type=_weight, metavar="W", help="of successful policy runs (default 1)")
    group.add_argument(
        "--advantage-prompt", action="store_true", help="end the task's text in ', Advantage=True|False'"
    )


def _add_files(group: Any) -> None:
    group.add_argument("--codec", choices=("h264", "av1"), help="of videos (default h264)")
    group.add_argument("--crf", type=whole(0), metavar="N", help="quality of videos; less is better and bigger")
    group.add_argument("--gop", type=whole(1), metavar="N", help="images from key frame to key frame (default 5)")
    group.add_argument("--reuse", action="append", type=Path, metavar="DATASET", help="take videos that it has")
    group.add_argument("--resize", type=_size, metavar="WIDTHxHEIGHT", help="of images that are stored decoded")
    group.add_argument("--images", choices=("raw", "compressed"), help="of aloha (default raw)")
    group.add_argument("--equal-length", action="store_true", default=None, help="hold the last row; for ACT's loader")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0.0 <= weight <= 1.0:
        raise argparse.ArgumentTypeError(f"'{text}'; expected a number from 0 to 1")
    return weight


def _lookahead(text: str) -> int | str:
    return text if text == "auto" else whole(1)(text)


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}'; expected a time such as 2026-11-27T09:00") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"'{text}'; expected I/N with I from 1 to N, such as 2/3")
    return int(match[1]), int(match[2])


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not (int(match[1]) and int(match[2])):
        raise argparse.ArgumentTypeError(f"'{text}'; expected a size such as 320x240")
    return int(match[1]), int(match[2])


def run(arguments: argparse.Namespace) -> int:
    """`episodes export`: makes a dataset of episodes in the format of a trainer; run again, it goes on or grows."""
    from h1_recorder.episode.episode import EpisodeError
    from h1_recorder.export.export import export
    from h1_recorder.export.folder import cores
    from h1_recorder.export.parquet import check_pyarrow
    from h1_recorder.export.rows import ExportError

    try:
        options, more = _options(arguments), _more(arguments)
        *sources, target = arguments.paths
        if not sources:
            raise ExportError("name episodes or folders, and last the folder of the dataset")
        episodes = found_episodes(sources)
        if not episodes and arguments.allow_empty:
            say(arguments, {"episodes": 0}, "no episodes found")
            return 0
        if arguments.format.startswith("lerobot"):
            check_pyarrow()
        with _Bar(arguments.json) as bar:
            done = export(
                arguments.format,
                episodes,
                target,
                options,
                reuse=arguments.reuse or (),
                jobs=arguments.jobs or cores(),
                progress=bar.show,
                **more,
            )
    except (ExportError, EpisodeError, OSError, ValueError) as error:
        why = str(error) if isinstance(error, ExportError) else reason(error)  # ours names every file and row
        print(json.dumps({"failed": why}) if arguments.json else f"failed: {why}")
        return 1
    print(json.dumps(_as_json(done)) if arguments.json else "\n".join(_lines(done)))
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    """What the arguments ask for.

    Raises:
        ValueError: an option that has no effect here, or a value that is none.
    """
    from h1_recorder.export.labels import Labelling
    from h1_recorder.export.plan import Options
    from h1_recorder.export.selection import Selection
    from h1_recorder.export.video_file import VideoSettings

    given = {name for names in _OF_FORMAT.values() for name in names if getattr(arguments, name) is not None}
    if foreign := sorted(given - set(_OF_FORMAT[arguments.format])):
        known = ", ".join(form for form, names in _OF_FORMAT.items() if foreign[0] in names)
        raise ValueError(f"--{foreign[0].replace('_', '-')} has no effect on {arguments.format}; it is for {known}")
    if arguments.labels == "command" and arguments.lookahead is not None:
        raise ValueError("--lookahead is for --labels lookahead; labels of kind 'command' have a delay of their own")
    if arguments.policy_weight is not None and arguments.weights not in (None, "success"):
        raise ValueError(f"--policy-weight has no effect on --weights {arguments.weights}; it is for success")
    kind = arguments.labels or ("command" if arguments.lookahead is None else "lookahead")
    rows = arguments.lookahead if isinstance(arguments.lookahead, int) else None
    codec = arguments.codec or "h264"
    if arguments.crf is not None and arguments.crf > (most := {"h264": 51, "av1": 63}[codec]):
        raise ValueError(f"--crf {arguments.crf}; {codec} has 0 to {most}")
    return Options(
        selection=Selection(
            outcomes=tuple(arguments.outcome or ()),
            epochs=tuple(arguments.epoch or ()),
            since=arguments.since,
            phase=arguments.phase or "",
            only_valid=arguments.only_valid,
            split=arguments.split,
            val_share=arguments.val_share,
            val_seed=arguments.val_seed,
        ),
        labelling=Labelling(kind, rows),
        weights=arguments.weights or "success",
        policy_weight=1.0 if arguments.policy_weight is None else arguments.policy_weight,
        advantage_prompt=arguments.advantage_prompt,
        skip_invalid=arguments.skip_invalid,
        video=VideoSettings(codec, arguments.crf, arguments.gop or VideoSettings().gop),
        shard=arguments.shard,
    )


def _more(arguments: argparse.Namespace) -> dict[str, Any]:
    """Options that this format alone has, where they are given."""
    names = [name for name in _OF_FORMAT[arguments.format] if name not in _VIDEO]
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def _as_json(done: Exported) -> dict[str, Any]:
    from h1_recorder.export.plan import described

    plan = done.plan
    return {
        "folder": str(done.folder),
        "episodes": plan.episodes,
        "rows": plan.rows,
        "training_episodes": plan.training_episodes,
        **done.made,
        "notes": list(plan.notes),
        **described(plan),
    }


def _lines(done: Exported) -> list[str]:
    """What became of it, for a person."""
    plan = done.plan
    said = [f"{done.folder}: {len(plan.sources)} files, {plan.episodes} episodes, {plan.rows} rows"]
    if plan.training_episodes < plan.episodes:
        said.append(f"  of these {plan.episodes - plan.training_episodes} episodes for validation")
    said.append("  " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in done.made.items()))
    for robot, model in plan.models.items():
        measured, spread = model.lookahead_rows, model.spread_rows
        lag = f"{measured} rows (joints {spread[0]:.1f} to {spread[1]:.1f})" if spread else "not measurable"
        used = plan.options.labelling
        kind = "command" if used.kind == "command" else f"look-ahead of {used.rows or measured} rows"
        said.append(f"  labels of a person's rows: {kind}; lag of the arms{f' of {robot}' if robot else ''}: {lag}")
        if used.kind == "command" and not model.dry_nm.any():
            said.append("  friction is not known, no policy rows in motion: labels do without")
    dummies = sum(source.survey.dummy_images for source in plan.sources)
    if dummies:
        said.append(f"  {dummies} images are grey dummies; leave such episodes out unless you want them")
    return [*said, *(f"  {note}" for note in plan.notes)]


class _Bar:
    """A progress bar on stderr; none where nobody looks."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty())
        self._task = self._progress.add_task("export")

    def show(self, what: str, done: int, of: int) -> None:
        self._progress.update(self._task, completed=done, total=of, description=what)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


VERBS = (
    Verb("export", "make a dataset of episodes for LeRobot, openpi, robomimic, ACT and others", run, _add_arguments),
)
