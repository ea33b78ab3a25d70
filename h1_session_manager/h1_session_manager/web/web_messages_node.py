# SPDX-License-Identifier: Apache-2.0
"""From the graph's messages to what the page is sent: plain values, rounded to what a screen shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from h1_session_manager.arm_reasons import meaning
from h1_session_manager.words import in_words, training_in_words
from h1_training_msgs.msg import (
    ArmStatus,
    Event,
    HandState,
    PolicyStatus,
    Preflight,
    RecorderStatus,
    SessionState,
    SyncProgress,
    TrainingStatus,
)
from h1_training_node.message_numbers import ArmMode
from h1_training_node.stamps import to_ns

VERDICTS = {
    RecorderStatus.FRESH: "fresh",
    RecorderStatus.LATE: "late",
    RecorderStatus.FROZEN: "frozen",
    RecorderStatus.ABSENT: "absent",
}
_RECORDER = ("idle", "recording", "saving", "saved", "failed")
_CONNECTION = ("disconnected", "connecting", "connected", "refused")
_SYNC = ("idle", "running", "verifying", "done", "failed")


def _rounded(values: Iterable[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else f"unknown ({number})"


def session(message: SessionState) -> dict[str, Any]:
    return {
        "state": message.state,
        "since_s": to_ns(message.state_since) / 1e9,
        "stamp_s": to_ns(message.header.stamp) / 1e9,
        "epoch": message.epoch,
        "episode": message.episode,
        "episode_id": message.episode_id,
        "task": message.task,
        "prompt": message.prompt,
        "doing": message.doing,
        "outcome": message.outcome,
        "keys": list(message.keys),
        "key_labels": list(message.key_labels),
        "key_services": list(message.key_services),
        "key_moves": list(message.key_moves),
        "key_twice": list(message.key_twice),
        "countdown": round(message.countdown, 1),
        "reason": in_words(message.reason),
    }


def arm(message: ArmStatus) -> dict[str, Any]:
    try:
        mode = ArmMode(message.mode).name
    except ValueError:
        mode = f"unknown ({message.mode})"
    return {
        "stamp_s": to_ns(message.header.stamp) / 1e9,
        "mode": mode,
        "reason": in_words(message.reason),
        "fault": in_words(message.fault),
        "meaning": meaning(message.fault or message.reason),
        "acknowledge_needed": message.acknowledge_needed,
        "weight": round(message.weight, 2),
        "release_countdown": round(message.release_countdown, 1),
        "clearance_m": round(message.clearance, 3),
        "closest": message.closest,
        "q": _rounded(message.q),
        "q_command": _rounded(message.q_command),
        "temperature": [int(value) for value in message.temperature],
    }


def hand(message: HandState) -> dict[str, Any]:
    return {
        "angles": _rounded(message.angle, 2),
        "temperature": [int(value) for value in message.temperature],
        "reason": in_words(message.reason),
        "error": any(message.error),
    }


def policy(message: PolicyStatus) -> dict[str, Any]:
    return {
        "connection": _word(_CONNECTION, message.connection),
        "server": message.server,
        "epoch": message.epoch,
        "chunk_ready": message.chunk_ready,
        "done": message.done,
        "latency_ms": round(message.latency_ms, 1),
        "inferences": message.inferences,
        "failures": message.failures,
        "checkpoint": message.checkpoint,
        "warm": message.warm,
        "first_inference_ms": round(message.first_inference_ms, 1),
        "first_action_distance_rad": round(message.first_action_distance_rad, 3),
        "warm_up_reason": message.warm_up_reason,
        "reason": message.reason,
    }


def preflight(message: Preflight) -> dict[str, Any]:
    rows = zip(message.items, message.levels, message.details, strict=False)
    return {
        "ready": message.ready,
        "cameras": message.cameras,
        "items": [{"name": name, "level": int(level), "detail": detail} for name, level, detail in rows],
    }


def recorder(message: RecorderStatus) -> dict[str, Any]:
    verdicts = [VERDICTS.get(verdict, "") for verdict in message.verdicts] or [""] * len(message.streams)
    rows = zip(message.streams, message.rates, message.ages, message.drops, verdicts, strict=False)
    return {
        "state": _word(_RECORDER, message.state),
        "phase": message.phase,
        "policy_frames": message.policy_frames,
        "human_frames": message.human_frames,
        "seconds_left": round(message.seconds_left),
        "bytes_free": message.bytes_free,
        "save_progress": round(message.save_progress, 2),
        "last_path": message.last_path,
        "last_error": message.last_error,
        "machine_is_slow": message.machine_is_slow,
        "disk_remarks": list(message.disk_remarks),
        "streams": [
            {"name": name, "rate": round(rate, 1), "age_s": round(age, 2), "drops": drops, "verdict": verdict}
            for name, rate, age, drops, verdict in rows
        ],
    }


def sync(message: SyncProgress) -> dict[str, Any]:
    return {
        "state": _word(_SYNC, message.state),
        "target": message.target,
        "file": message.file,
        "progress": round(message.progress, 3),
        "bytes_per_second": round(message.bytes_per_second),
        "seconds_left": round(message.seconds_left),
        "files_owed": message.files_owed,
        "reason": message.reason,
    }


def training(message: TrainingStatus) -> dict[str, Any]:
    return {
        "ready": message.ready,
        "epoch": message.epoch,
        "doing": training_in_words(message.phase, message.progress),
        "progress": round(message.progress, 3),
        "reason": message.reason,
        "checkpoint": message.checkpoint,
    }


def event(message: Event) -> dict[str, Any]:
    return {
        "stamp_s": to_ns(message.header.stamp) / 1e9,
        "source": message.source,
        "level": int(message.level),
        "text": message.detail or in_words(message.reason),
    }


TOPICS: tuple[tuple[str, str, Any, Any], ...] = (
    ("session/state", "session", SessionState, session),
    ("arm_status", "arm", ArmStatus, arm),
    ("recorder/status", "recorder", RecorderStatus, recorder),
    ("policy/status", "policy", PolicyStatus, policy),
    ("session/sync_progress", "sync", SyncProgress, sync),
    ("session/training", "training", TrainingStatus, training),
    ("session/preflight", "preflight", Preflight, preflight),
    ("hands/left/state", "left_hand", HandState, hand),
    ("hands/right/state", "right_hand", HandState, hand),
)
"""Topic, its name on the page, type, conversion."""

LATCHED = frozenset({"session", "training", "preflight"})
