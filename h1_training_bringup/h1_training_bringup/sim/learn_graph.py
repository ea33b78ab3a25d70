# SPDX-License-Identifier: Apache-2.0
"""Learning over the real graph: sessions, files, upload, training server as they are; only robot and person are played.

One session runs all epochs with the scripted operator; the training server stands beside it. Each checkpoint is
evaluated at virtual time, at the lowest priority, while the session goes on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml
from ament_index_python.packages import get_package_prefix

from h1_policy_bridge.training_server.policy import Trainer
from h1_policy_bridge.training_server.rows import read_rows
from h1_policy_bridge.training_server.store import UNTRAINED, Store
from h1_policy_bridge.training_server.training import make_trainer
from h1_training_bringup.sim.learn import ABLATIONS, Collected, Evaluator, Plan, changed_scenes
from h1_training_bringup.sim.learning_curve import SEALED, CurveRow
from h1_training_bringup.sim.task import PROMPTS, PUSH, REACH
from h1_training_node import strict_yaml
from h1_training_node.parameter import ParameterError
from h1_training_node.process import ENDS_WITH_PARENT

_CALM_S = 4.0
_LOOK_S = 0.5
_TRAINING_LIMIT_S = 300.0
_ENDING_LIMIT_S = 120.0
_IMAGE_QUALITY = 50
"""46 episodes then stay below a gigabyte."""
_LEARNT_BY_GRAPH = {name for name in ABLATIONS if name != "demonstrations"}


class LearnError(RuntimeError):
    """The run came to nothing; the message says where to look."""


def over_the_graph(plan: Plan, out: Path, own_trainer: Path | None) -> list[CurveRow]:
    """Run the loop; the rows of its curve.

    Args:
        plan: what to run.
        out: folder, in which a folder of this seed's own is made again.
        own_trainer: settings of a `command` trainer, a YAML file; None: the small one.

    Raises:
        LearnError: the session or the server did not do what they should.
    """
    if plan.ablation not in _LEARNT_BY_GRAPH:
        raise LearnError(f"ablation '{plan.ablation}' needs --fast: a session always runs the policy first")
    name, settings = ("small", ABLATIONS[plan.ablation]) if own_trainer is None else ("command", _settings(own_trainer))
    try:
        trainer = make_trainer(name, settings)
    except ParameterError as error:
        raise LearnError(f"--trainer {own_trainer}: {error}") from None
    folder = (out / f"seed{plan.seed}").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "uploaded").mkdir(parents=True)
    with _server(folder, name, settings) as port, _session(plan, folder, port) as session:
        os.nice(19)  # what follows must not disturb the session
        return _Watch(plan, folder, port, trainer).rows(session)


def _settings(own_trainer: Path) -> dict[str, Any]:
    try:
        found = strict_yaml.load(own_trainer.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LearnError(f"--trainer {own_trainer}: {error}") from None
    if not isinstance(found, dict):
        raise LearnError(f"--trainer {own_trainer}: expected a mapping of the trainer's settings")
    return found


def await_end(session: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a session that has done all its epochs has ended.

    Raises:
        LearnError: it does not, or not well; names its output in `folder`.
    """
    try:
        status = session.wait(_ENDING_LIMIT_S)
    except subprocess.TimeoutExpired:
        how = f"did not end within {_ENDING_LIMIT_S:g} s"
    else:
        how = f"ended with status {status}" if status else ""
    if how:
        raise LearnError(f"the session {how}; see {folder / 'session.txt'}")


