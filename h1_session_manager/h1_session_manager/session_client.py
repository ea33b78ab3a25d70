# SPDX-License-Identifier: Apache-2.0
"""The session from Python and from the command line, without ros2cli.

`ros2 run h1_session_manager session status`, `... session start`, `... session wait READY`: the same requests as the
keys, with the session's own answer.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.context import Context
from rclpy.node import Node
from std_srvs.srv import Trigger

from h1_session_manager.states import SERVICES
from h1_session_manager.table import State
from h1_session_manager.upload.ledger import CleanError, clean
from h1_session_manager.values import Answer
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.spinner import Spinner

_SPIN_S = 0.05
_BURST_S = 0.04
"""Less than half a heartbeat's period."""


class NoSessionError(TimeoutError):
    """The session manager was not heard in time."""


class SessionClient:
    """A session that runs somewhere on this graph; use it in a `with` statement.

    Args:
        timeout_s: how long to wait for the session manager.
        namespace: of the session, if it runs in one.
    """

    def __init__(self, timeout_s: float = 10.0, namespace: str = "") -> None:
        self._timeout_s = timeout_s
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = Node("session_client", context=self._context, namespace=namespace)
        self._spinner = Spinner(self._context)
        self._spinner.add(self._node)
        self._state: SessionState | None = None
        self._heard_s = math.inf
        # Latched, since others are heard only seconds after joining; see `_on_state` for what comes first.
        self._node.create_subscription(SessionState, "session/state", self._on_state, qos.LATCHED)

    def __enter__(self) -> SessionClient:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the graph."""
        self._spinner.close()
        self._node.destroy_node()
        self._context.try_shutdown()

    def state(self) -> SessionState:
        """The session's newest state.

        Raises:
            NoSessionError: none was heard.
        """
        self._expect_state()
        return self._spin(lambda: self._state, "no session/state was heard; does the session run, in this ROS domain?")

    def is_healthy(self) -> bool:
        """Whether the heartbeat advances and the session has not been stopped by an emergency.

        Raises:
            NoSessionError: no state, or no second one, was heard.
        """
        first = self.state().seq
        problem = "session/state does not advance: the session manager hangs"
        newest = self._spin(lambda: self._state if self._state and self._state.seq > first else None, problem)
        return bool(newest.state != State.STOPPED.value)

    def ask(self, trigger: str) -> Answer:
        """Ask for `trigger`, one of `states.SERVICES`; the session says whether it did it, and what is possible if not.

        Raises:
            NoSessionError: the session manager does not answer.
        """
        client = self._node.create_client(Trigger, f"session_manager/{trigger}")
        problem = f"session_manager does not answer '{trigger}'; does the session run, in this ROS domain?"
        self._spin(client.service_is_ready, problem)
        future = client.call_async(Trigger.Request())
        self._spin(future.done, problem)
        response = future.result()
        self._node.destroy_client(client)
        return Answer(response.success, response.message)

    def wait_for(self, *states: str, timeout_s: float = 60.0) -> SessionState:
        """Wait until the session is in one of `states`.

        Raises:
            NoSessionError: it does not come there in time.
        """

        def reached() -> SessionState | None:
            return self._state if self._state is not None and self._state.state in states else None

        self._expect_state()
        return self._spin(reached, f"the session did not come to {' or '.join(states)} in time", timeout_s)

    def _expect_state(self) -> None:
        self._state = None
        if self._heard_s < math.inf:  # else the first one to come is the topic's history, however late it comes
            self._heard_s = time.monotonic()

    def _on_state(self, message: SessionState) -> None:
        """What waited in a queue (the topic's history, or ours) comes in a burst and is past; a heartbeat is not."""
        now_s = time.monotonic()
        is_present, self._heard_s = now_s - self._heard_s > _BURST_S, now_s
        if is_present or self._state is not None:
            self._state = message

    def _spin(self, condition: Callable[[], Any], problem: str, timeout_s: float | None = None) -> Any:
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise NoSessionError(problem)
            self._spinner.spin_once(_SPIN_S)
        return value


def as_text(state: SessionState) -> str:
    """A session's state for a person."""
    work = f"epoch {state.epoch}, episode {state.episode}" if state.epoch >= 0 else "no epoch yet"
    lines = [f"{state.state}  {work}"]
    lines += [f"  {text}" for text in (state.prompt, state.reason) if text]
    if state.countdown > 0:
        lines.append(f"  the arms move in {state.countdown:.1f} s")
    return "\n".join([*lines, f"  keys: {' '.join(state.keys) or '-'}"])


def as_json(state: SessionState) -> str:
    """The same for a program."""
    names = ("state", "epoch", "episode", "episode_id", "task", "prompt", "countdown", "reason")
    return json.dumps({**{name: getattr(state, name) for name in names}, "keys": list(state.keys)})


def main(arguments: list[str] | None = None) -> int:
    """0: done; 1: the session refused; 2: wrong use, or no session."""
    parser = argparse.ArgumentParser(prog="session", description="Ask a running session.")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for the session manager")
    parser.add_argument("--namespace", default="", help="of the session")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="show the session's state")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument(
        "--healthy", action="store_true", help="exit status 1 after an emergency stop, 2 without a heartbeat"
    )
    waiting = commands.add_parser("wait", help="wait until the session is in a state")
    waiting.add_argument("state", choices=[state.value for state in State])
    waiting.add_argument("--for", dest="wait_s", type=float, default=600.0, help="seconds (default: %(default)s)")
    preflight = commands.add_parser(
        "preflight", help="what stands in the way of an episode; exit status 1 if anything does"
    )
    preflight.add_argument(
        "--policy", metavar="PNG", help="instead draw what the policy would do from here; nothing moves"
    )
    cleaning = commands.add_parser("clean", help="delete local episodes that were verified at the upload's target")
    cleaning.add_argument("save_dir", type=Path, help="folder of the episodes")
    cleaning.add_argument("--dry-run", action="store_true", help="only say what would go")
    cleaning.add_argument("--yes", action="store_true", help="do not ask")
    for trigger in SERVICES:
        commands.add_parser(trigger, help=f"ask for '{trigger}'")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    if options.command == "clean":
        return _clean(options)
    try:
        with SessionClient(options.timeout, options.namespace) as client:
            return _run(client, options)
    except NoSessionError as error:
        print(error, file=sys.stderr)
        return 2


