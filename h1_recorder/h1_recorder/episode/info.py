# SPDX-License-Identifier: Apache-2.0
"""What an episode is about, as its journal carries it: two MCAP metadata records, one at each end.

With them a journal alone becomes the episode that it was, on any machine and without this session's configuration.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from h1_recorder.recorder.streams import Stream
from h1_training_node.cameras import CAMERAS, Dating

FORMAT_VERSION = 2
"""Of journal and episode file. Raised when either is read differently."""

START_RECORD = "h1_recorder.start"
OVERFLOW_RECORD = "h1_recorder.overflow"
END_RECORD = "h1_recorder.end"

OUTCOMES = ("success", "failure", "unlabeled")


class InfoError(ValueError):
    """A metadata record of a journal is missing or says what it cannot say."""


def package_versions() -> dict[str, str]:
    """Versions of what shapes a file."""
    found = {"python": platform.python_version()}
    for name in ("h1-recorder", "numpy", "h5py", "mcap"):
        try:
            found[name.replace("-", "_")] = version(name)
        except PackageNotFoundError:
            found[name.replace("-", "_")] = "not installed"
    return found


@dataclass(frozen=True)
class EpisodeInfo:
    """Known when recording starts.

    Attributes:
        uuid: of this episode; ties journal and file together, whatever they are called.
        index: k of `episode_k.hdf5`.
        epoch: the policy server's.
        episode: number shown to the operator.
        task, prompt: as given by recorder/start.
        attributes: further attributes of the file, as given by recorder/start.
        started_ns: session clock, ns.
        fps: rows per second.
        camera_fps: images per second that a camera should deliver.
        allow_dummy_cameras: grey images may stand in for a camera that never delivered one.
        dummy_cameras: cameras known to be silent at the start, which rows do not wait for.
        streams: everything that is journaled.
        versions: of the software that wrote it.
        format_version: see `FORMAT_VERSION`.
    """

    uuid: str
    index: int
    epoch: int
    episode: int
    task: str
    prompt: str
    attributes: dict[str, Any]
    started_ns: int
    fps: int = 50
    camera_fps: float = 30.0
    allow_dummy_cameras: bool = False
    dummy_cameras: tuple[str, ...] = ()
    streams: tuple[Stream, ...] = ()
    versions: dict[str, str] = field(default_factory=package_versions)
    format_version: int = FORMAT_VERSION

    def to_record(self) -> dict[str, str]:
        """As the fields of an MCAP metadata record."""
        return {"json": json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> EpisodeInfo:
        """From the fields of an MCAP metadata record; fields of a later format that are not known here are left out.

        Raises:
            InfoError: not what `to_record` writes, or of a format newer than this program's.
        """
        values = _loaded(record, START_RECORD)
        if int(values.get("format_version", 0)) > FORMAT_VERSION:
            raise InfoError(
                f"the journal is of format {values['format_version']}, this program reads up to {FORMAT_VERSION};"
                " use the version that wrote it, or a newer one"
            )
        known = {item.name for item in dataclasses.fields(cls)}
        try:
            values = {name: value for name, value in values.items() if name in known}
            values["dummy_cameras"] = tuple(name for name in values["dummy_cameras"] if name in CAMERAS)
            values["streams"] = tuple(map(_stream, values["streams"]))
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise InfoError(f"cannot read the metadata record {START_RECORD}: {error!r}") from None


@dataclass(frozen=True)
class EpisodeEnd:
    """Known when recording ends; a journal that was cut has none.

    Attributes:
        end_reason: why, as given by recorder/finish.
        outcome: one of `OUTCOMES`.
        ended_ns: session clock, ns.
        drops: messages lost by a full queue, by stream.
    """

    end_reason: str
    outcome: str
    ended_ns: int
    drops: dict[str, int] = field(default_factory=dict)

    def to_record(self) -> dict[str, str]:
        """As the fields of an MCAP metadata record."""
        return {"json": json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> EpisodeEnd:
        """From the fields of an MCAP metadata record.

        Raises:
            InfoError: not what `to_record` writes.
        """
        values = _loaded(record, END_RECORD)
        try:
            return cls(
                str(values["end_reason"]), str(values["outcome"]), int(values["ended_ns"]), dict(values["drops"])
            )
        except (TypeError, KeyError, ValueError) as error:
            raise InfoError(f"cannot read the metadata record {END_RECORD}: {error!r}") from None


def _stream(values: Mapping[str, Any]) -> Stream:
    known = {item.name: values[item.name] for item in dataclasses.fields(Stream) if item.name in values}
    return Stream(**{**known, "dating": Dating(values["dating"])})


def _loaded(record: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        values = json.loads(record["json"])
    except (KeyError, ValueError) as error:
        raise InfoError(f"cannot read the metadata record {name}: {error!r}") from None
    if not isinstance(values, dict):
        raise InfoError(f"the metadata record {name} holds {type(values).__name__}; expected a JSON object")
    return values
