# SPDX-License-Identifier: Apache-2.0
"""Requests to other nodes and their replies; what is done about a reply that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from h1_session_manager.steps import Steps, Wait
from h1_session_manager.values import Call, Command, Reply
from h1_training_node.clock import NS_PER_S


class ServiceCalls:
    """Where requests to other nodes go out and their replies come in.

    Args:
        timeout_s: how long a reply may take; a node that is not there is noticed by the same.

    Attributes:
        on_late: gets a call whose reply nobody waits for, the reply, and whether the call was taken for lost; if not,
            whoever waited had gone elsewhere.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.on_late: Callable[[Call, Reply, bool], None] = lambda _call, _reply, _is_overdue: None
        self._commands: list[Command] = []
        self._next_id = 1
        self._awaited: dict[int, Reply | None] = {}
        self._posted: dict[int, tuple[int, str, Callable[[Reply], None]]] = {}
        self._sent: dict[int, Call] = {}
        self._overdue: set[int] = set()

    def emit(self, command: Command) -> None:
        """Ask the node for `command`."""
        self._commands.append(command)

    def take(self) -> list[Command]:
        """The commands since the last call, oldest first."""
        commands, self._commands = self._commands, []
        return commands

    def call(self, service: str, fields: Mapping[str, Any], timeout_s: float | None = None) -> Steps[Reply]:
        """Call `service` and wait for its reply; a missing one is a refusal that names the node."""
        timeout = self.timeout_s if timeout_s is None else timeout_s
        call_id = self._send(service, fields, timeout)
        self._awaited[call_id] = None
        try:
            reply = yield Wait(lambda: self._awaited[call_id], timeout)
            if reply is None:
                self._overdue.add(call_id)
        finally:
            self._awaited.pop(call_id, None)
        return reply if reply is not None else _no_answer(service, timeout)

    def post(self, service: str, fields: Mapping[str, Any], then: Callable[[Reply], None], now_ns: int) -> None:
        """Call `service` without waiting; `then` gets the reply, or the refusal after the time-out."""
        call_id = self._send(service, fields, self.timeout_s)
        self._posted[call_id] = (now_ns + int(self.timeout_s * NS_PER_S), service, then)

    def reply(self, call_id: int, reply: Reply) -> None:
        """The node brings the reply to the call of that id."""
        call = self._sent.pop(call_id, None)
        if call_id in self._awaited:
            self._awaited[call_id] = reply
        elif call_id in self._posted:
            self._posted.pop(call_id)[2](reply)
        elif call is not None:
            self.on_late(call, reply, call_id in self._overdue)

    def expire(self, now_ns: int) -> None:
        """Refuse what was posted and has not been answered in time."""
        for call_id, (deadline_ns, service, then) in list(self._posted.items()):
            if now_ns >= deadline_ns:
                del self._posted[call_id]
                then(_no_answer(service, self.timeout_s))

    def _send(self, service: str, fields: Mapping[str, Any], timeout_s: float) -> int:
        call_id, self._next_id = self._next_id, self._next_id + 1
        self._sent[call_id] = Call(call_id, service, dict(fields), int(timeout_s * NS_PER_S))
        self.emit(self._sent[call_id])
        return call_id


def _no_answer(service: str, timeout_s: float) -> Reply:
    node = service.partition("/")[0]
    return Reply(False, f"{node} did not answer '{service}' within {timeout_s:g} s; does it run?")
