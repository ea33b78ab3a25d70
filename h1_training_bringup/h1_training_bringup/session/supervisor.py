# SPDX-License-Identifier: Apache-2.0
"""What the end of a process means for the session: the rules, one place for the runner and for `ros2 launch`.

Pure: `runner.py` and `launch_supervisor.py` report each end here and carry out what follows.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from h1_training_bringup.session.process import Process
from h1_training_node.process import EXIT_EXPLAINED

EXIT_CLEAN, EXIT_LOST, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
MAX_RESPAWNS = 3
STOP_TIMEOUT_S = 14.8
"""From the first signal to the last kill of the session's own processes; with the peers' 2 s, within 17 s at worst."""
PEERS_STOP_TIMEOUT_S = 2.0
"""The same, for those that end last."""
ENDING = "Ending: arms to damping, then released; data being saved (up to 15 s) ..."


@dataclass(frozen=True)
class Consequence:
    """What follows from the end of a process.

    Attributes:
        status: the session ends with this exit status; None: it goes on.
        line: for the operator, with the last lines of the process' log; empty: nothing is to be said.
        cause: of the session's end, as the session manager reports it; empty: it knows by itself.
        starts: name of the process to start: itself again, or its fallback; empty: none.
    """

    status: int | None = None
    line: str = ""
    cause: str = ""
    starts: str = ""


class Supervisor:
    """Applies the rules; counts how often each process was started again."""

    def __init__(self) -> None:
        self._respawns: Counter[str] = Counter()

    def ended(self, process: Process, code: int) -> Consequence:
        """What follows from the end of `process`.

        Args:
            process: that ended, while the session was running.
            code: its exit status, negative: the signal that killed it.
        """
        name, how = process.name, described(code)
        if process.concludes and code in (EXIT_CLEAN, EXIT_INTERRUPTED):
            return Consequence(code)
        if process.concludes and code == EXIT_EXPLAINED:
            return Consequence(EXIT_LOST)
        if process.may_finish and code == EXIT_CLEAN:
            return Consequence()
        if process.essential:
            return Consequence(EXIT_LOST, f"{name} was lost ({how}); ending the session", f"{name} lost: {how}")
        if process.fallback:
            return Consequence(line=f"{name} ended ({how})", starts=process.fallback)
        if process.respawn and self._respawns[name] < MAX_RESPAWNS:
            self._respawns[name] += 1
            return Consequence(line=f"{name} ended ({how}); started again", starts=name)
        if process.respawn or code != EXIT_CLEAN:
            return Consequence(line=f"{name} ended ({how}); going on without it")
        return Consequence()


def last(processes: Iterable[Process]) -> list[Process]:
    """Of running processes those that end when all others have: the arms are released to something that is there."""
    return [process for process in processes if process.ends_last]


def described(code: int) -> str:
    """An exit status in words; negative ones name the signal."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
