"""Things that take time, written from top to bottom: generators that say what they wait for, and how long.

A procedure is plain code with `yield Wait(...)` where another node has to do something first. Nothing in it
blocks: the session advances it whenever it learns something, and at every tick. So each wait has its time-out on
the same line, and a change of state ends the procedure wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from h1_session_manager.outcome import Outcome
from h1_session_manager.values import Call, Command, Reply
from h1_training_node.clock import NS_PER_S

T = TypeVar("T")


@dataclass(frozen=True)
class Wait:
    """Until `until()` is true, which `yield` then returns, or `timeout_s` is over, then None. None: no time-out."""

    until: Callable[[], object]
    timeout_s: float | None


Steps = Generator[Wait, Any, T]


@dataclass(frozen=True)
class Ended:
    """A procedure has come to its end."""

    value: object


class Runner:
    """Advances one procedure at a time."""

    def __init__(self) -> None:
        self._steps: Steps[object] | None = None
        self._wait: Wait | None = None
        self._deadline_ns: int | None = None

    def start(self, steps: Steps[Any]) -> None:
        """Run `steps` in place of the procedure that runs now, which ends where it stands."""
        self.stop()
        self._steps = steps

    def stop(self) -> None:
        """End the procedure where it stands."""
        steps, self._steps, self._wait = self._steps, None, None
        if steps is not None:
            steps.close()

    def advance(self, now_ns: int) -> Ended | None:
        """Go on as far as possible; None if there is something to wait for, or nothing to do."""
        while self._steps is not None:
            value: object = None
            if self._wait is not None:
                value = self._wait.until() or None
                if value is None and (self._deadline_ns is None or now_ns < self._deadline_ns):
                    return None
            try:
                self._wait = self._steps.send(value)
            except StopIteration as end:
                self._steps = self._wait = None
                return Ended(end.value)
            timeout_s = self._wait.timeout_s
            self._deadline_ns = None if timeout_s is None else now_ns + int(timeout_s * NS_PER_S)
        return None


def stay() -> Steps[Outcome]:
    """Until somebody asks for something."""
    yield Wait(lambda: False, None)
    return None


def node_of(service: str) -> str:
    """The node that offers `service`."""
    return service.partition("/")[0]


@dataclass(frozen=True)
class Late:
    """A call whose reply nobody waits for any more.

    Attributes:
        service: that was called.
        fields: of the request.
        is_overdue: it was taken for lost; else whoever waited had gone elsewhere.
    """

    service: str
    fields: Mapping[str, Any]
    is_overdue: bool = False


class Desk:
    """Where requests to other nodes go out and their replies come in.

    Args:
        timeout_s: how long a reply may take; a node that is not there is noticed by the same.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.commands: list[Command] = []
        self._next_id = 1
        self._awaited: dict[int, Reply | None] = {}
        self._posted: dict[int, tuple[int, str, Callable[[Reply], None]]] = {}
        self.late: Callable[[Late, Reply], None] = lambda _late, _reply: None
        self._sent: dict[int, Late] = {}

    def emit(self, command: Command) -> None:
        """Ask the node for `command`."""
        self.commands.append(command)

    def take(self) -> list[Command]:
        """The commands since the last call, oldest first."""
        commands, self.commands = self.commands, []
        return commands

    def call(self, service: str, fields: Mapping[str, Any], timeout_s: float | None = None) -> Steps[Reply]:
        """Call `service` and wait for its reply; a missing one is a refusal that names the node."""
        timeout = self.timeout_s if timeout_s is None else timeout_s
        call_id = self._send(service, fields, timeout)
        self._awaited[call_id] = None
        try:
            reply = yield Wait(lambda: self._awaited[call_id], timeout)
            if reply is None and call_id in self._sent:
                self._sent[call_id] = replace(self._sent[call_id], is_overdue=True)
        finally:
            self._awaited.pop(call_id, None)
        return reply if reply is not None else self._no_answer(service, timeout)

    def post(self, service: str, fields: Mapping[str, Any], then: Callable[[Reply], None], now_ns: int) -> None:
        """Call `service` without waiting; `then` gets the reply, or the refusal after the time-out."""
        call_id = self._send(service, fields, self.timeout_s)
        self._posted[call_id] = (now_ns + int(self.timeout_s * NS_PER_S), service, then)

    def reply(self, call_id: int, reply: Reply) -> None:
        """The node brings the reply to the call of that id."""
        late = self._sent.pop(call_id, None)
        if call_id in self._awaited:
            self._awaited[call_id] = reply
        elif call_id in self._posted:
            self._posted.pop(call_id)[2](reply)
        elif late is not None:
            self.late(late, reply)

    def expire(self, now_ns: int) -> None:
        """Refuse what was posted and has not been answered in time."""
        for call_id, (deadline_ns, service, then) in list(self._posted.items()):
            if now_ns >= deadline_ns:
                del self._posted[call_id]
                then(self._no_answer(service, self.timeout_s))

    def _send(self, service: str, fields: Mapping[str, Any], timeout_s: float) -> int:
        call_id, self._next_id = self._next_id, self._next_id + 1
        self._sent[call_id] = Late(service, dict(fields))
        self.emit(Call(call_id, service, dict(fields), int(timeout_s * NS_PER_S)))
        return call_id

    @staticmethod
    def _no_answer(service: str, timeout_s: float) -> Reply:
        return Reply(False, f"{node_of(service)} did not answer '{service}' within {timeout_s:g} s; does it run?")
