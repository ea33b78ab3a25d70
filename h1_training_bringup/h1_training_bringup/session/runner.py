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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType

from h1_training_bringup.session import graph
from h1_training_bringup.session.closing_table import closing_table
from h1_training_bringup.session.configuration import ConfigurationError
from h1_training_bringup.session.log_tail import LogTail
from h1_training_bringup.session.middleware import robot_notice, robot_variables, simulation_variables
from h1_training_bringup.session.operator_screen import LINES_VARIABLE, OperatorScreen, console_fits
from h1_training_bringup.session.process import OPERATORS, Session
from h1_training_bringup.session.processes import ProcessGroup, StartError
from h1_training_bringup.session.session_setup import SessionRequest, prepared
from h1_training_node.clock import SessionClock
from h1_training_node.domain import DomainClaim, DomainsExhaustedError
from h1_training_node.process import EXIT_EXPLAINED, PARENT_VARIABLE

EXIT_CLEAN, EXIT_LOST, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
ENDING = "Ending: arms to damping, then released; data being saved (up to 15 s) ..."
_PERIOD_S = 0.05


def main() -> int:
    """Start a session as the command line says, and see it to its end; returns the exit status."""
    options = _parser().parse_args()
    try:
        configuration, session = prepared(_request(options))
        session = replace(session, console=_wants_console(options.console, session))
        processes = graph.processes(configuration, session)
        log_dir = _new_log_dir(options.log_dir)
        environment = os.environ | {"ROS_LOG_DIR": str(log_dir / "ros")} | session_variables()
        if not session.simulated:
            interface = configuration["robot.network_interface"]
            environment |= (network := robot_variables(interface, os.environ))
            if notice := robot_notice(interface, os.environ, network):
                print(notice)
        claims = [DomainClaim()] if session.simulated else []
        for claim in claims:
            environment |= simulation_variables(claim.domain_id)
            print(f"Simulation: ROS_DOMAIN_ID={claim.domain_id} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST")
        handed_down = [claim.fileno() for claim in claims]
        screen = OperatorScreen(log_dir / "operator.log", hidden=session.console)
        environment[LINES_VARIABLE] = str(log_dir / "operator.log")
        group = ProcessGroup(processes, log_dir, environment, handed_down, options.namespace, screen.fileno())
    except (ConfigurationError, DomainsExhaustedError, StartError, OSError) as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"Logs: {log_dir}", flush=True)
    started = time.time()
    status = Runner(group, screen).run()
    print(closing_table(session.save_dir, started), flush=True)
    print(f"Logs: {log_dir}", flush=True)
    return status


def session_variables() -> dict[str, str]:
    """What is handed down to every process: the clock, the parent, and how to behave."""
    variables = {
        PARENT_VARIABLE: str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        # Warnings are found in what the nodes log, by their first word.
        "RCUTILS_COLORIZED_OUTPUT": "0",
        # Matrices of 14 joints: a second thread of a linear algebra library would only spin.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    SessionClock.from_environment().export(variables)
    return variables


class Runner:
    """Watches over a session's processes until it ends, and ends it.

    Args:
        group: the processes, not started yet.
        screen: where the operator's lines go.
    """

    def __init__(self, group: ProcessGroup, screen: OperatorScreen) -> None:
        self._group = group
        self._screen = screen
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
            status = EXIT_INTERRUPTED if self._signal else self._status_of_ended()
        if status != EXIT_CLEAN:
            self._screen.print(f"\n{ENDING}")
        killed = self._group.stop(self._meanwhile)  # among them: that the arms are about to be given back
        self._show_warnings()
        self._screen.show()
        if killed:
            print(f"Killed, because they did not end in time: {', '.join(killed)}", file=sys.stderr)
        return status

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number)

    def _status_of_ended(self) -> int | None:
        """The session's exit status if a process that just ended has ended it, else None."""
        for process, code in self._group.ended():
            if process.name == "session_manager" and code in (EXIT_CLEAN, EXIT_INTERRUPTED):
                return code
            if process.name == "session_manager" and code == EXIT_EXPLAINED:
                return EXIT_LOST
            if process.executable == "sim_operator" and code == 0:
                continue
            if process.name == "console":
                self._console_lost(code)
                continue
            if process.essential:
                self._report(f"{process.name} was lost ({described(code)}); ending the session", process.name)
                return EXIT_LOST
            if self._group.respawn(process):
                self._report(f"{process.name} ended ({described(code)}); started again", process.name)
            elif process.respawn or code != 0:
                self._report(f"{process.name} ended ({described(code)}); going on without it", process.name)
        return None

    def _meanwhile(self) -> None:
        self._show_warnings()
        self._screen.follow()

    def _on_console_left(self, _number: int, _frame: FrameType | None) -> None:
        """The console has left the screen and goes on reading the keys."""
        self._console_left = True

    def _go_plain(self) -> None:
        self._console_left = False
        self._screen.print("  The session goes on in plain lines; the command `console` shows it again elsewhere")
        self._screen.show()

    def _console_lost(self, code: int) -> None:
        """Killed: another process reads the keys from now on."""
        self._group.start_standby("keyboard")
        self._report(f"console ended ({described(code)})", "console")
        self._go_plain()

    def _report(self, line: str, name: str) -> None:
        self._screen.print(f"! {line}")
        for text in self._tail.end_of(name):
            self._screen.print(f"    {text}")

    def _show_warnings(self) -> None:
        for name, text in self._tail.warnings():
            self._screen.print(f"! {name}: {text}")


def _wants_console(wish: str, session: Session) -> bool:
    """Whether the console has the terminal.

    Raises:
        ConfigurationError: it was asked for and cannot be shown.
    """
    if session.operator != "keyboard" or wish == "no":
        return False
    problem = console_fits()
    if problem and wish == "yes":
        raise ConfigurationError(f"the console cannot be shown: {problem}")
    return not problem


def described(code: int) -> str:
    """An exit status in words; negative ones name the signal."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


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
    parser.add_argument("--epochs", type=int, help="epochs that the scripted operator runs")
    parser.add_argument("--episodes", type=int, help="episodes that it runs in each")
    parser.add_argument("--log-dir", type=Path, default=Path("~/.ros/log"), help="parent folder of the logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
