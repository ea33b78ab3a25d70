# SPDX-License-Identifier: Apache-2.0
"""From the graph's messages to what the page is sent: plain values, rounded to what a screen shows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from h1_session_manager.words import in_words, meaning, training_in_words
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
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, SyncState, Verdict
from h1_training_node.stamps import to_ns


def _same(message: Any, *names: str) -> dict[str, Any]:
    """Fields that go on as they are."""
    return {name: getattr(message, name) for name in names}


def _lists(message: Any, *names: str) -> dict[str, list[Any]]:
    return {name: list(getattr(message, name)) for name in names}


def _rounded(message: Any, **digits: int) -> dict[str, float]:
    """Numbers with so many digits behind the point; 0: whole ones. NaN and infinity stay as they are."""
    values = {name: round(getattr(message, name), count) for name, count in digits.items()}
    return {name: int(value) if math.isfinite(value) and not digits[name] else value for name, value in values.items()}


def _decimals(values: Iterable[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _name(kind: type[IntEnum], number: int) -> str:
    try:
        return kind(number).name
    except ValueError:
        return f"unknown ({number})"


def _stamp_s(message: Any) -> float:
    return to_ns(message.header.stamp) / 1e9


def session(message: SessionState) -> dict[str, Any]:
    return {
        **_same(message, "state", "epoch", "episode", "episode_id", "task", "prompt", "doing", "outcome"),
        **_lists(message, "keys", "key_labels", "key_services", "key_moves", "key_twice"),
        **_rounded(message, countdown=1),
        "since_s": to_ns(message.state_since) / 1e9,
        "stamp_s": _stamp_s(message),
        "reason": in_words(message.reason),
    }


def arm(message: ArmStatus) -> dict[str, Any]:
    return {
        **_same(message, "acknowledge_needed", "closest"),
        **_rounded(message, weight=2, release_countdown=1),
        "stamp_s": _stamp_s(message),
        "mode": _name(ArmMode, message.mode),
        "reason": in_words(message.reason),
        "fault": in_words(message.fault),
        "meaning": meaning(message.fault or message.reason),
        "clearance_m": round(message.clearance, 3),
        "q": _decimals(message.q),
        "q_command": _decimals(message.q_command),
        "temperature": [int(value) for value in message.temperature],
    }


def hand(message: HandState) -> dict[str, Any]:
    return {
        "angles": _decimals(message.angle, 2),
        "temperature": [int(value) for value in message.temperature],
        "reason": in_words(message.reason),
        "error": any(message.error),
    }


def policy(message: PolicyStatus) -> dict[str, Any]:
    return {
        **_same(message, "server", "epoch", "chunk_ready", "done", "inferences", "failures", "checkpoint"),
        **_same(message, "warm", "warm_up_reason", "reason"),
        **_rounded(message, latency_ms=1, first_inference_ms=1, first_action_distance_rad=3),
        "connection": _name(Connection, message.connection).lower(),
    }


def preflight(message: Preflight) -> dict[str, Any]:
    rows = zip(message.items, message.levels, message.details, strict=False)
    items = [{"name": name, "level": int(level), "detail": detail} for name, level, detail in rows]
    return {**_same(message, "ready", "cameras"), "items": items}


def recorder(message: RecorderStatus) -> dict[str, Any]:
    verdicts = [_name(Verdict, verdict).lower() for verdict in message.verdicts] or [""] * len(message.streams)
    rows = zip(message.streams, message.rates, message.ages, message.drops, verdicts, strict=False)
    return {
        **_same(message, "phase", "policy_frames", "human_frames", "bytes_free", "last_path", "last_error"),
        **_same(message, "machine_is_slow"),
        **_lists(message, "disk_remarks"),
        **_rounded(message, seconds_left=0, save_progress=2),
        "state": _name(RecorderState, message.state).lower(),
        "streams": [
            {"name": name, "rate": round(rate, 1), "age_s": round(age, 2), "drops": drops, "verdict": verdict}
            for name, rate, age, drops, verdict in rows
        ],
    }


def sync(message: SyncProgress) -> dict[str, Any]:
    return {
        **_same(message, "target", "file", "files_owed", "reason"),
        **_rounded(message, progress=3, bytes_per_second=0, seconds_left=0),
        "state": _name(SyncState, message.state).lower(),
    }


def training(message: TrainingStatus) -> dict[str, Any]:
    return {
        **_same(message, "ready", "epoch", "reason", "checkpoint"),
        **_rounded(message, progress=3),
        "doing": training_in_words(message.phase, message.progress),
    }


def event(message: Event) -> dict[str, Any]:
    return {
        "stamp_s": _stamp_s(message),
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
