# SPDX-License-Identifier: Apache-2.0
"""Carries out the supervisor's rules under `ros2 launch`."""

from __future__ import annotations

import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from pathlib import Path

from launch import Event, LaunchContext
from launch.action import Action
from launch.actions import EmitEvent, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted, SignalProcess
from launch.logging import launch_config

from h1_training_bringup.session.closing_table import closing_lines
from h1_training_bringup.session.operator_screen import PLAIN_FROM_HERE, OperatorScreen, Warnings
from h1_training_bringup.session.process import Process
from h1_training_bringup.session.supervisor import ENDING, EXIT_LOST, Supervisor, last
from h1_training_node.process import interruption

RESPAWN_DELAY_S = 1.0
Starter = Callable[[], list[Action]]
"""Makes the actions that start a process, each time new ones."""


class LaunchSupervisor:
    """What is added to launch's own ways.

    The operator's terminal shows the session manager's output as it comes, and warnings of the others; the loss of a
    node that the session cannot live without ends it with status 1; simulated peers and the keyboard end when all
    others have, so that the arms are released to something that is still there.

    Args:
        processes: what runs, and what starts each.
        screen: where the operator's lines go.
        announce: says the cause of the end to those that are about to be ended.
        save_dir: folder of the episodes, for the table at the end; None shows none.
    """

    def __init__(
        self,
        processes: Iterable[tuple[Process, Starter]],
        screen: OperatorScreen,
        announce: Callable[[str], None],
        save_dir: Path | None = None,
    ) -> None:
        self._starters = {process.name: (process, starter) for process, starter in processes}
        self._screen = screen
        self._announce = announce
        self._save_dir = save_dir
        self._began_s = time.time()
        self._rules = Supervisor()
        self._processes: dict[Action, Process] = {}
        self._running: set[Action] = set()
        self._warnings = Warnings(time.monotonic)
        self._logs: defaultdict[str, _Log] = defaultdict(_Log)
        self._ends_last_signalled = self._is_over = False

    def actions(self) -> list[Action]:
        """The handlers, then what starts every process: launch then asks each node's own handlers first."""
        started = [name for name, (process, _) in self._starters.items() if not process.standby]
        return [
            RegisterEventHandler(OnProcessStart(target_action=self._is_ours, on_start=self._on_start)),
            RegisterEventHandler(
                OnProcessIO(target_action=self._is_ours, on_stdout=self._on_stdout, on_stderr=self._on_stderr)
            ),
            RegisterEventHandler(OnProcessExit(target_action=self._is_ours, on_exit=self._on_exit)),
            RegisterEventHandler(OnShutdown(on_shutdown=self._on_shutdown)),
            *(action for name in started for action in self._start(name)),
        ]

    def go_plain(self) -> None:
        """The console has left the screen: lines from here."""
        self._screen.print(PLAIN_FROM_HERE)
        self._screen.show()

    def _start(self, name: str) -> list[Action]:
        process, starter = self._starters[name]
        actions = starter()
        self._processes |= dict.fromkeys((action for action in actions if hasattr(action, "node_name")), process)
        return actions

    def _is_ours(self, action: Action) -> bool:
        if action not in self._processes:
            # An included file makes its own actions: they are known by their node's name.
            name = str(getattr(action, "node_name", "")).rpartition("/")[2]
            if name not in self._starters:
                return False
            self._processes[action] = self._starters[name][0]
        return True

    def _on_start(self, event: ProcessStarted, context: LaunchContext) -> list[Action]:
        self._running.add(event.action)
        # Started while everything was being ended: it has seen no signal.
        return _signals(signal.SIGINT, [event.action]) if context.is_shutdown else []

    def _on_stdout(self, event: ProcessIO) -> None:
        if self._processes[event.action].on_terminal:
            # As it comes, not by lines: a prompt has no end of line.
            self._screen.write(event.text)
            self._screen.follow()

    def _on_stderr(self, event: ProcessIO) -> None:
        name = self._processes[event.action].name
        for line in self._logs[name].lines(event.text):
            if text := self._warnings.text(name, line):
                self._line(f"! {name}: {text}")

    def _on_exit(self, event: ProcessExited, context: LaunchContext) -> list[Action]:
        self._running.discard(event.action)
        if context.is_shutdown:
            return self._next_to_end()
        process = self._processes[event.action]
        follows = self._rules.ended(process, event.returncode)
        if follows.cause:
            self._announce(follows.cause)
        if follows.line:
            said = [] if follows.status is not None else [f"! {follows.line}"]  # else launch says it, see below
            self._line(*said, *(f"    {line}" for line in self._logs[process.name].last))
        if process.name == "console":
            self.go_plain()
        if follows.status == EXIT_LOST:
            # An exception is how a launch file makes launch end everything and exit with 1; it has no other status.
            raise RuntimeError(follows.line or "the session ended without the arm driver, as said above")
        if follows.status is not None:
            return [EmitEvent(event=Shutdown(reason="the session has ended"))]
        if follows.starts in self._starters:
            delay_s = RESPAWN_DELAY_S if follows.starts == process.name else 0.0
            return [TimerAction(period=delay_s, actions=self._start(follows.starts))]
        return []

    def _on_shutdown(self, event: Event, context: LaunchContext) -> list[Action]:
        if event.due_to_sigint:
            self._announce(interruption(signal.SIGINT))
        self._screen.print(
            ENDING if event.due_to_sigint and self._save_dir is not None else "Ending ...", keeps_prompt=False
        )
        self._screen.follow()
        own = [node for node in self._running if not self._processes[node].ends_last]
        # On Ctrl+C launch relies on the terminal to have signalled everybody; `kill -INT` signals launch alone.
        signals = _signals(signal.SIGINT, own) if event.due_to_sigint and not context.noninteractive else []
        return signals + self._next_to_end()

    def _next_to_end(self) -> list[Action]:
        """When the session's own have ended, those that end last; when these have, the table."""
        if not self._running and not self._is_over:
            self._is_over = True
            self._screen.show()
            if self._save_dir is not None:
                self._line(*closing_lines(self._save_dir, self._began_s, self._screen.text()))
            self._line(f"Logs: {launch_config.log_dir}")
        running = [self._processes[node] for node in self._running]
        if self._ends_last_signalled or len(last(running)) < len(running):
            return []
        self._ends_last_signalled = True
        return _signals(signal.SIGTERM, self._running)

    def _line(self, *lines: str) -> None:
        self._screen.print(*lines)
        self._screen.follow()


class _Log:
    """What a node writes to its standard error, cut into lines; the last few are kept for when it dies."""

    def __init__(self, keep: int = 5) -> None:
        self.last: deque[str] = deque(maxlen=keep)
        self._rest = b""

    def lines(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        found = [line.decode(errors="replace").rstrip("\r") for line in whole]
        self.last.extend(found)
        return found


def _signals(number: signal.Signals, nodes: Iterable[Action]) -> list[Action]:
    return [
        EmitEvent(event=SignalProcess(signal_number=number, process_matcher=matches_action(node))) for node in nodes
    ]
