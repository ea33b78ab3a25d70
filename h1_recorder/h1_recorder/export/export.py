# SPDX-License-Identifier: Apache-2.0
"""Makes a dataset of episodes: survey, plan, write. One module a format; each is continued where it was broken off."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from h1_recorder.export.card import write_card
from h1_recorder.export.folder import MEMORY, Progress, claimed, each
from h1_recorder.export.plan import Options, Plan, planned
from h1_recorder.export.rows import ExportError
from h1_recorder.export.survey import Survey, surveyed

FORMATS = {
    "lerobot": "lerobot",
    "lerobot-v2.1": "lerobot_v21",
    "robomimic": "robomimic",
    "aloha": "aloha",
}
"""Modules by the format's name."""


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Attributes:
        folder: of the dataset.
        plan: what it is.
        made: numbers that the format reports of its work.
    """

    folder: Path
    plan: Plan
    made: Mapping[str, int]


def export(
    form: str,
    paths: Sequence[Path],
    folder: Path,
    options: Options,
    *,
    reuse: Sequence[Path] = (),
    jobs: int = 1,
    progress: Progress = lambda what, done, of: None,
    **more: Any,
) -> Exported:
    """Make, continue or extend the dataset in `folder`.

    Args:
        form: one of `FORMATS`.
        paths: of the episodes, in their order.
        folder: of the dataset; made if it is not there.
        options: what is taken, and how.
        reuse: other datasets of ours, to take videos from instead of making them.
        jobs: processes.
        progress: is called with what is done.
        more: options that this format alone has.

    Raises:
        ExportError: nothing to export, episodes that are not valid or do not fit together, or a folder that holds
            something else.
        OSError: of the file system.
    """
    for other in reuse:
        if not (other / MEMORY).is_dir():
            raise ExportError(f"{other} is no export of ours, or its folder {MEMORY} was deleted: no videos to reuse")
    if not paths:
        raise ExportError("no episodes found")
    writer = importlib.import_module(f"h1_recorder.export.{FORMATS[form]}")
    with claimed(folder):
        survey = partial(surveyed, memory=folder / MEMORY / "surveys")
        surveys: list[Survey] = list(each(survey, paths, jobs, "surveys", progress))
        plan = planned(surveys, options)
        made = writer.write(plan, folder, reuse=reuse, jobs=jobs, progress=progress, **more)
        write_card(plan, folder, form)
    return Exported(folder, plan, made)
