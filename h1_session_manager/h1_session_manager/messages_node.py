"""Between ROS messages and the session's values."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from std_msgs.msg import Bool, Header
from std_srvs.srv import Trigger

from h1_session_manager import values
from h1_session_manager.diagnostics import Diagnosis
from h1_training_msgs.msg import ArmStatus, HandState, PolicyStatus, RecorderStatus, SessionState, SyncProgress
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, SetArmMode, StartEpisode
from h1_training_node.message_numbers import ArmMode
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
"""The reason of the event of arm_driver and arm_guard before they give the arms back."""


def arm(message: ArmStatus) -> values.Arm:
    """Raises ValueError for a mode that there is not."""
    return values.Arm(
        stamp_ns=to_ns(message.header.stamp),
        mode=ArmMode(message.mode),
        since_ns=to_ns(message.mode_since),
        reason=message.reason,
        acknowledge_needed=message.acknowledge_needed,
        fault=message.fault,
        transition=message.transition,
        max_temperature=int(max(message.temperature)),
        state_rate=message.state_rate,
        weight=message.weight,
        crc_errors=message.crc_errors,
        refused_actions=message.refused_actions,
    )


def guard(message: Bool) -> values.Guard:
    return values.Guard(active=message.data)


def recorder(message: RecorderStatus) -> values.Recorder:
    """Raises ValueError for a state that there is not, or lists of different lengths."""
    streams = zip(message.streams, message.rates, message.ages, message.drops, strict=True)
    return values.Recorder(
        stamp_ns=to_ns(message.header.stamp),
        state=values.RecorderState(message.state),
        episode_id=message.episode_id,
        policy_frames=message.policy_frames,
        human_frames=message.human_frames,
        streams=tuple(values.Stream(*stream) for stream in streams),
        bytes_free=message.bytes_free,
        save_progress=message.save_progress,
        last_path=message.last_path,
        last_error=message.last_error,
    )


def policy(message: PolicyStatus) -> values.Policy:
    """Raises ValueError for a connection that there is not."""
    return values.Policy(
        stamp_ns=to_ns(message.header.stamp),
        connection=values.Connection(message.connection),
        epoch=message.epoch,
        chunk_ready=message.chunk_ready,
        done=message.done,
        latency_ms=message.latency_ms,
        reason=message.reason,
        server=message.server,
        inferences=message.inferences,
        failures=message.failures,
    )


def hand(message: HandState) -> values.Hand:
    return values.Hand(
        stamp_ns=to_ns(message.header.stamp),
        reason=message.reason,
        error=any(message.error),
        max_temperature=int(max(message.temperature)),
    )


def sync_progress(message: SyncProgress) -> values.SyncProgress:
    """Raises ValueError for a state that there is not."""
    return values.SyncProgress(
        state=values.SyncState(message.state),
        file=message.file,
        progress=message.progress,
        bytes_sent=message.bytes_sent,
        bytes_per_second=message.bytes_per_second,
        seconds_left=message.seconds_left,
        files_owed=message.files_owed,
        reason=message.reason,
    )


def view(message: SessionState) -> values.View:
    return values.View(
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


def reply(response: Any) -> values.Reply:
    """Of any of `SERVICES`: `Trigger` speaks of success and message, ours of accepted and reason."""
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


def state_message(header: Header, seq: int, shown: values.View, task: str) -> SessionState:
    return SessionState(
        header=header,
        seq=seq,
        state=shown.state,
        state_since=to_stamp(shown.since_ns),
        epoch=shown.epoch,
        episode=shown.episode,
        episode_id=shown.episode_id,
        task=task,
        prompt=shown.prompt,
        keys=list(shown.keys),
        countdown=shown.countdown_s,
        reason=shown.reason,
    )


def progress_message(header: Header, seq: int, value: values.SyncProgress, target: str) -> SyncProgress:
    return SyncProgress(
        header=header,
        seq=seq,
        state=int(value.state),
        target=target,
        file=value.file,
        progress=value.progress,
        bytes_sent=value.bytes_sent,
        bytes_per_second=value.bytes_per_second,
        seconds_left=value.seconds_left,
        files_owed=value.files_owed,
        reason=value.reason,
    )