class _Watch:
    """Evaluates each checkpoint as it comes to serve."""

    def __init__(self, plan: Plan, folder: Path, port: int, trainer: Trainer) -> None:
        self._plan, self._folder, self._port, self._trainer = plan, folder, port, trainer
        self._store = Store(folder / "checkpoints")
        self._evaluator = Evaluator(plan)

    def rows(self, session: subprocess.Popen[bytes]) -> list[CurveRow]:
        found = [self._row(0, UNTRAINED)]
        while len(found) <= self._plan.epochs:
            served = self._served_at(len(found), session)
            found.append(self._row(len(found), served))
        await_end(session, self._folder)
        last = self._store.served()
        assert last is not None
        found.append(self._row(self._plan.epochs, last.checkpoint, SEALED))
        if self._plan.changes_scenes:
            policy = self._trainer.load(self._store.path(last.checkpoint))
            found += changed_scenes(self._plan, policy, self._collected(self._plan.epochs), lambda _: None)
        return found

    def _served_at(self, epoch: int, session: subprocess.Popen[bytes]) -> str:
        """The checkpoint of an epoch, waited for while the session lives, and for one training longer."""
        deadline = None
        while True:
            served = self._store.served()
            history = {entry["epoch"]: entry["checkpoint"] for entry in served.history} if served is not None else {}
            if epoch in history:
                return str(history[epoch])
            if session.poll() is not None:
                deadline = deadline or time.monotonic() + _TRAINING_LIMIT_S
                if session.returncode or time.monotonic() > deadline:
                    raise LearnError(
                        f"the session ended with status {session.returncode} before epoch {epoch}; "
                        f"see {self._folder / 'session.txt'}; the server says {self._status()}"
                    )
            time.sleep(_LOOK_S)

    def _status(self) -> str:
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/training_status", timeout=5).text.strip()
        except requests.RequestException as error:
            return f"nothing: {error}"

    def _row(self, epoch: int, checkpoint: str, *objects: str) -> CurveRow:
        path = self._store.path(checkpoint)
        policy = self._trainer.load(path)
        metrics = self._store.manifest(checkpoint).metrics if path is not None else {}
        # A user's own trainer says how long it took, and not what it cost.
        train_s = float(metrics.get("cpu_seconds", metrics.get("seconds", 0.0)))
        row = self._evaluator.row(policy, epoch, self._collected(epoch), train_s, *objects)
        policy.close()
        print(json.dumps({"epoch": epoch, "checkpoint": checkpoint, "success": row.success}), flush=True)
        return row

    def _collected(self, epoch: int) -> Collected:
        """What had been uploaded when the weights of `epoch` were made."""
        collected = Collected()
        for number in range(epoch):
            collected.begin_epoch()
            folder = self._folder / "uploaded" / f"training_session_epoch{number}"
            for path in sorted(folder.glob("episode_*.hdf5")):
                collected.add(read_rows(path, images=False))
        return collected


@contextmanager
def _server(folder: Path, trainer: str, settings: dict[str, Any]) -> Iterator[int]:
    """A training server on a free port."""
    chosen = folder / "trainer.yaml"
    chosen.write_text(yaml.safe_dump(settings), encoding="utf-8")
    options = {
        "--trainer": trainer,
        "--settings": chosen,
        "--watch-dir": folder / "uploaded",
        "--checkpoints": folder / "checkpoints",
        "--calm-s": _CALM_S,
        "--port": 0,
    }
    command = [*ENDS_WITH_PARENT, sys.executable, "-m", "h1_policy_bridge.training_server.main"]
    command += [str(part) for option in options.items() for part in option]
    log = folder / "policy_server.txt"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        while not (match := re.search(r"listening on ws://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))):
            if server.poll() is not None:
                raise LearnError(f"the training server ended with status {server.returncode}; see {log}")
            time.sleep(0.1)
        yield int(match[1])
    finally:
        server.terminate()
        server.wait(30.0)


@contextmanager
def _session(plan: Plan, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A whole session with the scripted operator."""
    config = folder / "session.yaml"
    simulation = {
        "policy_server_port": port,
        "seed": plan.seed,
        "epochs": plan.epochs,
        "episodes": plan.episodes,
        "first_episodes": plan.first_episodes,
        "resume_in_episode": 0,
        "pushes": plan.task == PUSH,
    }
    settings: dict[str, Any] = {"simulation": simulation, "recording": {"image_quality": _IMAGE_QUALITY}}
    if plan.task != REACH:
        settings["task"] = {"name": f"sim_{plan.task}", "description": PROMPTS[plan.task]}
    config.write_text(yaml.safe_dump(settings))
    runner = Path(get_package_prefix("h1_training_bringup")) / "lib" / "h1_training_bringup" / "run_session"
    options = {
        "--operator": "scripted",
        "--console": "no",
        "--config": config,
        "--save-dir": folder / "episodes",
        "--rsync-target": folder / "uploaded",
        "--log-dir": folder / "log",
    }
    command = [*ENDS_WITH_PARENT, str(runner), "--sim", *(str(part) for option in options.items() for part in option)]
    with (folder / "session.txt").open("wb") as output:
        session = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield session
    finally:
        session.terminate()
        try:
            session.wait(60.0)
        except subprocess.TimeoutExpired:
            session.kill()
