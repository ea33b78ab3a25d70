# SPDX-License-Identifier: Apache-2.0
"""What is to be done in child processes, one at a time: save this episode, label it, recover what was left behind.

So it costs no other node a moment. A child runs one command of `python -m h1_recorder`, given to it on its standard
input, in a process group of its own (a Ctrl+C at the terminal is not for it), behind the nodes that move the arms, and
it dies with its parent: what it was about to save is still in the journal, and a second recorder never meets the first
one's saver in the same folder. It reports on its standard output, one JSON object a line; what else it has to say goes
to the parent's standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h1_recorder.episode.apart import end_with_parent

CHILD_OPTION = "--child-of"
_NICE = 5
"""As the session's other nodes, behind those that move the arms; somebody waits for the save, so no further behind."""

Done = Callable[[list[dict[str, Any]], str], None]


class SaveProcess:
    """A child: started idle, with everything imported, `begin` says what to do.

    Attributes:
        progress: 0..1, as last reported.
        reports: everything reported but progress, in order.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "h1_recorder", CHILD_OPTION, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._rest = b""
        self.progress = 0.0
        self.reports: list[dict[str, Any]] = []

    def begin(self, arguments: Sequence[str]) -> None:
        """Have it run one command of `python -m h1_recorder` and end.

        Raises:
            OSError: it is dead already.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
        self._process.stdin.close()

    def poll(self) -> int | None:
        """Take in what was reported; the exit status once it has ended, else None."""
        if self._process.stdout is None:
            return self._process.returncode
        status = self._process.poll()  # before reading, so that nothing is left unread when it has ended
        while True:
            try:
                block = os.read(self._out, 65536)
            except BlockingIOError:
                break
            if not block:
                break
            self._rest += block
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._take(line)
        if status is not None:
            self._process.stdout.close()
            self._process.stdout = None
        return status

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once; a file without its final name is all that it leaves."""
        if self.alive:
            self._process.kill()
            self._process.wait()

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except ValueError:
            return
        if "progress" in report:
            self.progress = float(report["progress"])
        else:
            self.reports.append(report)


class SaveStarter:
    """Starts children, and keeps one ready if asked: starting Python and its libraries takes longer than to save."""

    def __init__(self) -> None:
        self._spare: SaveProcess | None = None

    def warm(self) -> None:
        """Have a child ready."""
        if self._spare is None or not self._spare.alive:
            self._spare = SaveProcess()

    def start(self, arguments: Sequence[str]) -> SaveProcess:
        """A child that runs these arguments.

        Raises:
            OSError: it cannot be started.
        """
        self.warm()
        assert self._spare is not None
        child, self._spare = self._spare, None
        child.begin(arguments)
        return child

    def close(self) -> None:
        """End the child that is kept ready."""
        if self._spare is not None:
            self._spare.kill()
            self._spare = None


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

    def __init__(self, starter: SaveStarter | None = None) -> None:
        self._starter = starter or SaveStarter()
        self._waiting: deque[Job] = deque()
        self._running: tuple[Job, SaveProcess] | None = None

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
        self._add(Job(["label", "--json", "--outcome", outcome, str(episode)], done))

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


def arguments_for_child(parent: int) -> list[str] | None:
    """In the child: what it has to do; None if it is not needed after all.

    It dies with `parent`, steps back behind the nodes that move the arms, and has all ready while it waits.
    """
    from h1_recorder.episode.tracks import prepare  # not for the parent

    if not end_with_parent(parent):
        return None
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    prepare()
    line = sys.stdin.readline()
    return list(map(str, json.loads(line))) if line else None


def save_arguments(journals: Sequence[Path]) -> list[str]:
    """Arguments that save these journals."""
    return ["recover", "--json", *map(str, journals)]
