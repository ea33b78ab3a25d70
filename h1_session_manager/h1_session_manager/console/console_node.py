# SPDX-License-Identifier: Apache-2.0
"""The console: beside any session (`ros2 run h1_session_manager console`), or as the session's own screen.

The runner of a session that hands it the terminal says so in the environment: where the operator's lines are written.
Then Ctrl+C is the session's own (a signal to the whole group) and the console ends last; beside a session it is an
emergency stop. Ctrl+Q leaves the console in both; the session goes on.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import traceback
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.parameter import parameter_dict_from_yaml_file
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from h1_session_manager import ros_interface
from h1_session_manager.console.console_app import SMALLEST, ConsoleApp, ConsoleTerminal, LineFile, SignallingDriver
from h1_session_manager.console.console_view import ConsoleData
from h1_session_manager.keyboard.keys import TERMINAL, JoyKeys, NoTerminalError, TtyKeys
from h1_session_manager.operator_output import LINES_VARIABLE
from h1_session_manager.parameters import ConsoleParameters
from h1_session_manager.table import State
from h1_training_msgs.msg import (
    ArmStatus,
    Event,
    HandState,
    PolicyStatus,
    RecorderStatus,
    SessionState,
    SyncProgress,
    TrainingStatus,
)
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.process import StopSignal, take_priority
from h1_training_node.spinner import spun

_SPIN_S = 0.1
_HISTORY_NS = 1_000_000_000
_QUIET = ("--ros-args", "--disable-stdout-logs")
_ASKING = frozenset({State.READY, State.LABELING, State.DECIDING, State.STOPPED})
_ASKING_LATER = frozenset({State.STARTING, State.SYNCING})
"""States that need the person only once they offer `y`: when all nodes are there, when the upload has failed."""
_LEAVE = "Ctrl+C: emergency stop   Ctrl+Q: leave the console, not the session"
_LEAVE_OWN = "Ctrl+C: emergency stop and end   Ctrl+Q: plain lines"


class ConsoleNode(BaseNode):
    """Hears everything; publishes the keys that are pressed in the console."""

    def __init__(self) -> None:
        super().__init__("console")
        self.settings = self.parameters(ConsoleParameters)
        self.heard = ConsoleData()
        own = os.environ.get(LINES_VARIABLE)
        self.line_file = LineFile(Path(own)) if own else None
        self._keyboard = self.create_publisher(String, "keyboard", qos.STATE)
        self._stop = self.create_publisher(String, "emergency_stop", qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATCHED)
        self.create_subscription(Event, "session/event", self._on_event, qos.STATE)
        if self.line_file is None:
            self.create_subscription(String, "session/lines", self._on_lines, qos.LATCHED)
        self._keep(ArmStatus, "arm_status", "arm", ros_interface.arm)
        self._keep(RecorderStatus, "recorder/status", "recorder", ros_interface.recorder)
        self._keep(PolicyStatus, "policy/status", "policy", ros_interface.policy)
        self._keep(SyncProgress, "session/sync_progress", "sync", ros_interface.sync_progress)
        self._keep(TrainingStatus, "session/training", "training", ros_interface.training, qos.LATCHED)
        self._rung_for_ns = -1
        self._joined_ns: int | None = None
        self._joy = JoyKeys(self.settings.joy_buttons)
        if own:  # beside a session, that session's own keyboard node or console hears it
            self.create_subscription(Joy, "joy", self._on_joy, qos.STATE)
        for side in ("left", "right"):
            self.create_subscription(HandState, f"hands/{side}/state", partial(self._on_hand, side), qos.LATEST)

    def press(self, key: str) -> None:
        """From the console's thread: publishing is safe in any."""
        self._keyboard.publish(String(data=key))

    def stop(self) -> None:
        """Ctrl+C beside a session."""
        self._stop.publish(String(data="console: Ctrl+C"))

    def clock_text(self) -> str:
        """The time of day by the session's clock."""
        return datetime.fromtimestamp(self.now_ns() / 1e9).strftime("%H:%M:%S")

    def _keep(self, kind: Any, topic: str, name: str, convert: Any, profile: Any = qos.LATEST) -> None:
        def on_message(message: Any) -> None:
            try:
                setattr(self.heard, name, convert(message))
                self.heard.when_ns[name] = self.now_ns()
            except ValueError as error:
                self.get_logger().error(f"{topic}: {error}", throttle_duration_sec=1.0)

        self.create_subscription(kind, topic, on_message, profile)

    def _on_session(self, message: SessionState) -> None:
        view = ros_interface.view(message)
        needs_person = view.state in _ASKING or (view.state in _ASKING_LATER and "y" in view.keys)
        if needs_person and self._rung_for_ns != view.since_ns:
            self._rung_for_ns = view.since_ns
            self._ring()
        self.heard.heard_ns = self.now_ns()
        self.heard.task = message.task
        self.heard.view = view

    def _on_hand(self, side: str, message: HandState) -> None:
        self.heard.hands[side] = ros_interface.hand(message)
        self.heard.when_ns[side] = self.now_ns()

    def _on_joy(self, message: Joy) -> None:
        for key in self._joy.pressed(message.buttons):
            self.press(key)

    def _on_lines(self, message: String) -> None:
        """What comes at once is the topic's history: when it was said is not known."""
        if self._joined_ns is None:
            self._joined_ns = self.now_ns()
        is_history = self.now_ns() - self._joined_ns < _HISTORY_NS
        self.heard.add_lines(message.data.splitlines(), "" if is_history else self.clock_text())

    def _on_event(self, message: Event) -> None:
        """Warnings of the others; the session manager says its own in its lines, and the runner's file has all."""
        if message.reason == ros_interface.RELEASE_WARNING:
            self._ring()
        if self.line_file is None and message.level > Event.INFO and message.source != "session_manager":
            text = f"! {message.source}: {message.detail or message.reason}"
            self.heard.messages.append((message.level, f"{self.clock_text()} {text}"))

    def _ring(self) -> None:
        self.heard.rings += self.settings.bell


