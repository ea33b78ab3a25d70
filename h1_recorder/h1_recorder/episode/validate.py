# SPDX-License-Identifier: Apache-2.0
"""Checks an episode file against `docs/episode_format.md`: layout, values, and every number that it says of itself.

A problem means that the file is not what it says; a warning, that it is, and that somebody should look at it before
training on it. Every counter and attribute that follows from the data is computed again, by the code that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import simplejpeg

from h1_recorder.episode.content import duplicates, interventions, measured_fps, stretches
from h1_recorder.episode.episode import (
    IMAGES,
    NUMBERS,
    Episode,
    EpisodeError,
    opened,
    read,
    structure_faults,
)
from h1_recorder.episode.episode_file import LINKS
from h1_recorder.episode.images import STALE_PERIODS, Freshness, is_same_jpeg
from h1_recorder.episode.info import OUTCOMES
from h1_training_node.arm_joints import ARM_JOINT_NAMES, beyond_range
from h1_training_node.cameras import CAMERAS

_BLOCK_ROWS = 100
_LONG_S = 0.5
"""A stretch of old images or repeated arm states that lasts longer is worth a warning."""
_CAMERA_FPS = 30.0
"""Of early files, which do not say it."""

_JSON = ("gains", "limits", "payload", "serials", "versions", "joint_names")
_ATTRIBUTES = (
    *("timestamp", "advantage", "prompt", "event_count", "config_sha256", *_JSON),
    *(f"{name}_{camera}" for camera in CAMERAS for name in ("stale_frames", "jpeg_source")),
)
"""Besides those that every summary needs."""

Bools = npt.NDArray[np.bool_]


@dataclass
class Findings:
    """What is wrong with a file, and what is worth a look, a line each."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def problems(path: Path, *, decode_images: bool = True) -> list[str]:
    """What is wrong with the episode at `path`; see `check`."""
    return check(path, decode_images=decode_images).problems


def check(path: Path, *, decode_images: bool = True) -> Findings:
    """Look at everything in the episode at `path`.

    Args:
        path: of the file.
        decode_images: decode every JPEG strictly, not only look at its first bytes.
    """
    findings = Findings()
    with _noting_errors(path, findings):
        with opened(path) as file:
            findings.problems += structure_faults(file)
            found = set(file.attrs)
            findings.problems += [f"attribute '{name}' is missing" for name in _ATTRIBUTES if name not in found]
            if not findings.problems:
                findings.problems += _link_faults(file)
        if findings.problems:
            return findings
        episode = read(path)
        if not len(episode):
            findings.problems.append("has no rows")
            return findings
        for part in (_counters, _json_attributes, _times, _phases, _values):
            findings.problems += part(episode)
        _add_duplicates(episode, findings)
        for camera in CAMERAS:
            _Images(episode, camera, decode_images).add_to(findings)
    return findings


@contextmanager
def _noting_errors(path: Path, findings: Findings) -> Iterator[None]:
    """Whatever reading finds out is one more problem."""
    try:
        yield
    except EpisodeError as error:
        findings.problems.append(str(error).removeprefix(f"{path}: "))
    except OSError as error:
        findings.problems.append(f"cannot be opened: {error.strerror or error}")


def _link_faults(file: h5py.File) -> Iterator[str]:
    for link, camera in LINKS.items():
        name = f"{IMAGES}/{link}"
        if name not in file:
            yield f"'{name}' is missing"
        elif file[name] != file[f"{IMAGES}/{camera}"]:
            yield f"'{name}' is not {camera}"


def _counters(episode: Episode) -> Iterator[str]:
    found, human = episode.attributes, episode.phase == "human"
    expected = {
        "episode_length": len(episode),
        "policy_frames": int((~human).sum()),
        "human_frames": int(human.sum()),
        "interventions": interventions(human),
        "gap_count": len(episode.gaps),
        "event_count": len(episode.events),
    }
    for name, value in expected.items():
        yield from _differs(found, name, value)
    fps = measured_fps(episode.stamps["qpos"], episode.segment)
    if not np.isclose(_number(found["measured_fps"]), fps, atol=0.01):
        yield f"attribute 'measured_fps' is {found['measured_fps']}; the rows say {fps:.3f}"
    if found["outcome"] not in OUTCOMES:
        yield f"outcome is '{found['outcome']}'; expected one of {', '.join(OUTCOMES)}"
    if bool(found["advantage"]) != (found["outcome"] == "success"):
        yield f"advantage is {found['advantage']}, but the outcome is {found['outcome']}"


