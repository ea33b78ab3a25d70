# SPDX-License-Identifier: Apache-2.0
"""What becomes of which episode in a dataset: decided as a whole, from surveys, before anything is written. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import Episode
from h1_recorder.export.arm_response import ArmModel, LabelError, fitted
from h1_recorder.export.labels import Labelling, ahead_rows, has_action, labelled
from h1_recorder.export.rows import HAND_ACTION, HAND_STATE, NO_HANDS, ExportError, Kind, Place, columns
from h1_recorder.export.selection import ROW_KINDS, Selection, kind_weights, recorded_at, validation
from h1_recorder.export.survey import Survey
from h1_recorder.export.video_file import VideoSettings

Columns = dict[str, npt.NDArray[Any]]
Runs = tuple[tuple[int, int], ...]
_Entry = tuple[Survey, Runs, bool]
"""A survey, its runs, and whether it is validation."""

NO_TASK = "unnamed task"
_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Options:
    """What a user may choose of a dataset.

    Attributes:
        selection: which episodes and rows.
        labelling: of a person's rows.
        weights, policy_weight: one of `selection.WEIGHTS`, and what `success` gives to the policy's rows.
        advantage_prompt: the task's text ends in the outcome, as the fork of openpi wants it.
        skip_invalid: leave out what does not validate, instead of refusing the whole.
        video: how videos are encoded.
        shard: number from 1 and how many there are.
    """

    selection: Selection = field(default_factory=Selection)
    labelling: Labelling = field(default_factory=Labelling)
    weights: str = "success"
    policy_weight: float = 1.0
    advantage_prompt: bool = False
    skip_invalid: bool = False
    video: VideoSettings = field(default_factory=VideoSettings)
    shard: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Source:
    """One episode file and what the dataset takes of it: all that a process needs to write its part.

    Attributes:
        survey: of the file.
        place: which rows, and where they stand.
        task: its text.
        is_validation: it is of that split.
        model: of the robot.
        kind, options: of the dataset.
        weights: of a row of each of `ROW_KINDS`.
    """

    survey: Survey
    place: Place
    task: str
    is_validation: bool
    model: ArmModel
    kind: Kind
    options: Options
    weights: Sequence[float]

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.survey.path

    @property
    def name(self) -> str:
        """Of the file, as the dataset has it."""
        return f"{self.path.parent.name}/{self.path.name}"

    def columns(self, episode: Episode) -> Columns:
        """`rows.columns` of what the dataset takes.

        Raises:
            ExportError: what its labels need was not recorded.
        """
        try:
            action = labelled(episode, self.options.labelling, self.model)
        except LabelError as error:
            raise ExportError(str(error)) from None
        valid = _valid(self.survey, self.options.labelling, self.model)
        return columns(episode, self.place, self.kind, action, valid, self.weights)

    def by_run(self, rows: Columns) -> Iterator[tuple[int, tuple[int, int], Columns]]:
        """Number, rows in the file, and columns of each episode that the dataset makes of it; `rows`: all of them."""
        start = 0
        for number, (first, last) in enumerate(self.place.runs):
            stop = start + last - first
            yield number, (first, last), {name: values[start:stop] for name, values in rows.items()}
            start = stop


@dataclass(frozen=True)
class Plan:
    """A dataset.

    Attributes:
        sources: in the dataset's order: training, then validation.
        kind, options: of all of them.
        models: how each robot responds, by its name.
        weights: of a row of each of `ROW_KINDS`.
        notes: what a user should know, a line each.
    """

    sources: tuple[Source, ...]
    kind: Kind
    options: Options
    models: dict[str, ArmModel]
    weights: list[float]
    notes: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """By their index."""
        return list(dict.fromkeys(source.task for source in self.sources))

    @property
    def episodes(self) -> int:
        """That the dataset makes of its sources."""
        return sum(len(source.place.runs) for source in self.sources)

    @property
    def rows(self) -> int:
        """Of the dataset."""
        return sum(source.place.rows for source in self.sources)

    @property
    def training_episodes(self) -> int:
        """How many of `episodes` are not validation; they come first."""
        return sum(len(source.place.runs) for source in self.sources if not source.is_validation)


def planned(surveys: Sequence[Survey], options: Options) -> Plan:
    """The dataset that `options` make of the surveyed episodes.

    Raises:
        ExportError: nothing is left, something is not valid, or episodes do not fit together; says which and why.
    """
    good, notes = _valid_only(surveys, options)
    chosen = [survey for survey in good if options.selection.takes(survey.attributes)]
    if not chosen:
        what = f"none of {len(good)} episodes is asked for" if good else "no episodes found"
        raise ExportError(what)
    _check_once_each(chosen)
    kind, more = _common_kind(chosen)
    models = {robot: _model(chosen, robot) for robot in dict.fromkeys(survey.robot for survey in chosen)}
    counts = np.sum([survey.rows for survey in chosen], axis=0).tolist()
    share, seed = options.selection.val_share, options.selection.val_seed
    drawn = validation([survey.uuid for survey in chosen], share, seed)
    cut = [(survey, _runs(survey, options, kind, models)) for survey in chosen]
    empty = [survey.path for survey, runs in cut if not runs]
    notes += [*more, *([f"{len(empty)} episodes have no row that is asked for"] if empty else [])]
    kept = [(survey, runs, drawn[at]) for at, (survey, runs) in enumerate(cut) if runs]
    ordered = _shard([entry for entry in kept if not entry[2]] + [entry for entry in kept if entry[2]], options.shard)
    if not ordered:
        number, count = options.shard
        raise ExportError(f"shard {number}/{count} has none of {len(kept)} files" if kept else "no row is asked for")
    weights = kind_weights(options.weights, counts, options.policy_weight)
    sources = _placed(ordered, kind, options, models, weights)
    return Plan(sources, kind, options, models, weights, tuple(notes))


def _valid_only(surveys: Sequence[Survey], options: Options) -> tuple[list[Survey], list[str]]:
    bad = [survey for survey in surveys if survey.problems]
    lines = [f"{survey.path}: {problem}" for survey in bad for problem in survey.problems]
    if not bad:
        return list(surveys), []
    if options.skip_invalid:
        return [survey for survey in surveys if not survey.problems], [f"left out: {line}" for line in lines]
    more = f"\n  ... and {len(lines) - _MOST_PROBLEMS} more" if len(lines) > _MOST_PROBLEMS else ""
    listed = "\n  ".join(lines[:_MOST_PROBLEMS]) + more
    raise ExportError(f"{len(bad)} episodes do not validate (--skip-invalid leaves them out):\n  {listed}")


def _check_once_each(surveys: Sequence[Survey]) -> None:
    seen: dict[str, Path] = {}
    for survey in surveys:
        if (first := seen.setdefault(survey.uuid, survey.path)) is not survey.path:
            raise ExportError(f"{survey.path} is the same episode as {first}; name one of them")


def _common_kind(surveys: Sequence[Survey]) -> tuple[Kind, list[str]]:
    """The kind of all, and what was given up for it."""
    first = surveys[0]
    for other in surveys[1:]:
        for name in ("fps", "cameras"):
            one, two = getattr(first.kind, name), getattr(other.kind, name)
            if one != two:
                raise ExportError(
                    f"{name} of {other.path} is {two}, of {first.path} {one}; a dataset has one: export them apart"
                )
    hands = Counter(survey.kind.hands for survey in surveys)
    if len(hands) > 1 and HAND_ACTION in hands:
        arms = next(survey for survey in surveys if survey.kind.hands != HAND_ACTION)
        both = next(survey for survey in surveys if survey.kind.hands == HAND_ACTION)
        raise ExportError(f"{both.path} has actions of the hands, {arms.path} has none; export them apart")
    if len(hands) > 1:
        lacking = hands[NO_HANDS]
        note = f"states of the hands are left out: {lacking} of {len(surveys)} episodes do not have them in every row"
        return replace(first.kind, hands=NO_HANDS), [note]
    only = next(iter(hands))
    lacking = sum(int((~survey.outline.has_hands).sum()) for survey in surveys)
    if only == NO_HANDS and lacking:
        return first.kind, ["states of the hands are left out: no episode has them in every row"]
    if only == HAND_ACTION and lacking:
        return first.kind, [f"{lacking} rows are left out: a hand had not reported yet"]
    assert only in (NO_HANDS, HAND_STATE, HAND_ACTION)
    return first.kind, []


def _model(surveys: Sequence[Survey], robot: str) -> ArmModel:
    return fitted(survey.response for survey in surveys if survey.robot == robot)


def _valid(survey: Survey, labelling: Labelling, model: ArmModel) -> npt.NDArray[np.bool_]:
    ahead = ahead_rows(labelling, model, survey.kind.fps)
    return has_action(survey.outline, survey.outline.commanded, ahead)


def _runs(survey: Survey, options: Options, kind: Kind, models: dict[str, ArmModel]) -> Runs:
    try:
        valid = _valid(survey, options.labelling, models[survey.robot])
    except LabelError as error:
        raise ExportError(str(error)) from None
    known = survey.outline.has_hands if kind.hands == HAND_ACTION else np.full(len(survey.outline), True)
    return options.selection.runs(survey.outline, valid, known)


def _shard(entries: list[_Entry], shard: tuple[int, int]) -> list[_Entry]:
    """Part `shard` of about as many rows as each other, in the dataset's order."""
    number, count = shard
    rows = np.array([sum(last - first for first, last in runs) for _, runs, _ in entries], np.int64)
    middles = rows.cumsum() - rows / 2
    part = np.minimum((middles * count / max(int(rows.sum()), 1)).astype(int), count - 1)
    return [entry for entry, its in zip(entries, part, strict=True) if its == number - 1]


