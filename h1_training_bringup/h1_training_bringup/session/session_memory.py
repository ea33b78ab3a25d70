# SPDX-License-Identifier: Apache-2.0
"""What the session manager remembers beside the data, `.session_state.json`, read by those who do not write it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SessionMemory:
    """What became of the epochs.

    Attributes:
        finished: how each finished epoch was finished: "synced", "kept" or "skipped".
        owed: epochs with episodes that are not verified at the upload target.
    """

    finished: dict[int, str] = field(default_factory=dict)
    owed: tuple[int, ...] = ()


def session_memory(save_dir: Path) -> SessionMemory:
    """The memory in `save_dir`; an empty one where there is none that can be read."""
    try:
        memory = json.loads((save_dir / ".session_state.json").read_text())
        finished = {int(epoch): str(how) for epoch, how in dict(memory["finished"]).items()}
        return SessionMemory(finished, tuple(map(int, memory["owed"])))
    except (OSError, ValueError, KeyError, TypeError):
        return SessionMemory()