def _differs(found: dict[str, Any], name: str, value: int) -> Iterator[str]:
    if name in found and _number(found[name]) != value:
        yield f"attribute '{name}' is {found[name]}; the rows say {value}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (bool, int, float)) else float("nan")


def _json_attributes(episode: Episode) -> Iterator[str]:
    for name in _JSON:
        try:
            value = json.loads(episode.attributes[name])
        except (TypeError, ValueError):
            yield f"attribute '{name}' is no JSON"
            continue
        if name == "joint_names" and tuple(value) != ARM_JOINT_NAMES:
            yield "attribute 'joint_names' names other joints, or in another order"


def _times(episode: Episode) -> Iterator[str]:
    tick, segment = episode.stamps["tick"], episode.segment
    step, same = np.diff(tick), np.diff(segment) == 0
    period = 1e9 / int(episode.attributes["fps"])
    if (np.abs(step[same] - period) > 1).any():
        yield f"within a segment rows are not {period / 1e6:.3f} ms apart"
    if (step <= 0).any():
        yield "ticks do not advance"
    if ((np.diff(segment) != 0) & (np.diff(segment) != 1)).any() or segment[0] != 0:
        yield "segments are not numbered 0, 1, 2 ..."
    if (step[~same] < 1.5 * period).any():
        yield "two segments follow each other without a break"
    for name, stamps in episode.stamps.items():
        if stamps.shape != tick.shape:
            yield f"stamps/{name} is {stamps.shape}; expected {tick.shape}"
            continue
        if (stamps > tick).any():
            yield f"stamps/{name} is later than its row"
        if (np.diff(stamps[stamps >= 0]) < 0).any():
            yield f"stamps/{name} goes back"
        if name in ("tick", "qpos") and (stamps < 0).any():
            yield f"stamps/{name} is negative"


def _phases(episode: Episode) -> Iterator[str]:
    human, stamps = episode.phase == "human", episode.stamps["action"]
    if episode.action[human].any():
        yield "action is not zero in a human row"
    if not np.array_equal(episode.applied_action[human], episode.qpos[human], equal_nan=True):
        yield "applied_action is not the measured position in a human row"
    if (stamps[human] != -1).any():
        yield "a human row has an action's stamp"
    waiting = ~human & (stamps == -1)
    if not np.array_equal(episode.action[waiting], episode.applied_action[waiting], equal_nan=True):
        yield "action is not applied_action before a run's first action"


def _values(episode: Episode) -> Iterator[str]:
    """Numbers that no joint can have, wherever they are."""
    for path in NUMBERS:
        name = path.rpartition("/")[2]
        values = getattr(episode, name)
        if values is None:
            continue
        bad = ~np.isfinite(values)
        if "hand" in name:  # NaN: no message yet
            bad &= ~np.isnan(values)
        if bad.any():
            yield f"'{path}' is not finite in {int(bad.any(axis=1).sum())} rows, the first is {_first(bad.any(axis=1))}"
        elif name in ("qpos", "action", "applied_action") and (what := beyond_range(values)):
            yield f"'{path}' is beyond the joints' range: {what.replace('at step', 'in row')}"


def _first(rows: Bools) -> int:
    return int(np.argmax(rows))


def _add_duplicates(episode: Episode, findings: Findings) -> None:
    """Rows that say of the robot what the row before them said."""
    observed = {f"observations/{name}": getattr(episode, name) for name in ("qpos", "qvel", "effort")}
    same = duplicates({**observed, "stamps/qpos": episode.stamps["qpos"]})
    findings.problems += _differs(episode.attributes, "duplicate_rows", int(same.sum()))
    findings.warnings += _stretch(episode, same, "the robot's values stand still for {:.1f} s from row {}")


