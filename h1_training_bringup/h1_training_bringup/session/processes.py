# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a graph and ends them all, whatever happens to one of them.

One process group, so that the terminal's Ctrl+C reaches everyone and `/dev/tty` opens in the keyboard node. Each
process writes to a log file of its own and not through this one: a dead parent must not break anybody's output. What
of it the operator must see is picked out of the files.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from h1_training_bringup.session.graph import wrapper
from h1_training_bringup.session.operator_screen import Warnings
from h1_training_bringup.session.process import Process, namespace_problem
from h1_training_bringup.session.supervisor import PEERS_STOP_TIMEOUT_S, STOP_TIMEOUT_S
from h1_training_node.process import PRIORITY_VARIABLE

_POLL_S = 0.1


class StartError(RuntimeError):
    """A process cannot be started; the message says what to do."""


def executable_path(process: Process) -> Path:
    """Where a process' executable was installed.

    Raises:
        StartError: the package, or the executable in it, is not there.
    """
    try:
        path = Path(get_package_prefix(process.package)) / "lib" / process.package / process.executable
    except PackageNotFoundError:
        raise StartError(
            f"{process.name}: package '{process.package}' is not installed here; "
            "install what the packages need (rosdep install), or build and source the workspace"
        ) from None
    if not path.exists():
        raise StartError(f"{process.name}: {path} is missing; build the workspace again")
    return path


class ProcessGroup:
    """The running processes of one session.

    Args:
        processes: what to run.
        log_dir: folder for logs and parameter files; it exists.
        environment: what every process inherits.
        pass_fds: descriptors that every process inherits.
        namespace: of the session's own names; empty: none.
        screen: descriptor that the operator's lines go to; None: standard output.

    Raises:
        StartError: an executable is not there, or the namespace is none.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        log_dir: Path,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        namespace: str = "",
        screen: int | None = None,
    ) -> None:
        if problem := namespace_problem(namespace):
            raise StartError(problem)
        self._commands = {process.name: self._command(process, log_dir, namespace) for process in processes}
        self._descriptions = {process.name: process for process in processes}
        self._log_dir = log_dir
        self._environment = dict(environment)
        self._pass_fds = tuple(pass_fds)
        self._screen = sys.stdout.fileno() if screen is None else screen
        self._running: dict[str, psutil.Popen] = {}

    def start(self) -> None:
        """Start them all but those on standby; none waits for another."""
        for name, process in self._descriptions.items():
            if not process.standby:
                self._spawn(name)

    def start_one(self, name: str) -> None:
        """Start the process of that name, if it is one of these and does not run."""
        if name in self._descriptions and name not in self._running:
            self._spawn(name)

    def log_path(self, name: str) -> Path:
        """The log file of the process `name`."""
        return self._log_dir / f"{name}.log"

    def names(self) -> tuple[str, ...]:
        """The names of all processes, running or not."""
        return tuple(self._descriptions)

    def ended(self) -> list[tuple[Process, int]]:
        """Processes that ended since the last call, with their exit status (negative: the signal that killed it)."""
        result = []
        for name, popen in list(self._running.items()):
            if popen.poll() is not None:
                del self._running[name]
                result.append((self._descriptions[name], int(popen.returncode)))
        return result

    def stop(self, meanwhile: Callable[[], None] = lambda: None) -> list[str]:
        """End every process: the session's own first, simulated peers and keyboard when those are gone.

        Args:
            meanwhile: called again and again until they are gone.

        Returns:
            Names of those that did not end in time and were killed.
        """
        deadline = time.monotonic() + STOP_TIMEOUT_S
        late = {name for name, process in self._descriptions.items() if process.ends_last}
        killed = self._stop_some(set(self._running) - late, signal.SIGINT, deadline, meanwhile)
        peers = set(self._running) & late
        return killed + self._stop_some(peers, signal.SIGTERM, time.monotonic() + PEERS_STOP_TIMEOUT_S, meanwhile)

    def _stop_some(
        self, names: set[str], number: signal.Signals, deadline: float, meanwhile: Callable[[], None]
    ) -> list[str]:
        some = {name: self._running.pop(name) for name in sorted(names)}
        for popen in some.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                popen.send_signal(number)
        alive = list(some.values())
        while alive and (left_s := deadline - time.monotonic()) > 0:
            _, alive = psutil.wait_procs(alive, timeout=min(left_s, _POLL_S))
            meanwhile()
        killed = [name for name, popen in some.items() if popen in alive]
        for name in killed:
            with contextlib.suppress(psutil.NoSuchProcess):
                some[name].kill()
            some[name].wait()
        return killed

    def _spawn(self, name: str) -> None:
        process = self._descriptions[name]
        with self.log_path(name).open("ab") as log:
            self._running[name] = psutil.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL,
                stdout=self._screen if process.on_terminal else log,
                stderr=log,
                env=self._environment | {PRIORITY_VARIABLE: process.priority},
                pass_fds=self._pass_fds,
            )

    @staticmethod
    def _command(process: Process, log_dir: Path, namespace: str) -> list[str]:
        command = [*wrapper(process), str(executable_path(process)), *process.arguments]
        if process.arguments:
            return command
        parameters = log_dir / f"{process.name}.params.yaml"
        parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(process.parameters)}}))
        command += ["--ros-args", "-r", f"__node:={process.name}", "--params-file", str(parameters)]
        if namespace:
            command += ["-r", f"__ns:=/{namespace.strip('/')}"]
        for name, replacement in process.remappings:
            command += ["-r", f"{name}:={replacement}"]
        return command


class LogTail:
    """New warnings of some growing files.

    Args:
        files: log file by node name; a file may not exist yet.
        monotonic_s: the clock of `Warnings`.
    """

    def __init__(self, files: Mapping[str, Path], monotonic_s: Callable[[], float]) -> None:
        self._files = dict(files)
        self._offsets = dict.fromkeys(files, 0)
        self._warnings = Warnings(monotonic_s)

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Node name and text of every warning written since the last call."""
        for name, path in self._files.items():
            for line in self._new_lines(name, path):
                text = self._warnings.text(name, line)
                if text is not None:
                    yield name, text

    def end_of(self, name: str, count: int = 5) -> list[str]:
        """The last `count` lines of a node's log, for when it died."""
        try:
            return self._files[name].read_text(errors="replace").splitlines()[-count:]
        except OSError:
            return []

    def _new_lines(self, name: str, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._offsets[name])
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[name] += len(whole)
        return whole.decode(errors="replace").splitlines()
