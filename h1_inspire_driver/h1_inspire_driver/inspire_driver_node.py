# SPDX-License-Identifier: Apache-2.0
"""The node of both Inspire hands: messages in, calls to each hand's thread; what the threads read, messages out.

A hand's thread publishes by itself (rclpy's publishers may be used from any thread), so that neither a dead hand nor a
slow executor delays the other hand.
"""

from __future__ import annotations

from functools import partial

from std_srvs.srv import Trigger

from h1_inspire_driver.grip import BadCommandError, SessionGate, command_of
from h1_inspire_driver.hand_events import HandEvents
from h1_inspire_driver.hand_link import HandLink
from h1_inspire_driver.hand_state import HandState
from h1_inspire_driver.hand_thread import HandThread
from h1_inspire_driver.parameters import DriverParameters
from h1_training_msgs.msg import HandCommand as HandCommandMsg
from h1_training_msgs.msg import HandState as HandStateMsg
from h1_training_msgs.msg import SessionState
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level
from h1_training_node.node_main import run_node
from h1_training_node.stamps import to_ns

_WATCH_PERIOD_S, _GRAPH_CHECK_S = 0.05, 0.5
_JOIN_S = 3.0


class InspireDriverNode(BaseNode):
    """Publishes `hands/<side>/state` and follows `hands/<side>/command` while the session is EXECUTING."""

    STOP_TIMEOUT_S = 7.0

    def __init__(self) -> None:
        super().__init__("inspire_driver")
        self._config = self.parameters(DriverParameters)
        self._gate = SessionGate(int(self._config.session_timeout_s * NS_PER_S))
        self._is_stopping = False
        self._hands: dict[str, HandThread] = {}
        self._hand_events: dict[str, HandEvents] = {}
        for side, host, port in (
            ("left", self._config.left_host, self._config.left_port),
            ("right", self._config.right_host, self._config.right_port),
        ):
            if host:
                self._add_hand(side, host, port)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATEST)
        self.every(_WATCH_PERIOD_S, self._check)
        self.every(_GRAPH_CHECK_S, self._check_graph)
        for hand in self._hands.values():
            hand.start()

    def _add_hand(self, side: str, host: str, port: int) -> None:
        parameters = self._config
        publisher = self.create_publisher(HandStateMsg, f"hands/{side}/state", qos.STATE)
        message = HandStateMsg()

        def publish(state: HandState) -> None:
            message.seq += 1
            message.header = self.header(state.stamp_ns)
            _fill(message, state)
            publisher.publish(message)

        self._hand_events[side] = HandEvents(side, self._on_event, self.now_ns)
        self._hands[side] = HandThread(
            side,
            HandLink(host, port, unit_id=parameters.unit_id, timeout_s=parameters.answer_timeout_s),
            parameters,
            gate=self._gate,
            publish=publish,
            events=self._hand_events[side],
            clock_ns=self.now_ns,
        )
        self.create_subscription(HandCommandMsg, f"hands/{side}/command", partial(self._on_command, side), qos.LATEST)
        self.create_service(Trigger, f"hands/{side}/clear_error", partial(self._on_clear_error, side))

    def _on_event(self, level: Level, reason: str, detail: str) -> None:
        self.event(int(level), reason, detail)

    def _on_session(self, message: SessionState) -> None:
        self._gate.heard(message.seq, message.state, self.now_ns())
        for hand in self._hands.values():
            hand.session_changed()

    def _on_command(self, side: str, message: HandCommandMsg) -> None:
        try:
            command = command_of(to_ns(message.header.stamp), [float(angle) for angle in message.angle])
        except BadCommandError as error:
            self._hand_events[side].command_refused(str(error))
            return
        self._hands[side].command(command)

    def _on_clear_error(self, side: str, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        hand = self._hands[side]
        response.success = hand.is_connected
        if hand.is_connected:
            hand.clear_error()
            response.message = f"clearing; watch hands/{side}/state.error"
        else:
            response.message = (
                f"the {side} hand is not connected: {self._hand_events[side].last_loss or 'still connecting'}"
            )
        return response

    def _check_graph(self) -> None:
        """Who commands is known by the writer: where there are two, neither is followed."""
        topics = ["session/state", *(f"hands/{side}/command" for side in self._hands)]
        counts = {topic: self.count_publishers(topic) for topic in topics}
        doubled = [
            f"{count} publishers on {self.resolve_topic_name(topic)}" for topic, count in counts.items() if count > 1
        ]
        before, self._gate.foreign = self._gate.foreign, ", ".join(doubled)
        if doubled and not before:
            text = f"{self._gate.foreign}, where there may be one; the fingers stay. End the other one"
            self.event(int(Level.ERROR), "foreign_commander", f"{text} (one that was killed is forgotten after 20 s)")
        if before != self._gate.foreign:
            for hand in self._hands.values():
                hand.session_changed()

    def _check(self) -> None:
        """A thread that ends unasked is a defect: say so and end, rather than leave a hand silently unattended."""
        alive = [side for side, hand in self._hands.items() if hand.is_alive()]
        if self._is_stopping:
            if not alive:
                self.end(0)
        elif len(alive) < len(self._hands):
            dead = ", ".join(side for side in self._hands if side not in alive)
            self.get_logger().fatal(f"the thread of the {dead} hand has died; see the traceback above")
            self.end(1)

    def request_stop(self, why: str) -> None:
        """Both hands stay where they are; the node ends when they have acknowledged."""
        self._is_stopping = True
        for hand in self._hands.values():
            hand.stop()

    def destroy_node(self) -> None:
        """Stop the threads while their publishers live."""
        self.request_stop("destroyed")
        for hand in self._hands.values():
            if hand.is_alive():
                hand.join(_JOIN_S)
        super().destroy_node()


def _fill(message: HandStateMsg, state: HandState) -> None:
    for name in ("angle", "command", "force", "current", "status", "error", "temperature", "reason"):
        setattr(message, name, getattr(state, name))
    message.gated = bool(state.gated)


def main() -> int:
    """Entry point."""
    return run_node(InspireDriverNode)
