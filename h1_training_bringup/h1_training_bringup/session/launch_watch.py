"""Looks on as the nodes start, speak and end, and ends the session in its order."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launch import Event, LaunchContext
from launch.action import Action
from launch.actions import EmitEvent, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted, SignalProcess
from launch.logging import launch_config

from h1_training_bringup.session.closing_table import closing_table
from h1_training_bringup.session.launch_screen import Log, Screen
from h1_training_bringup.session.log_tail import Warnings
from h1_training_bringup.session.process import Process
from h1_training_bringup.session.processes import MAX_RESPAWNS
from h1_training_bringup.session.runner import ENDING, EXIT_CLEAN, EXIT_INTERRUPTED, described
from h1_training_node.process import EXIT_EXPLAINED

RESPAWN_DELAY_S = 1.0


class Watch:
    """What is added to launch's own ways.

    The operator's terminal shows the session manager's output as it comes, and warnings of the others; the loss of a
    node that the session cannot live without ends it with status 1; simulated peers and the keyboard end when all
    others have, so that the arms are given back to something that is still there.

    Args:
        nodes: every node's action, with what it runs.
        save_dir: folder of the episodes, for the table at the end; None shows none.
        included: by the name of its node, what another package's launch file starts, and the actions that do so again.
    """

    def __init__(
        self,
        nodes: Mapping[Action, Process],
        save_dir: Path | None,
        included: Mapping[str, tuple[Process, Callable[[], list[Action]]]] | None = None,
    ) -> None:
        self._nodes = dict(nodes)
        self._included = dict(included or {})
        self._save_dir = save_dir
        self._began_s = time.time()
        self._running: set[Action] = set()
        self._starts: Counter[str] = Counter()
        self._warnings = Warnings(time.monotonic)
        self._screen = Screen()
        self._logs: defaultdict[Action, Log] = defaultdict(Log)
        self._is_ending = self._is_over = False

    def handlers(self) -> list[Action]:
        """To be registered before the nodes: launch then asks each node's own handlers first."""
        return [
            RegisterEventHandler(OnProcessStart(target_action=self._is_ours, on_start=self._on_start)),
            RegisterEventHandler(
                OnProcessIO(target_action=self._is_ours, on_stdout=self._on_stdout, on_stderr=self._on_stderr)
            ),
            RegisterEventHandler(OnProcessExit(target_action=self._is_ours, on_exit=self._on_exit)),
            RegisterEventHandler(OnShutdown(on_shutdown=self._on_shutdown)),
        ]

    def _is_ours(self, action: Action) -> bool:
        if action not in self._nodes:
            # An included file makes its own actions: they are known by their node's name.
            name = str(getattr(action, "node_name", "")).rpartition("/")[2]
            if name not in self._included:
                return False
            self._nodes[action] = self._included[name][0]
        return True

    def _on_start(self, event: ProcessStarted, context: LaunchContext) -> list[Action]:
        self._running.add(event.action)
        self._starts[self._nodes[event.action].name] += 1
        # Started while everything was being ended: it has seen no signal.
        return _signals(signal.SIGINT, [event.action]) if context.is_shutdown else []

    def _on_stdout(self, event: ProcessIO) -> None:
        if self._nodes[event.action].on_terminal:
            # As it comes, not by lines: a prompt has no end of line.
            self._screen.write(event.text)

    def _on_stderr(self, event: ProcessIO) -> None:
        name = self._nodes[event.action].name
        for line in self._logs[event.action].lines(event.text):
            if text := self._warnings.text(name, line):
                self._screen.line(f"! {name}: {text}")

    def _on_exit(self, event: ProcessExited, context: LaunchContext) -> list[Action]:
        self._running.discard(event.action)
        if context.is_shutdown:
            return self._next_to_end()
        process, code = self._nodes[event.action], event.returncode
        if process.name == "session_manager" and code in (EXIT_CLEAN, EXIT_INTERRUPTED):
            return [EmitEvent(event=Shutdown(reason="the session has ended"))]
        if process.name == "session_manager" and code == EXIT_EXPLAINED:
            raise RuntimeError("the session ended without the arm driver, as said above")  # status 1, as below
        if process.executable == "sim_operator" and code == EXIT_CLEAN:
            return []
        if process.essential:
            self._show_end_of(event.action)
            # An exception is how a launch file makes launch end everything and exit with 1.
            raise RuntimeError(f"{process.name} was lost ({described(code)}); ending the session")
        again = process.respawn and self._starts[process.name] <= MAX_RESPAWNS
        if again or process.respawn or code != EXIT_CLEAN:
            follows = "started again" if again else "going on without it"
            self._screen.line(f"! {process.name} ended ({described(code)}); {follows}")
            self._show_end_of(event.action)
        # launch starts its own actions again by itself.
        if again and process.name in self._included:
            return [TimerAction(period=RESPAWN_DELAY_S, actions=self._included[process.name][1]())]
        return []

    def _on_shutdown(self, event: Event, context: LaunchContext) -> list[Action]:
        whole = self._save_dir is not None
        self._screen.line(ENDING if event.due_to_sigint and whole else "Ending ...")
        own = [node for node in self._running if not self._nodes[node].ends_last]
        # On Ctrl+C launch relies on the terminal to have signalled everybody; `kill -INT` signals launch alone.
        told = _signals(signal.SIGINT, own) if event.due_to_sigint and not context.noninteractive else []
        return told + self._next_to_end()

    def _next_to_end(self) -> list[Action]:
        """When the session's own have ended, the others' turn; when these have, the table."""
        if not self._running and not self._is_over:
            self._is_over = True
            if self._save_dir is not None:
                self._screen.line(closing_table(self._save_dir, self._began_s))
            self._screen.line(f"Logs: {launch_config.log_dir}")
        if self._is_ending or not all(self._nodes[node].ends_last for node in self._running):
            return []
        self._is_ending = True
        return _signals(signal.SIGTERM, self._running)

    def _show_end_of(self, node: Action) -> None:
        for line in self._logs[node].last:
            self._screen.line(f"    {line}")


def _signals(number: signal.Signals, nodes: Iterable[Action]) -> list[Action]:
    return [
        EmitEvent(event=SignalProcess(signal_number=number, process_matcher=matches_action(node))) for node in nodes
    ]
