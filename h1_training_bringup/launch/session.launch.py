"""Launch a training session: the graph of `h1_training_bringup.graph` as launch actions.

ros2 launch h1_training_bringup session.launch.py                    on the robot
ros2 launch h1_training_bringup session.launch.py sim:=true          against the simulation

What is added to launch's own ways: the operator's terminal shows the session manager's output as it comes, and
warnings of the others; the loss of a node that the session cannot live without ends it with status 1; simulated peers
and the keyboard end when all others have, so that the arms are given back to something that is still there.
"""

import codecs
import contextlib
import logging
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit, OnProcessIO, OnProcessStart, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ProcessIO, ProcessStarted, SignalProcess
from launch.logging import launch_config
from launch_ros.actions import Node, PushRosNamespace

from h1_training_bringup import graph
from h1_training_bringup.closing_table import closing_table
from h1_training_bringup.launch_arguments import ARGUMENTS, request_from
from h1_training_bringup.log_tail import Warnings
from h1_training_bringup.process import Process
from h1_training_bringup.processes import MAX_RESPAWNS, PEERS_STOP_TIMEOUT_S, STOP_TIMEOUT_S, executable_path
from h1_training_bringup.runner import (
    ENDING,
    EXIT_CLEAN,
    EXIT_INTERRUPTED,
    described,
    session_variables,
    simulation_variables,
)
from h1_training_bringup.session_setup import prepared
from h1_training_node.domain import DomainClaim
from h1_training_node.process import PRIORITY_VARIABLE

LAST_LINES = 5


def generate_launch_description() -> LaunchDescription:
    """The session's launch arguments and, once they are known, its processes."""
    declared = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description) for a in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    """Everything is checked before the first process is started; launch shows an exception as one line."""
    given = {argument.name: context.launch_configurations[argument.name] for argument in ARGUMENTS}
    configuration, session = prepared(request_from(given))
    processes = graph.processes(configuration, session)
    for process in processes:
        executable_path(process)
    variables = session_variables()
    if session.simulated:
        claim = DomainClaim()
        # The context lives as long as the launch process: so does the claim.
        context.extend_globals({"h1_domain_claim": claim})
        variables |= simulation_variables(claim.domain_id)
        _show(f"Simulation: ROS_DOMAIN_ID={claim.domain_id} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST")
    _take_signals()
    _keep_the_terminal_for_the_operator()
    nodes = {_node(process, given["namespace"], given["log_level"]): process for process in processes}
    return [
        *(SetEnvironmentVariable(name, value) for name, value in variables.items()),
        PushRosNamespace(given["namespace"]),
        *Watch(nodes, session.save_dir).handlers(),
        *nodes,
    ]


def _node(process: Process, namespace: str, log_level: str) -> Node:
    logger = ".".join([*filter(None, namespace.split("/")), process.name])
    # launch counts both from its own shutdown on, and the second from the first.
    sigterm_s = STOP_TIMEOUT_S if process.ends_last else process.stop_timeout_s
    sigkill_s = PEERS_STOP_TIMEOUT_S if process.ends_last else STOP_TIMEOUT_S - sigterm_s
    return Node(
        package=process.package,
        executable=process.executable,
        name=None if process.arguments else process.name,
        exec_name=process.name,
        prefix=" ".join(graph.wrapper(process)) or None,
        parameters=[dict(process.parameters)] if process.parameters else [],
        remappings=list(process.remappings),
        arguments=list(process.arguments),
        ros_arguments=["--log-level", f"{logger}:={log_level.lower()}"],
        additional_env={PRIORITY_VARIABLE: process.priority},
        output={"both": "own_log"},
        output_format="{line}",
        respawn=process.respawn,
        respawn_delay=1.0,
        respawn_max_retries=MAX_RESPAWNS,
        sigterm_timeout=f"{sigterm_s:.1f}",
        sigkill_timeout=f"{sigkill_s:.1f}",
    )


