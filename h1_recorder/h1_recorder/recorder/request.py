# SPDX-License-Identifier: Apache-2.0
"""What the recorder is asked, and what it answers: the services and the status as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h1_training_node.message_numbers import RecorderState

_LARGEST_ATTRIBUTE = 48_000


@dataclass(frozen=True)
class StartRequest:
    """As in h1_training_msgs/srv/StartEpisode, whose requests have the same fields."""

    directory: str
    epoch: int
    episode: int
    task: str
    prompt: str
    attributes_json: str


@dataclass(frozen=True)
class Response:
    """Of a request: whether it was accepted, and if not, why not."""

    accepted: bool
    reason: str = ""
    episode_id: str = ""
    path: str = ""


@dataclass(frozen=True)
class Status:
    """As in h1_training_msgs/msg/RecorderStatus, by the same names; `intake.Figures` has the streams'."""

    state: RecorderState
    episode_id: str
    phase: str
    policy_frames: int
    human_frames: int
    bytes_written: int
    bytes_free: int
    seconds_left: float
    save_progress: float
    last_path: str
    last_error: str


class RefusedError(ValueError):
    """A request that cannot be done now; the message says why and what to do."""


def checked(request: StartRequest) -> tuple[Path, dict[str, Any]]:
    """Folder and attributes of a request.

    Raises:
        RefusedError: they cannot be used.
    """
    folder = Path(request.directory)
    if not folder.is_absolute():
        raise RefusedError(f"directory is '{request.directory}'; expected an absolute path")
    try:
        attributes = json.loads(request.attributes_json or "{}")
    except ValueError as error:
        raise RefusedError(f"attributes_json is not JSON: {error}") from None
    if not isinstance(attributes, dict):
        raise RefusedError(f"attributes_json holds {type(attributes).__name__}; expected a JSON object")
    for name, value in attributes.items():
        if len(json.dumps(value)) > _LARGEST_ATTRIBUTE:
            raise RefusedError(f"attribute '{name}' is over {_LARGEST_ATTRIBUTE} bytes; HDF5 holds 64 KiB in all")
    return folder, attributes