def _stretch(episode: Episode, rows: Bools, text: str) -> Iterator[str]:
    """A line about the longest unbroken run of `rows`, if it is long."""
    runs = [(last - first, -first) for first, last in stretches(rows) if rows[first]]
    if runs:
        length, start = max(runs)
        seconds = length / int(episode.attributes["fps"])
        if seconds > _LONG_S:
            yield text.format(seconds, -start)


class _Images:
    """The images of one camera.

    Args:
        episode: that they belong to.
        camera: its name.
        decode: decode each, not only look at its first bytes.
    """

    def __init__(self, episode: Episode, camera: str, decode: bool) -> None:
        self._episode, self._camera, self._decode = episode, camera, decode
        self._bad: list[tuple[int, str]] = []

    def add_to(self, findings: Findings) -> None:
        camera, found = self._camera, self._episode.attributes
        stamps = self._episode.stamps[camera]
        same = self._same_as_before()
        camera_fps = _number(found.get("camera_fps", _CAMERA_FPS))
        freshness = Freshness(self._episode.stamps["tick"], stamps, same, camera_fps)
        for row, why in self._bad[:1]:
            more = f", and {len(self._bad) - 1} more" if len(self._bad) > 1 else ""
            findings.problems.append(f"image {row} of {camera} does not decode: {why}{more}")
        changed = ~same[1:] & (stamps[1:] == stamps[:-1]) & (stamps[1:] >= 0)
        if changed.any():
            findings.problems.append(f"image {_first(changed) + 1} of {camera} is another one with the same stamp")
        counters = {"dummy": stamps < 0}
        if "camera_fps" in found:
            counters |= {"stale": freshness.stale, "repeated": freshness.repeated}
        else:  # an early file: counted by stamps, and by a rate that is not in it
            findings.problems += self._stale_at_least(stamps)
        for name, rows in counters.items():
            findings.problems += _differs(found, f"{name}_frames_{camera}", int(rows.sum()))
        old_s = STALE_PERIODS / camera_fps
        text = f"{camera} shows an image older than {old_s:.2f} s for {{:.1f}} s from row {{}}: frozen or silent"
        findings.warnings += _stretch(self._episode, freshness.stale, text)
        findings.warnings += _stretch(
            self._episode, stamps < 0, f"{camera} is a grey dummy for {{:.1f}} s from row {{}}"
        )

    def _stale_at_least(self, stamps: Any) -> Iterator[str]:
        name = f"stale_frames_{self._camera}"
        same = np.concatenate([[False], stamps[1:] == stamps[:-1]])
        old = Freshness(self._episode.stamps["tick"], stamps, same, STALE_PERIODS / _LONG_S).stale
        if _number(self._episode.attributes[name]) < old.sum():
            yield f"attribute '{name}' is {self._episode.attributes[name]}; {old.sum()} images are over {_LONG_S} s old"

    def _same_as_before(self) -> Bools:
        """(T,) whether a row shows the bytes of the row before it; those that are new are checked."""
        same = np.zeros(len(self._episode), np.bool_)
        before: Any = None
        with opened(self._episode.path) as file:
            dataset = file[IMAGES][self._camera]
            for start in range(0, len(same), _BLOCK_ROWS):
                for row, data in enumerate(dataset[start : start + _BLOCK_ROWS], start):
                    same[row] = before is not None and is_same_jpeg(data, before)
                    before = data
                    if not same[row] and (why := _fault(data, self._decode)):
                        self._bad.append((row, why))
        return same


def _fault(data: Any, decode: bool) -> str:
    """What is wrong with a JPEG; empty if nothing is. libjpeg's warnings are faults."""
    raw = bytes(data)
    if raw[:3] != b"\xff\xd8\xff":
        return f"begins with {raw[:4].hex(' ') or 'nothing'}"
    if not decode:
        return ""
    try:
        simplejpeg.decode_jpeg(raw, colorspace="GRAY", strict=True)
    except ValueError as error:
        return str(error).splitlines()[0]
    return ""
