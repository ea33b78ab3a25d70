# SPDX-License-Identifier: Apache-2.0
"""What an export has to know of an episode before it begins: whether it is good, what kind it is, how its arms respond.

A survey reads everything but keeps a few kilobytes; with them the dataset is planned. It is kept beside the dataset and
made again only for a file that changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from h1_recorder.episode.apart import ChildError, in_child
from h1_recorder.episode.content import stretches
from h1_recorder.episode.episode import Episode, EpisodeError, read
from h1_recorder.episode.validate import problems
from h1_recorder.export.arm_response import ArmResponse, is_commanded, response
from h1_recorder.export.rows import HAND_ACTION, HAND_STATE, NO_HANDS, OUTCOME_VALUES, Kind, has_hand_state
from h1_recorder.export.selection import ROW_KINDS, row_kinds
from h1_recorder.export.video_store import fingerprint

Array = npt.NDArray[Any]

FORMAT = 2
"""Raised when a survey means something else; older ones are then made again."""
_KEPT_ATTRIBUTES = (
    *("episode_uuid", "outcome", "advantage", "epoch", "episode", "timestamp", "task", "fps"),
    *("config_sha256", "robot_name", "end_reason", "interventions"),
)


@dataclass(frozen=True)
class Outline:
    """Who was in control of each row of an episode, and what it lacks.

    Attributes:
        phase, segment: (T,) as in the episode.
        commanded: (T,) bool, see `arm_response.is_commanded`.
        has_hands: (T,) bool, where both hands are is known; true where there are none.
    """

    phase: Array
    segment: Array
    commanded: Array
    has_hands: Array

    def __len__(self) -> int:
        return len(self.phase)

    def to_json(self) -> dict[str, Any]:
        """Run by run."""
        return {name: _run_lengths(getattr(self, name)) for name in ("phase", "segment", "commanded", "has_hands")}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Outline:
        """As `to_json` wrote it."""
        return cls(**{name: np.repeat(values, lengths) for name, (values, lengths) in record.items()})


def _run_lengths(values: Array) -> tuple[list[Any], list[int]]:
    runs = stretches(values)
    return [values[first].item() for first, _ in runs], [last - first for first, last in runs]


@dataclass(frozen=True)
class Survey:
    """One episode file.

    Attributes:
        path: of it.
        problems: a line each; if there are any, all else is empty.
        attributes: some of the file's own.
        kind: of a dataset of this one file.
        response: of its arms to the policy.
        rows: how many of each of `ROW_KINDS`.
        outline: who was in control.
        contents: fingerprint of each camera's images, see `video_store`.
        dummy_images: grey stand-ins, all cameras.
    """

    path: Path
    problems: tuple[str, ...]
    attributes: Mapping[str, Any]
    kind: Kind
    response: ArmResponse
    rows: tuple[int, ...]
    outline: Outline
    contents: Mapping[str, str]
    dummy_images: int

    @property
    def uuid(self) -> str:
        """Of the episode, whatever its file is called."""
        return str(self.attributes["episode_uuid"])

    @property
    def robot(self) -> str:
        """Name of the robot; robots respond differently."""
        return str(self.attributes["robot_name"])


def surveyed(path: Path, memory: Path) -> Survey:
    """The survey of the episode at `path`, from `memory` if the file has not changed since.

    It is made in a child process that reads the whole file: what HDF5 loops over, or dies of, is a problem of the file.

    Raises:
        OSError: the file cannot be read, or the survey not be kept.
    """
    status = path.stat()
    seen = {"format": FORMAT, "path": str(path.resolve()), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    kept = memory / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    if (survey := _kept(path, kept, seen)) is not None:
        return survey
    memory.mkdir(parents=True, exist_ok=True)

    def keep(survey: Survey) -> int:
        part = kept.with_suffix(".part")
        part.write_text(json.dumps({"seen": seen, "survey": _to_json(survey)}))
        part.replace(kept)
        return 0

    try:
        if in_child(lambda: keep(survey_of(path)), path) == 0 and (survey := _kept(path, kept, seen)) is not None:
            return survey
        return survey_of(path)  # says why it could not be kept
    except ChildError as error:
        return _unreadable(path, str(error))


def _kept(path: Path, kept: Path, seen: dict[str, Any]) -> Survey | None:
    try:
        record = json.loads(kept.read_text())
        return _from_json(path, record["survey"]) if record["seen"] == seen else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unreadable(path: Path, *why: str) -> Survey:
    nothing = Outline(*(np.empty(0) for _ in range(4)))
    return Survey(path, why, {}, Kind(0, {}, NO_HANDS), ArmResponse.none(), (0,) * len(ROW_KINDS), nothing, {}, 0)


def survey_of(path: Path) -> Survey:
    """Read the whole episode once, its images too: one that is damaged would be learned from as it is."""
    found = problems(path)
    try:
        episode = read(path) if not found else None
    except EpisodeError as error:
        found, episode = [str(error).removeprefix(f"{path}: ")], None
    if episode is not None:
        found = [*_unusable(episode)]
    if episode is None or found:
        return _unreadable(path, *found)
    cameras = {camera: _even_size(episode, camera) for camera in episode.cameras}
    counts = np.bincount(row_kinds(episode), minlength=len(ROW_KINDS))
    return Survey(
        path=path,
        problems=(),
        attributes=_attributes(episode),
        kind=Kind(int(episode.attributes["fps"]), cameras, _hands(episode)),
        response=response(episode),
        rows=tuple(int(count) for count in counts),
        outline=Outline(episode.phase, episode.segment, is_commanded(episode), has_hand_state(episode)),
        contents={camera: fingerprint(episode, camera) for camera in episode.cameras},
        dummy_images=sum(int((episode.stamps[camera] < 0).sum()) for camera in episode.cameras),
    )


def _unusable(episode: Episode) -> Iterator[str]:
    """What a dataset needs of a valid episode besides."""
    if episode.attributes["outcome"] not in OUTCOME_VALUES:
        yield f"outcome is '{episode.attributes['outcome']}'; known are {', '.join(OUTCOME_VALUES)}"
    yield from (
        f"image 0 of {camera} does not decode" for camera in episode.cameras if not all(_even_size(episode, camera))
    )


def _attributes(episode: Episode) -> dict[str, Any]:
    found = {name: episode.attributes.get(name, "") for name in _KEPT_ATTRIBUTES}
    if not found["episode_uuid"]:  # a file of before there was one: its content is its name
        found["episode_uuid"] = hashlib.sha256(episode.stamps["tick"].tobytes()).hexdigest()[:32]
    return found


def _hands(episode: Episode) -> str:
    if episode.hand_action is not None and episode.hand_qpos is not None:
        return HAND_ACTION
    if episode.hand_qpos is not None and np.isfinite(episode.hand_qpos).all():
        return HAND_STATE
    return NO_HANDS


def _even_size(episode: Episode, camera: str) -> tuple[int, int]:
    """Height and width of the first image, without the last line or column where their number is odd."""
    image = cv2.imdecode(np.frombuffer(episode.jpegs(camera, slice(0, 1))[0], np.uint8), cv2.IMREAD_COLOR)
    height, width = (0, 0) if image is None else image.shape[:2]
    return height & ~1, width & ~1


def _to_json(survey: Survey) -> dict[str, Any]:
    whole = {"path": str(survey.path), "kind": vars(survey.kind)}
    return {**vars(survey), **whole, "response": survey.response.to_json(), "outline": survey.outline.to_json()}


def _from_json(path: Path, record: dict[str, Any]) -> Survey:
    kind = record["kind"]
    cameras = {name: (height, width) for name, (height, width) in kind["cameras"].items()}
    whole = {
        "path": path,
        "problems": tuple(record["problems"]),
        "kind": Kind(**{**kind, "cameras": cameras}),
        "response": ArmResponse(**{name: np.array(values) for name, values in record["response"].items()}),
        "rows": tuple(record["rows"]),
        "outline": Outline.from_json(record["outline"]),
    }
    return Survey(**{**record, **whole})
