# SPDX-License-Identifier: Apache-2.0
"""Runs a session where there is no `ros2 launch`: the same graph, the same ending.

Exit status: 0 the session ended by itself, 130 it was interrupted, 1 a process that it cannot live without was lost,
2 it could not be started.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType

from h1_training_bringup.session import graph
from h1_training_bringup.session.closing_table import closing_lines
from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.middleware import graph_variables
from h1_training_bringup.session.operator_screen import LINES_VARIABLE, PLAIN_FROM_HERE, OperatorScreen, console_problem
from h1_training_bringup.session.page import with_page
from h1_training_bringup.session.process import OPERATORS, SessionOptions
from h1_training_bringup.session.processes import LogTail, ProcessGroup, StartError
from h1_training_bringup.session.session_setup import SessionRequest, ending_announcer, prepared, session_variables
from h1_training_bringup.session.supervisor import (
    ENDING,
    EXIT_CLEAN,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Consequence,
    Supervisor,
)
from h1_training_node.domain import DomainClaim, DomainsExhaustedError
from h1_training_node.folder_lock import FolderInUseError, FolderLock
from h1_training_node.process import ENDING_VARIABLE, interruption

_PERIOD_S = 0.05


def main() -> int:
    """Start a session as the command line says, and see it to its end; returns the exit status."""
    options = _parser().parse_args()
    try:
        configuration, session = prepared(_request(options))
        session = replace(session, console=_wants_console(options.console, session))
        configuration, page_lines = with_page(configuration)
        processes = graph.processes(configuration, session)
        log_dir = _new_log_dir(options.log_dir)
        environment = os.environ | {"ROS_LOG_DIR": str(log_dir / "ros")} | session_variables(log_dir)
        claims = [DomainClaim()] if session.simulated else []
        domain_id = claims[0].domain_id if claims else None
        variables, lines = graph_variables(os.environ, configuration["robot.network_interface"], domain_id)
        environment |= variables
        lock = FolderLock(session.save_dir)
        lock.export(environment)
        lines += [f"! {lock.remark}"] if lock.remark else []
        handed_down = [*(claim.fileno() for claim in claims), lock.fileno()]
        screen = OperatorScreen(Path(environment[LINES_VARIABLE]), hidden=session.console)
        group = ProcessGroup(processes, log_dir, environment, handed_down, options.namespace, screen.fileno())
    except (ConfigurationError, DomainsExhaustedError, FolderInUseError, StartError, OSError) as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return EXIT_USAGE
    print("\n".join((*lines, f"Logs: {log_dir}", *page_lines)), flush=True)
    started = time.time()
    announce = ending_announcer(Path(environment[ENDING_VARIABLE]), session.save_dir)
    status = Runner(group, screen, announce).run()
    # By the screen, which may be gone: that must not change the status.
    screen.print(*closing_lines(session.save_dir, started, screen.text()), f"Logs: {log_dir}", keeps_prompt=False)
    screen.follow()
    return status


class Runner:
    """Supervises a session's processes until it ends, and ends it.

    Args:
        group: the processes, not started yet.
        screen: where the operator's lines go.
        announce: says the cause of the end to those that are about to be ended.
    """

    def __init__(self, group: ProcessGroup, screen: OperatorScreen, announce: Callable[[str], None]) -> None:
        self._group = group
        self._screen = screen
        self._announce = announce
        self._supervisor = Supervisor()
        self._tail = LogTail({name: group.log_path(name) for name in group.names()}, time.monotonic)
        self._signal: signal.Signals | None = None
        self._console_left = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_console_left)

    def run(self) -> int:
        """Start everything, wait for the session's end, end everything; returns the exit status."""
        self._group.start()
        status: int | None = None
        while status is None:
            time.sleep(_PERIOD_S)
            self._show_warnings()
            if self._console_left:
                self._go_plain()
            self._screen.follow()
            if self._signal is not None:
                self._announce(interruption(self._signal))
            status = EXIT_INTERRUPTED if self._signal else self._status_of_ended()
        if status != EXIT_CLEAN:
            self._screen.print("", ENDING, keeps_prompt=False)
        killed = self._group.stop(self._meanwhile)  # among them: that the arms are about to be released
        self._show_warnings()
        self._screen.show()
        if killed:
            self._screen.print(f"Killed, because they did not end in time: {', '.join(killed)}")
        return status

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number)

    def _on_console_left(self, _number: int, _frame: FrameType | None) -> None:
        """The console has left the screen and goes on reading the keys."""
        self._console_left = True

    def _status_of_ended(self) -> int | None:
        """The session's exit status if a process that just ended has ended it, else None."""
        for process, code in self._group.ended():
            follows = self._supervisor.ended(process, code)
            self._carry_out(process.name, follows)
            if process.name == "console":
                self._go_plain()
            if follows.status is not None:
                return follows.status
        return None

    def _carry_out(self, name: str, follows: Consequence) -> None:
        if follows.cause:
            self._announce(follows.cause)
        if follows.starts:
            self._group.start_one(follows.starts)
        if follows.line:
            self._screen.print(f"! {follows.line}", *(f"    {text}" for text in self._tail.end_of(name)))

    def _meanwhile(self) -> None:
        self._show_warnings()
        self._screen.follow()

    def _go_plain(self) -> None:
        self._console_left = False
        self._screen.print(PLAIN_FROM_HERE)
        self._screen.show()

    def _show_warnings(self) -> None:
        for name, text in self._tail.warnings():
            self._screen.print(f"! {name}: {text}")


def _wants_console(wish: str, session: SessionOptions) -> bool:
    """Whether the console has the terminal.

    Raises:
        ConfigurationError: it was asked for and cannot be shown.
    """
    if session.operator != "keyboard" or wish == "no":
        return False
    problem = console_problem()
    if problem and wish == "yes":
        raise ConfigurationError(f"the console cannot be shown: {problem}")
    return not problem


def _request(options: argparse.Namespace) -> SessionRequest:
    given = {
        "save_dir": options.save_dir,
        "rsync.target": options.rsync_target,
        "simulation.epochs": options.epochs,
        "simulation.episodes": options.episodes,
    }
    changes = {path: value for path, value in given.items() if value is not None}
    return SessionRequest(options.sim, options.operator, options.config, changes)


def _new_log_dir(parent: Path) -> Path:
    path = parent.expanduser().absolute() / datetime.now().strftime("session_%Y%m%d_%H%M%S_%f")
    path.mkdir(parents=True)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run_session", description="Run a training session.")
    parser.add_argument("--sim", action="store_true", help="against the simulation; it can never move a robot")
    parser.add_argument("--config", type=Path, help="configuration file (default: the package's training_config.yaml)")
    parser.add_argument(
        "--operator", choices=OPERATORS, help="who presses the keys (default: keyboard; scripted with --sim)"
    )
    parser.add_argument("--namespace", default="", help="of the session's own names, for several robots, e.g. robot1")
    parser.add_argument(
        "--console",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether the operator at the keyboard sees the console instead of plain lines (auto: if it fits)",
    )
    parser.add_argument("--save-dir", help="folder of the episodes (save_dir)")
    parser.add_argument("--rsync-target", help="where to upload (rsync.target); with --sim a local folder")
    parser.add_argument("--epochs", help="epochs that the scripted operator runs")
    parser.add_argument("--episodes", help="episodes that it runs in each")
    parser.add_argument("--log-dir", type=Path, default=Path("~/.ros/log"), help="parent folder of the logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