class Watch:
    """Looks on as the nodes start, speak and end, and ends the session in its order.

    Args:
        nodes: every node's action, with what it runs.
        save_dir: folder of the episodes, for the table at the end.
    """

    def __init__(self, nodes: Mapping[Action, Process], save_dir: Path) -> None:
        self._nodes = nodes
        self._save_dir = save_dir
        self._began_s = time.time()
        self._running: set[Action] = set()
        self._starts: Counter[Action] = Counter()
        self._warnings = Warnings(time.monotonic)
        self._screen = Screen()
        self._logs = {node: Log() for node in nodes}
        self._is_ending = self._is_over = False

    def handlers(self) -> list[Action]:
        """To be registered before the nodes: launch then asks each node's own handlers first."""
        ours = self._nodes.__contains__
        return [
            RegisterEventHandler(OnProcessStart(target_action=ours, on_start=self._on_start)),
            RegisterEventHandler(OnProcessIO(target_action=ours, on_stdout=self._on_stdout, on_stderr=self._on_stderr)),
            RegisterEventHandler(OnProcessExit(target_action=ours, on_exit=self._on_exit)),
            RegisterEventHandler(OnShutdown(on_shutdown=self._on_shutdown)),
        ]

    def _on_start(self, event: ProcessStarted, context: LaunchContext) -> list[Action]:
        self._running.add(event.action)
        self._starts[event.action] += 1
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
        if process.executable == "sim_operator" and code == EXIT_CLEAN:
            return []
        if process.essential:
            self._show_end_of(event.action)
            # An exception is how a launch file makes launch end everything and exit with 1.
            raise RuntimeError(f"{process.name} was lost ({described(code)}); ending the session")
        again = process.respawn and self._starts[event.action] <= MAX_RESPAWNS
        if again or process.respawn or code != EXIT_CLEAN:
            follows = "started again" if again else "going on without it"
            self._screen.line(f"! {process.name} ended ({described(code)}); {follows}")
            self._show_end_of(event.action)
        return []

    def _on_shutdown(self, event: Shutdown, context: LaunchContext) -> list[Action]:
        self._screen.line(ENDING if event.due_to_sigint else "Ending the session ...")
        own = [node for node in self._running if not self._nodes[node].ends_last]
        # On Ctrl+C launch relies on the terminal to have signalled everybody; `kill -INT` signals launch alone.
        told = _signals(signal.SIGINT, own) if event.due_to_sigint and not context.noninteractive else []
        return told + self._next_to_end()

    def _next_to_end(self) -> list[Action]:
        """When the session's own have ended, the others' turn; when these have, the table."""
        if not self._running and not self._is_over:
            self._is_over = True
            self._screen.line(f"{closing_table(self._save_dir, self._began_s)}\nLogs: {launch_config.log_dir}")
        if self._is_ending or not all(self._nodes[node].ends_last for node in self._running):
            return []
        self._is_ending = True
        return _signals(signal.SIGTERM, self._running)

    def _show_end_of(self, node: Action) -> None:
        for line in self._logs[node].last:
            self._screen.line(f"    {line}")


class Screen:
    """The operator's terminal: a prompt without an end of line stays last, whatever is said in between."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._prompt = ""

    def write(self, data: bytes) -> None:
        """What the node on the terminal puts out, as it is."""
        text = self._decoder.decode(data)
        self._prompt = (self._prompt + text).rpartition("\n")[2]
        _show(text, end="")

    def line(self, text: str) -> None:
        """A line of anybody else's."""
        over = "\r\x1b[K" if sys.stdout.isatty() else "\n"
        _show(f"{over}{text}\n{self._prompt}" if self._prompt else f"{text}\n", end="")


class Log:
    """What a node writes to its standard error, cut into lines; the last few are kept for when it dies."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._rest = b""

    def lines(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        found = [line.decode(errors="replace") for line in whole]
        self.last.extend(found)
        return found


def _signals(number: signal.Signals, nodes: Iterable[Action]) -> list[Action]:
    return [
        EmitEvent(event=SignalProcess(signal_number=number, process_matcher=matches_action(node))) for node in nodes
    ]


def _show(text: str, end: str = "\n") -> None:
    # A terminal that is gone must not stand in the way of an orderly end.
    with contextlib.suppress(OSError):
        print(text, end=end, flush=True)


def _take_signals() -> None:
    """See that no signal breaks launch's own handling of it.

    launch hears of SIGINT by Python's wake-up descriptor and leaves Python's default handler in place. That raises
    KeyboardInterrupt wherever the program stands: a second Ctrl+C could cut launch's shutdown in two, so that
    some nodes are never told. And where SIGINT is ignored (a background job of a script) launch never hears of it.
    SIGHUP, a dropped connection, would kill launch at once. It becomes SIGINT.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))


def _keep_the_terminal_for_the_operator() -> None:
    """Of launch's own lines about single processes only those that ask for attention; all are in its log file."""

    def is_shown(record: logging.LogRecord) -> bool:
        # How a process ended is said by Watch, in words.
        said: Callable[[str], bool] = record.getMessage().startswith
        return record.name == "launch" or (record.levelno >= logging.WARNING and not said("process has died"))

    launch_config.get_screen_handler().addFilter(is_shown)
