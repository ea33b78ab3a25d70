# SPDX-License-Identifier: Apache-2.0
"""Why a session ended that could not say so itself: noted beside its data, for the recorder that recovers them.

Whoever sees a node of the session die (the session's runner, or its launch file) calls `note_lost_node`. A journal
that was cut at that time then gets this as the `end_reason` of its episode, e.g. `"recorder lost: killed by SIGKILL"`.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

END_NOTE = ".session_end.json"
_BEFORE_NS, _AFTER_NS = 2_000_000_000, 60_000_000_000
"""How long before and after a journal's last message its session's end may have been noted."""


def note_lost_node(save_dir: Path, reason: str, now_ns: int) -> None:
    """Note that the session ends because a node was lost; the first reason of a session counts.

    Args:
        save_dir: of the session.
        reason: one line, e.g. `"recorder lost: killed by SIGKILL"`.
        now_ns: session clock.
    """
    path = save_dir / END_NOTE
    part = path.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):  # the data are recovered all the same
        part.write_text(json.dumps({"reason": reason, "at_ns": now_ns}), encoding="utf-8")
        part.replace(path)


def noted_reason(folder: Path, last_ns: int) -> str:
    """Why the session ended whose last message in a folder's journal came at `last_ns`; empty if nobody noted it.

    Args:
        folder: of the journal; the note is there or in the folder above.
        last_ns: session clock.
    """
    for place in (folder, folder.parent):
        try:
            note = json.loads((place / END_NOTE).read_text(encoding="utf-8"))
            reason, at_ns = str(note["reason"]), int(note["at_ns"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if last_ns - _BEFORE_NS <= at_ns <= last_ns + _AFTER_NS:
            return reason
    return ""
