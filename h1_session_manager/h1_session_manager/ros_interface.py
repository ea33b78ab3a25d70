# SPDX-License-Identifier: Apache-2.0
"""Between ROS and the session's values: messages to values and back, and the clients of the services that it calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger

from h1_session_manager import values
from h1_session_manager.diagnostics import Diagnosis
from h1_session_manager.preflight import Preflight
from h1_training_msgs.msg import (
    ArmStatus,
    HandState,
    PolicyStatus,
    RecorderStatus,
    SessionState,
    SyncProgress,
    TrainingStatus,
)
from h1_training_msgs.msg import Preflight as PreflightMessage
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, SetArmMode, StartEpisode
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, SyncState, Verdict
from h1_training_node.stamps import to_ns, to_stamp

SERVICES: dict[str, Any] = {
    "recorder/start": StartEpisode,
    "recorder/finish": FinishEpisode,
    "recorder/discard": DiscardEpisode,
    "recorder/label": LabelEpisode,
    "arm_driver/set_mode": SetArmMode,
    "arm_driver/acknowledge": Trigger,
    "arm_driver/release": Trigger,
    "arm_driver/emergency_stop": Trigger,
    "arm_guard/release": Trigger,
}
"""The services of other nodes that the session calls."""
JOURNAL_RECOVERED = "journal_recovered"
"""The reason of the recorder's event when it has made an episode from a journal that an earlier session left."""
RELEASE_WARNING = "release_warning"
"""The reason of the event of arm_driver and arm_guard before they release the arms."""


V = TypeVar("V")


def _same(cls: type[V], message: Any, **others: Any) -> V:
    """A `cls` whose fields are those of the same name in `message`, but for `others`."""
    names = {field.name for field in dataclasses.fields(cls)} - set(others)  # type: ignore[arg-type]
    return cls(**others, **{name: getattr(message, name) for name in names})


def arm(message: ArmStatus) -> values.Arm:
    """Raises ValueError for a mode that there is not."""
    return _same(
        values.Arm,
        message,
        stamp_ns=to_ns(message.header.stamp),
        mode=ArmMode(message.mode),
        since_ns=to_ns(message.mode_since),
        max_temperature=int(max(message.temperature)),
    )


def guard(message: Bool) -> values.Guard:
    return values.Guard(active=message.data)


def recorder(message: RecorderStatus) -> values.Recorder:
    """Raises ValueError for a state or verdict that there is not, or lists of different lengths."""
    verdicts = map(Verdict, message.verdicts)
    sizes = message.image_sizes or [""] * len(message.streams)
    streams = zip(message.streams, message.rates, message.ages, message.drops, verdicts, sizes, strict=True)
    return _same(
        values.Recorder,
        message,
        stamp_ns=to_ns(message.header.stamp),
        state=RecorderState(message.state),
        streams=tuple(values.StreamStatus(*stream) for stream in streams),
    )


def policy(message: PolicyStatus) -> values.Policy:
    """Raises ValueError for a connection that there is not."""
    connection = Connection(message.connection)
    return _same(values.Policy, message, stamp_ns=to_ns(message.header.stamp), connection=connection)


def training(message: TrainingStatus) -> values.Polled:
    return _same(values.Polled, message, error="", is_unsupported=False, curve=())


def hand(message: HandState) -> values.Hand:
    return values.Hand(
        stamp_ns=to_ns(message.header.stamp),
        reason=message.reason,
        error=any(message.error),
        max_temperature=int(max(message.temperature)),
    )


def sync_progress(message: SyncProgress) -> values.SyncProgress:
    """Raises ValueError for a state that there is not."""
    return _same(values.SyncProgress, message, state=SyncState(message.state))


def view(message: SessionState) -> values.View:
    names = ("keys", "key_labels", "key_services", "key_moves", "key_twice")
    keys = {name: tuple(getattr(message, name)) for name in names}
    return _same(values.View, message, since_ns=to_ns(message.state_since), countdown_s=message.countdown, **keys)


def reply(response: Any) -> values.Reply:
    """Of any of `SERVICES`: `Trigger` has success and message, ours accepted and reason."""
    if isinstance(response, Trigger.Response):
        return values.Reply(response.success, response.message)
    names = response.get_fields_and_field_types()
    return values.Reply(response.accepted, response.reason, {name: getattr(response, name) for name in names})


def diagnostic(diagnosis: Diagnosis, prefix: str, hardware_id: str) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=bytes([int(diagnosis.health)]),
        name=f"{prefix}{diagnosis.name}",
        message=diagnosis.message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in diagnosis.values.items()],
    )


def state_message(header: Header, seq: int, view: values.View, task: str) -> SessionState:
    fields = dataclasses.asdict(view)
    since, countdown = to_stamp(fields.pop("since_ns")), fields.pop("countdown_s")
    return SessionState(header=header, seq=seq, state_since=since, countdown=countdown, task=task, **fields)


def preflight_message(header: Header, seq: int, checks: Preflight) -> PreflightMessage:
    items, levels, details = zip(*checks.by_item(), strict=True)
    listed = {"items": list(items), "levels": [int(level) for level in levels], "details": list(details)}
    return PreflightMessage(header=header, seq=seq, ready=not checks.problems, cameras=checks.cameras, **listed)


def training_message(header: Header, seq: int, polled: values.Polled) -> TrainingStatus:
    names = ("ready", "epoch", "phase", "progress", "reason", "checkpoint")
    return TrainingStatus(header=header, seq=seq, **{name: getattr(polled, name) for name in names})


def progress_message(header: Header, seq: int, value: values.SyncProgress, target: str) -> SyncProgress:
    fields = {**dataclasses.asdict(value), "state": int(value.state)}
    return SyncProgress(header=header, seq=seq, target=target, **fields)


class ServiceClients:
    """Clients of all services that the session calls.

    Args:
        node: owns the clients.
        now_ns: session time.
        deliver: gets (id, reply) in the executor's thread.
    """

    def __init__(self, node: Node, now_ns: Callable[[], int], deliver: Callable[[int, values.Reply], None]) -> None:
        self._now_ns = now_ns
        self._deliver = deliver
        self._clients = {name: node.create_client(kind, name) for name, kind in SERVICES.items()}
        self._unsent: list[tuple[values.Call, int]] = []

    def send(self, call: values.Call) -> None:
        """Send `call` now, or as soon as its service is there."""
        if not self._try(call):
            self._unsent.append((call, self._now_ns() + call.timeout_ns))

    def tick(self) -> None:
        """Send what could not be sent before. What is too late never goes out: nobody waits for it any more."""
        now_ns = self._now_ns()
        self._unsent = [
            (call, deadline_ns) for call, deadline_ns in self._unsent if now_ns < deadline_ns and not self._try(call)
        ]

    def _try(self, call: values.Call) -> bool:
        client = self._clients[call.service]
        if not client.service_is_ready():
            return False
        request = SERVICES[call.service].Request(**call.fields)
        client.call_async(request).add_done_callback(partial(self._on_done, call.id))
        return True

    def _on_done(self, call_id: int, future: Any) -> None:
        error = future.exception()
        answer = values.Reply(False, str(error)) if error is not None else reply(future.result())
        self._deliver(call_id, answer)
