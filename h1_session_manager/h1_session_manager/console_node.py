"""The console beside any session: `ros2 run h1_session_manager console`."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import rclpy
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from h1_session_manager import messages_node, values
from h1_session_manager.config import SessionConfig
from h1_session_manager.console_app import ConsoleApp
from h1_session_manager.console_view import Heard
from h1_training_msgs.msg import (
    ArmStatus,
    Event,
    HandState,
    PolicyStatus,
    RecorderStatus,
    SessionState,
    SyncProgress,
)
from h1_training_node import qos
from h1_training_node.parameter import parameter
from h1_training_node.session_node import SessionNode
from h1_training_node.stamps import to_ns

_SPIN_S = 0.1
_QUIET = ("--ros-args", "--disable-stdout-logs")


@dataclass(frozen=True)
class ConsoleParameters:
    """What the console shows."""

    cameras: tuple[str, ...] = parameter((*SessionConfig().cameras, "arm_status"), "streams of the recorder to show")


class ConsoleNode(SessionNode):
    """Hears everything; publishes the keys that are pressed in the console."""

    def __init__(self) -> None:
        super().__init__("console")
        self.settings = self.parameters(ConsoleParameters)
        self.heard = Heard()
        self._keyboard = self.create_publisher(String, "keyboard", qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATCHED)
        self.create_subscription(Event, "session/event", self._on_event, qos.STATE)
        self._keep(ArmStatus, "arm_status", "arm", messages_node.arm)
        self._keep(RecorderStatus, "recorder/status", "recorder", messages_node.recorder)
        self._keep(PolicyStatus, "policy/status", "policy", messages_node.policy)
        self._keep(SyncProgress, "session/sync_progress", "sync", messages_node.sync_progress)
        for side in ("left", "right"):
            self.create_subscription(HandState, f"hands/{side}/state", partial(self._on_hand, side), qos.LATEST)

    def press(self, key: str) -> None:
        """From the console's thread: publishing is safe in any."""
        self._keyboard.publish(String(data=key))

    def _keep(self, kind: Any, topic: str, name: str, convert: Any) -> None:
        def on_message(message: Any) -> None:
            try:
                setattr(self.heard, name, convert(message))
            except ValueError as error:
                self.get_logger().error(f"{topic}: {error}", throttle_duration_sec=1.0)

        self.create_subscription(kind, topic, on_message, qos.LATEST)

    def _on_session(self, message: SessionState) -> None:
        self.heard.heard_ns = self.now_ns()
        self.heard.task = message.task
        self.heard.view = values.View(
            state=message.state,
            since_ns=to_ns(message.state_since),
            epoch=message.epoch,
            episode=message.episode,
            episode_id=message.episode_id,
            prompt=message.prompt,
            keys=tuple(message.keys),
            countdown_s=message.countdown,
            reason=message.reason,
        )

    def _on_hand(self, side: str, message: HandState) -> None:
        self.heard.hands[side] = messages_node.hand(message)

    def _on_event(self, message: Event) -> None:
        self.heard.messages.append((message.level, f"{message.source}: {message.detail or message.reason}"))


def main() -> int:
    """Run the console until Ctrl+Q; the session goes on."""
    if not sys.stdout.isatty():
        print("The console needs a terminal; `session status` shows the state without one.", file=sys.stderr)
        return 2
    # Log lines on standard error would tear the screen; what matters comes by session/event.
    rclpy.init(args=[*sys.argv, *_QUIET], signal_handler_options=SignalHandlerOptions.NO)
    node = ConsoleNode()
    executor = EventsExecutor()
    executor.add_node(node)
    leaving = threading.Event()

    def spin() -> None:
        while not leaving.is_set():
            executor.spin_once(timeout_sec=_SPIN_S)

    thread = threading.Thread(target=spin, name="graph", daemon=True)
    thread.start()
    try:
        ConsoleApp(node.heard, node.now_ns, node.press, node.settings.cameras).run()
    finally:
        leaving.set()
        thread.join(5 * _SPIN_S)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