def _placed(
    entries: Sequence[_Entry], kind: Kind, options: Options, models: dict[str, ArmModel], weights: Sequence[float]
) -> tuple[Source, ...]:
    sources: list[Source] = []
    tasks: dict[str, int] = {}
    episode, row = 0, 0
    for number, (survey, runs, is_validation) in enumerate(entries):
        task = _task(survey, options)
        place = Place(runs, episode, row, tasks.setdefault(task, len(tasks)), number)
        model = models[survey.robot]
        sources.append(Source(survey, place, task, is_validation, model, kind, options, weights))
        episode, row = episode + len(runs), row + place.rows
    return tuple(sources)


def _task(survey: Survey, options: Options) -> str:
    task = str(survey.attributes["task"]) or NO_TASK
    return f"{task}, Advantage={bool(survey.attributes['advantage'])}" if options.advantage_prompt else task


def described(plan: Plan) -> dict[str, Any]:
    """Where a dataset comes from, as its metadata has it."""
    selection, labelling = plan.options.selection, plan.options.labelling
    return {
        "labels": labelling.kind,
        "lookahead_rows": labelling.rows if labelling.rows else "auto",
        "robots": {robot or "unnamed": model.to_json() for robot, model in plan.models.items()},
        "split": selection.split,
        "outcomes": list(selection.outcomes),
        "epochs": list(selection.epochs),
        "since": selection.since.isoformat() if selection.since else None,
        "phase": selection.phase or "both",
        "only_valid": selection.only_valid,
        "val_share": selection.val_share,
        "val_seed": selection.val_seed,
        "weights": {"scheme": plan.options.weights, **dict(zip(ROW_KINDS, plan.weights, strict=True))},
        "shard": list(plan.options.shard),
        "sources": [_described_source(source) for source in plan.sources],
    }


def _described_source(source: Source) -> dict[str, Any]:
    attributes = source.survey.attributes
    kept = ("episode_uuid", "config_sha256", "robot_name", "epoch", "episode", "outcome", "end_reason", "task")
    return {
        "file": source.name,
        **{name: attributes[name] for name in kept},
        "recorded": recorded_at(attributes).isoformat(),
        "rows": len(source.survey.outline),
        "runs": [list(run) for run in source.place.runs],
        "split": "val" if source.is_validation else "train",
    }
