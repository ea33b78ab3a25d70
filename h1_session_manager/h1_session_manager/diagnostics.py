"""The graph's health as diagnostic statuses: one a node and stream, each with what a person would ask first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from h1_session_manager.config import SessionConfig
from h1_session_manager.preflight import GB, camera_problem, policy_problem
from h1_session_manager.values import RecorderState, Stream, SyncState
from h1_session_manager.world import World


class Health(IntEnum):
    """`DiagnosticStatus`'s levels."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Diagnosis:
    """One status: its name within the session, level, line, and values."""

    name: str
    health: Health
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


def diagnose(world: World, config: SessionConfig, epoch: int) -> list[Diagnosis]:
    """The health of every node and stream that the session watches."""
    statuses = [_arms(world, config), _policy(world, config, epoch), _recorder(world, config)]
    if world.recorder is not None:
        statuses += [_stream(stream, config) for stream in world.recorder.streams]
    if config.include_hands:
        statuses += [_hand(world, config, side) for side in ("left", "right")]
    if config.rsync_target:
        statuses.append(_upload(world, config))
    return statuses


def _arms(world: World, config: SessionConfig) -> Diagnosis:
    name = "node: arm_driver"
    if world.arm is None or world.age_s("arm") > config.arm_timeout_s:
        return Diagnosis(name, Health.STALE, "silent")
    arm = world.arm
    values = {
        "mode": arm.mode.name,
        "reason": arm.reason,
        "fault": arm.fault,
        "hottest motor [degC]": str(arm.max_temperature),
        "robot state [Hz]": f"{arm.state_rate:.0f}",
    }
    if world.fault:
        return Diagnosis(name, Health.ERROR, f"{arm.mode.name}: {world.fault}", values)
    if arm.max_temperature > config.max_temperature:
        return Diagnosis(name, Health.WARN, f"a motor has {arm.max_temperature} degC", values)
    return Diagnosis(name, Health.OK, f"{arm.mode.name}: {arm.reason}" if arm.reason else arm.mode.name, values)


def _policy(world: World, config: SessionConfig, epoch: int) -> Diagnosis:
    name = "node: policy_bridge"
    if world.policy is None or world.age_s("policy") > config.status_timeout_s:
        return Diagnosis(name, Health.STALE, "silent")
    policy = world.policy
    values = {
        "server": policy.server,
        "epoch": str(policy.epoch),
        "latency [ms]": f"{policy.latency_ms:.0f}",
        "reason": policy.reason,
    }
    problem = policy_problem(policy, epoch) if epoch >= 0 else ""
    return Diagnosis(name, Health.ERROR if problem else Health.OK, problem or policy.connection.name, values)


def _recorder(world: World, config: SessionConfig) -> Diagnosis:
    name = "node: recorder"
    if world.recorder is None or world.age_s("recorder") > config.status_timeout_s:
        return Diagnosis(name, Health.STALE, "silent")
    recorder = world.recorder
    values = {
        "episode": recorder.episode_id,
        "policy frames": str(recorder.policy_frames),
        "human frames": str(recorder.human_frames),
        "free [GB]": f"{recorder.bytes_free / GB:.1f}",
        "last path": recorder.last_path,
        "last error": recorder.last_error,
    }
    if recorder.state is RecorderState.FAILED:
        return Diagnosis(name, Health.ERROR, recorder.last_error or "the last save failed", values)
    if recorder.bytes_free < config.min_free_gb * GB:
        return Diagnosis(name, Health.WARN, "the disk is nearly full", values)
    return Diagnosis(name, Health.OK, recorder.state.name, values)


def _stream(stream: Stream, config: SessionConfig) -> Diagnosis:
    values = {"rate [Hz]": f"{stream.rate:.1f}", "age [s]": f"{stream.age:.2f}", "dropped": str(stream.drops)}
    name = f"stream: {stream.name}"
    if stream.name in config.cameras:
        problem = camera_problem(stream, config)
        health = Health.STALE if stream.age < 0 else Health.ERROR
        return Diagnosis(name, health if problem else Health.OK, problem or f"{stream.rate:.1f} Hz", values)
    if stream.drops:
        return Diagnosis(name, Health.WARN, f"{stream.drops} messages lost", values)
    # Many streams speak only in some states: their silence is no fault by itself.
    return Diagnosis(name, Health.OK, f"{stream.rate:.1f} Hz" if stream.age >= 0 else "nothing yet", values)


def _hand(world: World, config: SessionConfig, side: str) -> Diagnosis:
    name = f"hand: {side}"
    hand, age = world.hands.get(side), world.age_s(f"{side} hand")
    if hand is None or age > config.max_hand_age_s:
        return Diagnosis(name, Health.STALE, "no answer")
    values = {"age [s]": f"{age:.2f}", "hottest finger [degC]": str(hand.max_temperature), "reason": hand.reason}
    return Diagnosis(name, Health.ERROR if hand.error else Health.OK, hand.reason or "answering", values)


def _upload(world: World, config: SessionConfig) -> Diagnosis:
    progress = world.sync_progress
    if progress is None:
        return Diagnosis("upload", Health.OK, "nothing uploaded yet", {"target": config.rsync_target})
    values = {"target": config.rsync_target, "progress": f"{progress.progress:.0%}", "file": progress.file}
    health = Health.ERROR if progress.state is SyncState.FAILED else Health.OK
    return Diagnosis("upload", health, progress.reason or progress.state.name, values)
