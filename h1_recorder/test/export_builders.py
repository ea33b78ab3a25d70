# SPDX-License-Identifier: Apache-2.0
"""Episodes for the tests of exports: in memory, row by row, and as files from journals."""

from __future__ import annotations

import json
import tempfile
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from recorder_builders import JournalBuilder, episode_info, ordinary

from h1_recorder.episode.episode import Episode
from h1_recorder.episode.save import save_journal
from h1_recorder.export.export import Exported, export
from h1_recorder.export.labels import Labelling
from h1_recorder.export.plan import Options
from h1_recorder.export.selection import Selection

PERIOD_NS = 20_000_000
NEXT_ROW = Labelling("lookahead", 1)
LIMITS = {"acceleration_rad_s2": [15.0] * 14}


def made(*runs: tuple[str, int], breaks_before: tuple[int, ...] = (), **changes: Any) -> Episode:
    """An episode of runs such as `("policy", 50)`; time stands still for a second before rows in `breaks_before`.

    Joint j is at row / 100 + j; the policy commands 0.04 more than that, the driver applies 0.03 more.
    """
    phase = np.concatenate([np.full(length, name) for name, length in runs])
    rows = np.arange(len(phase))
    segment = np.searchsorted(np.array(breaks_before), rows, side="right").astype(np.int32)
    tick = 10**18 + rows * PERIOD_NS + segment.astype(np.int64) * 10**9
    qpos = (rows[:, None] / 100 + np.arange(14)).astype(np.float32)
    policy = phase == "policy"
    values: dict[str, Any] = {
        "path": Path("made/episode_0.hdf5"),
        "qpos": qpos,
        "qvel": np.full((len(rows), 14), 0.5, np.float32),
        "effort": np.zeros((len(rows), 14), np.float32),
        "action": np.where(policy[:, None], qpos + 0.04, 0.0).astype(np.float32),
        "applied_action": np.where(policy[:, None], qpos + 0.03, qpos).astype(np.float32),
        "phase": phase,
        "segment": segment,
        "stamps": {"tick": tick, "qpos": tick - 1_000_000, "action": np.where(policy, tick - 2_000_000, -1)},
        "hand_qpos": None,
        "hand_action": None,
        "hand_command": None,
        "events": [],
        "gaps": [],
        "attributes": {
            "fps": 50,
            "outcome": "success",
            "advantage": True,
            "epoch": 3,
            "timestamp": "2026-11-27T09:00:00+00:00",
            "gains": json.dumps({"kp": [100.0] * 14, "kd": [2.0] * 14}),
            "limits": json.dumps(LIMITS),
        },
        "cameras": (),
    }
    return Episode(**{**values, **changes})


def make_file(folder: Path, builder: JournalBuilder | None = None, **info: Any) -> Path:
    """An episode file of a second of policy and one of a person, or of what `builder` has."""
    folder.mkdir(exist_ok=True)
    index = int(info.get("index", 0))
    if builder is None and info.keys() <= {"index", "task"}:
        return _ordinary_file(folder / f"episode_{index}.hdf5", **{name: info[name] for name in info if name == "task"})
    info.setdefault("attributes", {"config_sha256": "abc", "limits": LIMITS})
    journal = (builder or ordinary()).write(folder / f".episode_{index}.mcap", episode_info(**info))
    return Path(save_journal(journal).path)


def _ordinary_file(path: Path, **attributes: str) -> Path:
    """An ordinary episode with a uuid of its own; it is recorded and saved once, which takes most of a second."""
    path.write_bytes(_ordinary_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs.update({"episode_uuid": str(uuid.uuid4()), **attributes})
    return path


@lru_cache
def _ordinary_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make_file(Path(folder), ordinary()).read_bytes()


def exported(form: str, paths: list[Path], folder: Path, **options: Any) -> Exported:
    """An export with the labels of `NEXT_ROW` unless said otherwise; what `Selection` has goes there."""
    more = {
        name: options.pop(name)
        for name in ("reuse", "jobs", "progress", "resize", "images", "equal_length")
        if name in options
    }
    own = {name: options.pop(name) for name in list(options) if name in Options.__dataclass_fields__}
    own.setdefault("labelling", NEXT_ROW)
    return export(form, paths, folder, Options(selection=Selection(**options), **own), **more)
