# SPDX-License-Identifier: Apache-2.0
"""The card of a dataset: `README.md` with where it comes from, what is in it and how it was made; a contact sheet.

The lines between `---` are the metadata that the Hugging Face Hub reads. What a user adds to a card is kept: only the
part below its marker is written again.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.episode import read
from h1_recorder.episode.info import package_versions
from h1_recorder.export.folder import write_text
from h1_recorder.export.plan import Plan
from h1_recorder.export.scene import dataset_sheet
from h1_recorder.export.selection import ROW_KINDS, recorded_at

MARKER = "<!-- What follows is written by `episodes export`; what stands above is yours. -->"
SHEET = "contact_sheet.jpg"
_DESCRIPTIONS = {
    "lerobot": "`meta/h1_2_export.json`",
    "lerobot-v2.1": "`meta/h1_2_export.json`",
    "robomimic": "the attribute `h1_2_export` of `data`",
    "aloha": "`h1_2_export.json`",
}
_LINES = 6


def write_card(plan: Plan, folder: Path, form: str) -> None:
    """Write README.md and the contact sheet of the dataset in `folder`.

    Raises:
        OSError: of the file system.
    """
    sheet = cv2.imencode(".jpg", _contact_sheet(plan), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    part = folder / f".{SHEET}.part"
    part.write_bytes(sheet.tobytes())
    part.replace(folder / SHEET)
    path = folder / "README.md"
    own = path.read_text(encoding="utf-8").partition(MARKER)[0] if path.exists() else _first(form)
    write_text(path, own + MARKER + "\n\n" + "\n".join(_lines(plan, form)) + "\n")


def _first(form: str) -> str:
    """What a new card begins with; the license is for its user to name."""
    head = ["license: unknown", "task_categories:", "- robotics", "tags:", "- unitree-h1-2"]
    if form.startswith("lerobot"):
        head.append("- LeRobot")
    if form == "lerobot":
        head += ["configs:", "- config_name: default", "  data_files: data/*/*.parquet"]
    return "\n".join(["---", *head, "---", "", ""])


def _lines(plan: Plan, form: str) -> list[str]:
    surveys = [source.survey for source in plan.sources]
    times = sorted(recorded_at(survey.attributes) for survey in surveys)
    outcomes = Counter(str(survey.attributes["outcome"]) for survey in surveys)
    human = sum(int((survey.outline.phase == "human").sum()) for survey in surveys)
    every = sum(len(survey.outline) for survey in surveys)
    epochs = sorted({int(survey.attributes["epoch"]) for survey in surveys})
    selection, labelling = plan.options.selection, plan.options.labelling
    label = "the command that the driver would have needed"
    if labelling.kind == "lookahead":
        label = f"the position {labelling.rows} rows later" if labelling.rows else "the position after the lag below"
    task = plan.tasks[0] if len(plan.tasks) == 1 else f"{len(plan.tasks)} tasks"
    return [
        f"# Unitree H1-2: {task}",
        "",
        f"![contact sheet]({SHEET})",
        "",
        "| | |",
        "|---|---|",
        f"| format | {form} |",
        f"| files, episodes, rows | {len(plan.sources)}, {plan.episodes}, {plan.rows} at {plan.kind.fps} Hz |",
        f"| training, validation | {plan.training_episodes}, {plan.episodes - plan.training_episodes} episodes |",
        f"| cameras | {', '.join(f'{name} {size[1]}x{size[0]}' for name, size in plan.kind.cameras.items())} |",
        f"| state, action | {plan.kind.width} values |",
        f"| recorded | {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC, policy epochs {epochs} |",
        f"| outcomes | {', '.join(f'{count} {name}' for name, count in sorted(outcomes.items()))} |",
        f"| in control | policy {every - human} rows, human {human} rows of the files |",
        f"| split, rows | {selection.split}, {selection.phase or 'both phases'}"
        f"{', rows with an action of their own' if selection.only_valid else ''} |",
        f"| labels of a person's rows | {labelling.kind}: {label} |",
        *(_lag(robot, model) for robot, model in plan.models.items()),
        f"| sample_weight | {plan.options.weights}: {_weights(plan)} |",
        f"| images without a camera | {sum(survey.dummy_images for survey in surveys)} grey dummies |",
        f"| written by | {', '.join(f'{name} {version}' for name, version in package_versions().items())} |",
        "",
        "Tasks: " + "; ".join(f"`{task}`" for task in plan.tasks),
        "",
        f"Where each file comes from (uuid, configuration, rows): {_DESCRIPTIONS[form]}.",
        *(f"\n{note}" for note in plan.notes),
    ]


def _lag(robot: str, model: Any) -> str:
    spread = model.spread_rows
    said = "not measurable: no policy rows in motion"
    if spread is not None:
        said = f"{model.lookahead_rows} rows; joints {spread[0]:.1f} to {spread[1]:.1f}"
    return f"| lag of the arms{f' of {robot}' if robot else ''} | {said} |"


def _weights(plan: Plan) -> str:
    return ", ".join(f"{name} {weight:.2f}" for name, weight in zip(ROW_KINDS, plan.weights, strict=True))


def _contact_sheet(plan: Plan) -> npt.NDArray[np.uint8]:
    """Images of up to six files, spread over the dataset; of the head camera where there is one."""
    chosen = np.unique(np.linspace(0, len(plan.sources) - 1, _LINES).astype(int))
    camera = "ego_cam" if "ego_cam" in plan.kind.cameras else next(iter(plan.kind.cameras))
    return dataset_sheet((read(plan.sources[number].path) for number in chosen), camera)