def _run(client: SessionClient, options: argparse.Namespace) -> int:
    if options.command == "status":
        is_healthy = client.is_healthy() if options.healthy else True
        state = client.state()
        print(as_json(state) if options.json else as_text(state))
        return 0 if is_healthy else 1
    if options.command == "preflight" and options.policy:
        return _preview(options)
    if options.command == "wait":
        print(as_text(client.wait_for(options.state, timeout_s=options.wait_s)))
        return 0
    answer = client.ask(options.command)
    print(answer.message)
    return 0 if answer.success else 1


def _preview(options: argparse.Namespace) -> int:
    """What the policy would do: the policy bridge's own program, which asks its server once."""
    prefix = Path(get_package_prefix("h1_policy_bridge"))
    command = [prefix / "lib/h1_policy_bridge/policy_preview", "--output", options.policy]
    command += ["--timeout", str(options.timeout), "--ros-args", "-r", f"__ns:=/{options.namespace.strip('/')}"]
    return subprocess.run(command, check=False).returncode


def _clean(options: argparse.Namespace) -> int:
    """Needs no session."""

    def confirm(question: str) -> bool:
        return options.yes or input(f"{question} [y/N] ").strip().lower() == "y"

    try:
        clean(options.save_dir, dry_run=options.dry_run, confirm=confirm, say=print)
    except (CleanError, OSError, EOFError) as error:
        print(f"Nothing more was deleted: {error}", file=sys.stderr)
        return 2
    return 0
