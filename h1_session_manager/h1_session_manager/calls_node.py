"""The session's calls on the wire: sent as soon as the service is there, forgotten when their time is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node

from h1_session_manager import messages_node
from h1_session_manager.values import Call, Reply


class Calls:
    """Clients of all services that the session calls.

    Args:
        node: owns the clients.
        now_ns: session time.
        deliver: gets (id, reply) in the executor's thread.
    """

    def __init__(self, node: Node, now_ns: Callable[[], int], deliver: Callable[[int, Reply], None]) -> None:
        self._now_ns = now_ns
        self._deliver = deliver
        self._clients = {name: node.create_client(kind, name) for name, kind in messages_node.SERVICES.items()}
        self._unsent: list[tuple[Call, int]] = []

    def send(self, call: Call) -> None:
        """Send `call` now, or as soon as its service is there."""
        if not self._try(call):
            self._unsent.append((call, self._now_ns() + call.timeout_ns))

    def tick(self) -> None:
        """Send what could not be sent before. What is too late never goes out: nobody waits for it any more."""
        now_ns = self._now_ns()
        self._unsent = [
            (call, deadline_ns) for call, deadline_ns in self._unsent if now_ns < deadline_ns and not self._try(call)
        ]

    def _try(self, call: Call) -> bool:
        client = self._clients[call.service]
        if not client.service_is_ready():
            return False
        request = messages_node.SERVICES[call.service].Request(**call.fields)
        client.call_async(request).add_done_callback(partial(self._on_done, call.id))
        return True

    def _on_done(self, call_id: int, future: Any) -> None:
        error = future.exception()
        reply = Reply(False, str(error)) if error is not None else messages_node.reply(future.result())
        self._deliver(call_id, reply)
