# SPDX-License-Identifier: Apache-2.0
"""The user's own training and serving, openpi's or LeRobot's say, as two commands; how many GPUs is their affair.

    export: "episodes export lerobot {episodes} {dataset}"
    train:  "uv run scripts/train.py pi05_h1 --exp-name {name} --data {dataset} --out {out}"
    serve:  "uv run scripts/serve_policy.py --port {port} policy:checkpoint --policy.dir {checkpoint}"

Each is split into arguments once, before the names in braces are filled in; no shell sees it. What `train` leaves in
`{out}` is the checkpoint. `serve` offers openpi's WebSocket on 127.0.0.1; its metadata and its replies are passed on as
they are. Without `serve` there is nothing to ask, which only a test can want.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import string
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import websockets.sync.client
from websockets.exceptions import WebSocketException

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.training_server.policy import Dataset, Policy, Report, TrainingError
from h1_policy_bridge.training_server.small import HoldPolicy
from h1_recorder.episode.apart import end_with_parent
from h1_training_node.parameter import parameter

_HOST = "127.0.0.1"
_POLL_S, _CLOSE_S, _END_S = 0.2, 0.5, 10.0
_LOG = "training_command.log"
_FIELDS = {
    "export": {"episodes", "dataset"},
    "train": {"dataset", "out", "previous", "name"},
    "serve": {"checkpoint", "port"},
}


@dataclass(frozen=True)
class CommandSettings:
    """The commands, and how long they are waited for."""

    train: str = parameter("", "trains: {dataset} {out} {previous} {name}")
    serve: str = parameter("", "serves openpi's WebSocket on 127.0.0.1: {checkpoint} {port}")
    export: str = parameter("", "makes or grows the dataset: {episodes} {dataset}; empty: it is links to the episodes")
    serve_untrained: str = parameter("", "serves before the first training: {port}; empty: the arms hold")
    progress: str = parameter("", r"regular expression with two groups in the output, e.g. 'step (\d+)/(\d+)'")
    health_s: float = parameter(600.0, "how long serving may take to answer", unit="s", low=1.0)
    infer_s: float = parameter(120.0, "how long an inference may take", unit="s", low=0.1)

    def __post_init__(self) -> None:
        if not (self.train and self.serve):
            raise ValueError("parameters 'train' and 'serve' are needed; see docs/training_server.md")
        for name, fields in (*_FIELDS.items(), ("serve_untrained", {"port"})):
            arguments(getattr(self, name), dict.fromkeys(fields, ""), name)
        try:
            groups = re.compile(self.progress).groups
        except re.error as error:
            raise ValueError(f"parameter 'progress': {error}") from None
        if self.progress and groups != 2:
            raise ValueError(f"parameter 'progress' has {groups} groups; expected two, done and of how many")


def arguments(command: str, values: dict[str, str | Sequence[str]], name: str) -> list[str]:
    """The command's arguments with the names in braces filled in; one that is a list, alone, becomes several.

    Raises:
        ValueError: it cannot be split, or a name in braces is not one of `values`.
    """
    try:
        parts = shlex.split(command)
        unknown = {field for part in parts for _, field, *_ in string.Formatter().parse(part) if field is not None}
    except ValueError as error:
        raise ValueError(f"parameter '{name}' cannot be split into arguments: {error}") from None
    if unknown := unknown - set(values):
        known = " ".join(f"{{{value}}}" for value in sorted(values))
        raise ValueError(f"parameter '{name}' has {{{sorted(unknown)[0]}}}; known are {known}")
    filled: list[str] = []
    for part in parts:
        value = values.get(part[1:-1]) if part.startswith("{") and part.endswith("}") else None
        if value is not None and not isinstance(value, str):
            filled += value
        else:
            filled.append(part.format(**{key: text for key, text in values.items() if isinstance(text, str)}))
    return filled


class CommandTrainer:
    """See the module and `policy.Trainer`."""

    settings_type = CommandSettings

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings

    def train(self, dataset: Dataset, previous: Path | None, out: Path, report: Report) -> dict[str, Any]:
        """Export, if there is a command for it, then train."""
        log = dataset.folder / _LOG
        episodes = [str(path) for path in dataset.episodes]
        began_s = time.monotonic()
        if self._settings.export:
            target = dataset.folder / "dataset"
            report(0.0, "exporting")
            values = {"episodes": episodes, "dataset": str(target)}
            self._run(arguments(self._settings.export, values, "export"), log, lambda _: None)
        else:
            target = _linked(dataset)
        exported_s = time.monotonic() - began_s

        def progressed(line: str) -> None:
            if self._settings.progress and (match := re.search(self._settings.progress, line)):
                with contextlib.suppress(ValueError, TypeError):  # a group that is no number, or took no part
                    done, of = (float(group) for group in match.groups())
                    report(min(done / max(of, 1.0), 1.0), line.strip()[:100])

        report(0.0, "training")
        values = {"dataset": str(target), "out": str(out), "previous": str(previous or ""), "name": out.name.strip(".")}
        self._run(arguments(self._settings.train, values, "train"), log, progressed)
        return {"export_s": round(exported_s, 1), "seconds": round(time.monotonic() - began_s, 1)}

    def load(self, checkpoint: Path | None) -> Policy:
        """Start the serving command and wait until it answers."""
        settings = self._settings
        if checkpoint is None and not settings.serve_untrained:
            return _Untrained()
        return ServedPolicy(
            settings.serve if checkpoint is not None else settings.serve_untrained,
            {"checkpoint": str(checkpoint or "")},
            settings,
        )

    @staticmethod
    def _run(command: list[str], log: Path, each_line: Any) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {shlex.join(command)}\n")
            last = ""
            with _started(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    file.write(line)
                    file.flush()
                    last = line.strip() or last
                    each_line(line)
        if process.returncode:
            raise TrainingError(f"{command[0]} ended with status {process.returncode}: {last[:200]} (all of it: {log})")


class _Untrained(HoldPolicy):
    """Holds for whatever robot asks: how many values the user's policies have is not known yet."""

    def __init__(self) -> None:
        super().__init__(None)
        self.metadata: dict[str, Any] = {}