def main() -> int:
    """Run the console until Ctrl+Q, or until the session that it belongs to has ended; the session goes on."""
    own = LINES_VARIABLE in os.environ
    stop = StopSignal(late=True)
    if not stop.end_with_parent():
        return 1
    take_priority()
    log = Path(os.environ.get("ROS_LOG_DIR", "~/.ros/log")).expanduser() / "console.log"
    path = _terminal()
    try:
        terminal = ConsoleTerminal(path, None if own else log)
    except NoTerminalError as error:
        instead = "`session status` shows the state without one"
        print(f"The console needs a terminal: {error.strerror} ({instead})", file=sys.stderr)
        return 2
    size = terminal.size
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        terminal.say(f"The console needs {SMALLEST[0]} x {SMALLEST[1]} characters; this terminal has "
                     f"{size.columns} x {size.lines}")  # fmt: skip
        terminal.close()
        return 2
    # Log lines on standard error would tear the screen; what matters comes by session/event.
    rclpy.init(args=[*sys.argv, *_QUIET], signal_handler_options=SignalHandlerOptions.NO)
    node = ConsoleNode()
    try:
        with spun(node):
            return _show(node, terminal, stop, path) if own else _show_beside(node, terminal, stop)
    finally:
        rclpy.try_shutdown()


def _terminal() -> str:
    """The parameter, read before there is a node: the terminal is taken before any thread is started."""
    files = [path for option, path in itertools.pairwise(sys.argv) if option == "--params-file"]
    found = [parameter_dict_from_yaml_file(path, use_wildcard=True).get("terminal") for path in files]
    values = [parameter.value.string_value for parameter in found if parameter is not None]
    values += [word.partition(":=")[2] for word in sys.argv if word.startswith("terminal:=")]
    return values[-1] if values else TERMINAL


def _show_beside(node: ConsoleNode, terminal: ConsoleTerminal, stop: StopSignal) -> int:
    signal.signal(signal.SIGINT, lambda *_: node.stop())
    try:
        _app(node, stop, _LEAVE).run(mouse=False)
    finally:
        terminal.close()
    return 0


def _show(node: ConsoleNode, terminal: ConsoleTerminal, stop: StopSignal, path: str) -> int:
    """The session's own screen. Left, or broken, it goes on reading keys: not one of them may be lost."""
    try:
        _app(node, stop, _LEAVE_OWN).run(mouse=False)
    except Exception:  # whatever a screen may do wrong, the keys must reach the session
        traceback.print_exc()
    finally:
        terminal.close()
    if stop.received is not None:
        return 0
    keys = TtyKeys(path)
    os.kill(os.getppid(), signal.SIGUSR1)  # the runner: plain lines from here
    while stop.received is None and (typed := keys.read(_SPIN_S)) is not None:
        for key in typed:
            node.press(key)
    keys.close()
    return 0


def _app(node: ConsoleNode, stop: StopSignal, hint: str) -> ConsoleApp:
    def before_showing() -> bool:
        if node.line_file is not None:
            node.heard.add_lines(node.line_file.new(), node.clock_text())
        return stop.received is not None

    return ConsoleApp(
        node.heard,
        node.now_ns,
        node.press,
        node.settings.cameras,
        before_showing=before_showing,
        driver=SignallingDriver,
        hint=hint,
    )
