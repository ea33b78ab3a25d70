# SPDX-License-Identifier: Apache-2.0
"""One training in a process of its own: started, watched, ended. The server goes on serving meanwhile.

The child reads what to do from a file, says how far it is by lines of JSON, runs at the lowest priority on one thread,
and dies with its parent. It may fail, hang or be killed: what comes of it is then a reason, and no checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h1_policy_bridge.training_server.command import CommandTrainer
from h1_policy_bridge.training_server.policy import Dataset, Trainer, TrainingError
from h1_policy_bridge.training_server.scripted import ScriptedTrainer
from h1_policy_bridge.training_server.small import SmallTrainer
from h1_recorder.episode.apart import end_with_parent
from h1_training_node.parameter import ParameterError, from_values

TRAINERS: dict[str, type[Any]] = {"small": SmallTrainer, "command": CommandTrainer, "scripted": ScriptedTrainer}
JOB, LOG = "job.json", "training.log"
_PARENT_VARIABLE = "H1_TRAINING_PARENT_PID"
_LOWEST_PRIORITY = 19
_END_S, _BLOCK = 5.0, 1 << 16
_FAILED = 3


def make_trainer(name: str, settings: Mapping[str, Any]) -> Trainer:
    """A trainer by its name in `TRAINERS`, or `MODULE:CLASS`.

    Raises:
        ParameterError: there is none, or a setting is not one of its.
    """
    cls: Any = TRAINERS.get(name)
    if cls is None:
        module, _, attribute = name.partition(":")
        if not attribute:
            raise ParameterError(f"no trainer '{name}'; there are {', '.join(TRAINERS)}, or your own as MODULE:CLASS")
        try:
            cls = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ParameterError(f"trainer '{name}': {error}") from None
    trainer: Trainer = cls(from_values(cls.settings_type, settings, owner=f"trainer '{name}'"))
    return trainer


@dataclass(frozen=True)
class TrainingJob:
    """What a child is to do; all that it needs to know."""

    trainer: str
    settings: dict[str, Any]
    episodes: list[str]
    dataset: str
    previous: str
    out: str


class Training:
    """A child at work.

    Args:
        job: what it is to do.
        workplace: folder for the job's file and the log; not `job.out`.
        limit_s: after which it is ended.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, job: TrainingJob, workplace: Path, limit_s: float) -> None:
        self._limit_s = limit_s
        self._began_s = time.monotonic()
        self._workplace = workplace
        path = workplace / JOB
        path.write_text(json.dumps(vars(job)), encoding="utf-8")
        with (workplace / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "h1_policy_bridge.training_server.training", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=os.environ | {_PARENT_VARIABLE: str(os.getpid())},
            )
        assert self._process.stdout is not None
        self._out, self._rest = self._process.stdout.fileno(), b""
        os.set_blocking(self._out, False)
        self.progress = 0.0
        self.doing = ""
        self.metrics: dict[str, Any] = {}
        self._failure = ""

    @property
    def is_over(self) -> bool:
        """Look at it; True once the child has ended or was ended."""
        self._read()
        if self._process.poll() is None and time.monotonic() - self._began_s > self._limit_s:
            self._failure = f"the training was ended: not done within {self._limit_s:g} s"
            self.end()
        if self._process.poll() is None:
            return False
        self._read()
        return True

    @property
    def failure(self) -> str:
        """Why it came to nothing; empty if it did its work. Once it is over."""
        status = self._process.returncode
        if self._failure or not status:
            return self._failure
        if status < 0:
            return f"the training was killed by {signal.Signals(-status).name}"
        tail = (self._workplace / LOG).read_text(errors="replace").strip().splitlines()[-1:]
        return f"the training ended with status {status}: {tail[0][:200] if tail else 'it said nothing'}"

    def end(self) -> None:
        """End the child and all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_END_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()

    def _read(self) -> None:
        """Take in what the child has said by now, whole lines only."""
        while True:
            try:
                block = os.read(self._out, _BLOCK)
            except BlockingIOError:
                return
            if not block:
                return
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, TypeError, AttributeError):  # else a library's own words
            fields = json.loads(line)
            self.progress = float(fields.get("progress", self.progress))
            self.doing = str(fields.get("doing", self.doing))
            self.metrics = dict(fields.get("metrics", self.metrics))
            self._failure = str(fields.get("failure", self._failure))


def main() -> int:
    """The child: do the job in the file that is named."""
    if not end_with_parent(int(os.environ.get(_PARENT_VARIABLE, "0"))):
        return _FAILED
    os.nice(_LOWEST_PRIORITY)
    job = TrainingJob(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

    def say(**fields: Any) -> None:
        print(json.dumps(fields), flush=True)

    dataset = Dataset([Path(path) for path in job.episodes], Path(job.dataset))
    try:
        trainer = make_trainer(job.trainer, job.settings)
        metrics = trainer.train(
            dataset,
            Path(job.previous) if job.previous else None,
            Path(job.out),
            lambda share, doing: say(progress=share, doing=doing),
        )
    except (TrainingError, ParameterError, OSError) as error:
        say(failure=str(error))
        return _FAILED
    say(progress=1.0, metrics=metrics)
    return 0


if __name__ == "__main__":
    sys.exit(main())