class ServedPolicy:
    """A policy behind the user's own server, a child of this process.

    A request that got no answer ends the connection: what comes later would be taken for the next one's answer. The
    next request makes it again, and starts a command that has ended again.

    Attributes:
        metadata: what it says of itself.
    """

    def __init__(self, command: str, values: dict[str, Any], settings: CommandSettings) -> None:
        self._command, self._values, self._settings = command, values, settings
        self._asking = threading.Lock()
        self._process = self._begun()
        self._connection: Any = None
        self.metadata: dict[str, Any] = {}
        self._is_closed = False
        self._connect()

    def infer(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Pass it on. See `policy.Policy`."""
        with self._asking:  # clients, and the check of newer weights
            if self._is_closed:
                raise TrainingError("these weights serve no more")
            if self._connection is None:
                self._connect()
            try:
                self._connection.send(msgpack_numpy.pack(observation))
                reply = self._connection.recv(timeout=self._settings.infer_s)
            except TimeoutError:
                self._disconnect()
                raise TrainingError(f"the serving command did not answer within {self._settings.infer_s:g} s") from None
            except (OSError, WebSocketException) as error:
                self._disconnect()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_CLOSE_S)  # it may be about to end
                raise TrainingError(f"the serving command broke off: {error}") from None
            if isinstance(reply, str):  # openpi's servers close after it
                self._disconnect()
                raise TrainingError(f"the serving command: {reply.strip().splitlines()[-1][:300]}")
        unpacked: dict[str, Any] = msgpack_numpy.unpack(reply)
        return unpacked

    def close(self) -> None:
        """End the child."""
        self._is_closed = True
        self._disconnect()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        """Connect to the command, started again if it has ended.

        Raises:
            TrainingError: it ends, or does not answer in time; then it is ended.
        """
        try:
            if self._process.poll() is not None:
                self._process = self._begun()
            self._connection = self._connected()
            if self._is_closed:
                raise TrainingError("these weights serve no more")
        except TrainingError:
            self._end()
            raise

    def _begun(self) -> subprocess.Popen[str]:
        with socket.create_server((_HOST, 0)) as free:
            self._port = int(free.getsockname()[1])
        line = arguments(self._command, {**self._values, "port": str(self._port)}, "serve")
        return _started(line, stdout=subprocess.DEVNULL)

    def _connected(self) -> Any:
        limit_s = self._settings.health_s
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise TrainingError(f"the serving command ended with status {self._process.returncode}")
            try:
                connection = websockets.sync.client.connect(
                    f"ws://{_HOST}:{self._port}",
                    compression=None,
                    max_size=None,
                    ping_interval=None,
                    proxy=None,
                    close_timeout=_CLOSE_S,
                )
                metadata = connection.recv(timeout=max(0.1, deadline - time.monotonic()))
                unpacked = msgpack_numpy.unpack(metadata) if isinstance(metadata, bytes) else None
            except (OSError, WebSocketException, TimeoutError, msgpack_numpy.CodecError):
                time.sleep(_POLL_S)
                continue
            if isinstance(unpacked, dict):
                self.metadata = unpacked
                return connection
            raise TrainingError("the serving command's first message is no metadata of an openpi server")
        raise TrainingError(f"the serving command did not answer within {limit_s:g} s")


def _started(command: list[str], stdout: int) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout == subprocess.PIPE else None,
            text=True,
            errors="replace",
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
    except OSError as error:
        raise TrainingError(f"{command[0]}: {error.strerror}") from None


def _linked(dataset: Dataset) -> Path:
    """A folder with links to these episodes; beside the files lie others, held out or refused."""
    folder, common = dataset.folder / "episodes", os.path.commonpath([path.parent for path in dataset.episodes])
    shutil.rmtree(folder, ignore_errors=True)
    for path in dataset.episodes:
        link = folder / path.relative_to(common)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder
