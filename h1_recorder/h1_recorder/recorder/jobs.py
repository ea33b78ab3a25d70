# SPDX-License-Identifier: Apache-2.0
"""What is to be done in child processes, one at a time: save this episode, label it, recover what was left behind."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from h1_recorder.recorder.save_process import SaveStarter, label_arguments, save_arguments


class ChildProcess(Protocol):
    """What a job needs of a child process; `SaveProcess` is one."""

    progress: float
    reports: list[dict[str, Any]]

    def poll(self) -> int | None:
        """Exit status once it has ended, else None."""

    def kill(self) -> None:
        """End it at once."""


class Starter(Protocol):
    """What `Jobs` needs to start children; `SaveStarter` is one."""

    def warm(self) -> None:
        """Have a child ready."""

    def start(self, arguments: Sequence[str]) -> ChildProcess:
        """A child that runs these arguments."""

    def close(self) -> None:
        """End the child that is kept ready."""


Done = Callable[[list[dict[str, Any]], str], None]


@dataclass(frozen=True)
class Job:
    """Something for a child process.

    Attributes:
        arguments: of `python -m h1_recorder`.
        done: is called with the child's reports and, if it failed as a whole, why.
        recovers: journals of a recovery, which everything else goes before.
    """

    arguments: Sequence[str]
    done: Done
    recovers: Sequence[Path] = ()

    @property
    def urgent(self) -> bool:
        """Somebody waits for it."""
        return not self.recovers


class Jobs:
    """Runs jobs one after the other; call `poll` regularly.

    Args:
        starter: starts children.
    """

    def __init__(self, starter: Starter | None = None) -> None:
        self._starter = starter or SaveStarter()
        self._waiting: deque[Job] = deque()
        self._running: tuple[Job, ChildProcess] | None = None

    @property
    def progress(self) -> float:
        """Of the urgent job that runs, 0..1."""
        return self._running[1].progress if self._running and self._running[0].urgent else 0.0

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing waits."""
        return self._running is None and not self._waiting

    def warm(self) -> None:
        """A save will come: have a child ready for it."""
        with contextlib.suppress(OSError):  # then it is started when it is needed, or says why it cannot be
            self._starter.warm()

    def save(self, journal: Path, done: Done) -> None:
        """Save the episode that a journal is."""
        self._add(Job(save_arguments([journal]), done))

    def label(self, episode: Path, outcome: str, done: Done) -> None:
        """Label a finished episode."""
        self._add(Job(label_arguments(episode, outcome), done))

    def recover(self, journals: Sequence[Path], done: Done) -> None:
        """Save what was left behind, when nothing else is to be done; `done` may be called for some at a time."""
        if journals:
            self._waiting.append(Job(save_arguments(journals), done, journals))

    def poll(self) -> None:
        """Take in what the child says, start the next."""
        if self._running is not None:
            job, process = self._running
            status = process.poll()
            if status is None:
                return
            self._running = None
            job.done(process.reports, "" if status == 0 else f"the saving process ended with status {status}")
        if self._waiting and self._running is None:
            job = self._waiting.popleft()
            try:
                self._running = (job, self._starter.start(job.arguments))
            except OSError as error:
                job.done([], f"cannot start the saving process: {error}")

    def drop_recovery(self) -> None:
        """End what is not urgent; the next start does it."""
        self._interrupt_recovery()
        self._waiting = deque(job for job in self._waiting if job.urgent)

    def kill(self) -> None:
        """End everything."""
        self._starter.close()
        self._waiting.clear()
        if self._running is not None:
            self._running[1].kill()
            self._running = None

    def _add(self, job: Job) -> None:
        self._interrupt_recovery()
        self._waiting.appendleft(job)

    def _interrupt_recovery(self) -> None:
        """End it if it runs: what it has done by now is done, and what is left waits."""
        if self._running is None or self._running[0].urgent:
            return
        (job, process), self._running = self._running, None
        process.kill()
        process.poll()
        done = {report.get("journal") for report in process.reports}
        self.recover([journal for journal in job.recovers if str(journal) not in done], job.done)
        job.done(process.reports, "")
