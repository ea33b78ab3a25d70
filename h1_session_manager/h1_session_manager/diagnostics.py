# SPDX-License-Identifier: Apache-2.0
"""The graph's health as diagnostic statuses: one a node and stream, each with what a person would ask first.

Levels as rqt_robot_monitor shows them: OK; WARN is worth a look; ERROR keeps an episode from starting or has stopped
one; STALE was never heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.preflight import GB, MACHINE_IS_SLOW, camera_problem, policy_problem
from h1_session_manager.values import StreamStatus, View
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, SyncState, Verdict

_LOSS_SHOWN_NS = 10 * NS_PER_S
_LOW_STATE_HZ = 200.0


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


class Diagnostics:
    """Looks at what the session knows; remembers since when messages are being lost."""

    def __init__(self, config: SessionParameters) -> None:
        self._config = config
        self._drops: dict[str, tuple[int, int]] = {}

    def statuses(self, observed: Observed, view: View) -> list[Diagnosis]:
        """The health of every node and stream of the session."""
        config = self._config
        statuses = [
            _session(view),
            _arms(observed, config),
            _guard(observed),
            _policy(observed, config, view.epoch),
            _recorder(observed, config),
        ]
        if observed.recorder is not None:
            age_s = observed.age_s("recorder")
            known = {stream.name: stream for stream in observed.recorder.streams}
            missing = [StreamStatus(name, 0.0, -1.0) for name in config.cameras if name not in known]
            statuses += [self._stream(stream, observed, age_s) for stream in (*known.values(), *missing)]
        if config.include_hands:
            statuses += [_hand(observed, config, side) for side in ("left", "right")]
        statuses.append(_machine(observed, config))
        if config.rsync_target:
            statuses.append(_upload(observed, config))
        return statuses

    def _stream(self, stream: StreamStatus, observed: Observed, report_age_s: float) -> Diagnosis:
        """`report_age_s`: the age of the recorder's status, which adds to the stream's own."""
        config, name = self._config, f"stream: {stream.name}"
        age_s = stream.age + report_age_s if stream.age >= 0 else -1.0
        values = {"rate [Hz]": f"{stream.rate:.1f}", "age [s]": f"{age_s:.2f}", "lost": str(stream.drops)}
        if report_age_s > config.status_timeout_s:
            return Diagnosis(name, Health.STALE, "not known: the recorder is silent", values)
        if stream.name in config.cameras:
            if problem := camera_problem(stream):
                is_slow = observed.recorder is not None and observed.recorder.machine_is_slow
                health = Health.STALE if age_s < 0 else Health.WARN if is_slow else Health.ERROR
                return Diagnosis(name, health, problem, values)
        elif stream.verdict in (Verdict.LATE, Verdict.FROZEN):
            return Diagnosis(name, Health.WARN, f"{stream.verdict.name.lower()}, for {age_s:.1f} s", values)
        if lost := self._lost_lately(stream, observed.now_ns):
            return Diagnosis(name, Health.WARN, f"{lost} messages lost in the last seconds", values)
        # Many streams come only in some states: their silence is no fault by itself.
        return Diagnosis(name, Health.OK, f"{stream.rate:.1f} Hz" if age_s >= 0 else "nothing yet", values)

    def _lost_lately(self, stream: StreamStatus, now_ns: int) -> int:
        """Messages lost since the count last stood still for a while."""
        before, since_ns = self._drops.get(stream.name, (0, now_ns))
        if now_ns - since_ns > _LOSS_SHOWN_NS or stream.drops < before:
            before, since_ns = stream.drops, now_ns
        if stream.drops == before:
            since_ns = now_ns
        self._drops[stream.name] = (before, since_ns)
        return stream.drops - before


def _silent(name: str, observed: Observed, what: str, limit_s: float) -> Diagnosis | None:
    """The status of a node that is not heard; None if it is."""
    age_s = observed.age_s(what)
    if age_s <= limit_s:
        return None
    if what not in observed.heard_ns:
        return Diagnosis(name, Health.STALE, "not heard yet; does it run?")
    return Diagnosis(name, Health.ERROR, f"silent for {age_s:.1f} s; does it run?", _arrivals(observed, what))


def _arrivals(observed: Observed, what: str) -> dict[str, str]:
    arrivals = observed.arrivals.get(what)
    rate = "" if arrivals is None else f"{arrivals.rate(observed.now_ns):.1f}"
    count = "" if arrivals is None else str(arrivals.count)
    return {"rate [Hz]": rate, "age [s]": f"{observed.age_s(what):.2f}", "messages": count}


def _session(view: View) -> Diagnosis:
    values = {
        "epoch": str(view.epoch),
        "episode": str(view.episode),
        "episode id": view.episode_id,
        "keys": " ".join(view.keys),
        "reason": view.reason,
    }
    health = Health.ERROR if view.state == "STOPPED" else Health.OK
    return Diagnosis(
        "node: session_manager", health, f"{view.state}: {view.reason}" if view.reason else view.state, values
    )


def _arms(observed: Observed, config: SessionParameters) -> Diagnosis:
    name = "node: arm_driver"
    if silent := _silent(name, observed, "arm", config.arm_timeout_s):
        return silent
    assert observed.arm is not None
    arm = observed.arm
    values = {
        **_arrivals(observed, "arm"),
        "mode": arm.mode.name,
        "reason": arm.reason,
        "fault": arm.fault,
        "weight": f"{arm.weight:.2f}",
        "hottest motor [degC]": str(arm.max_temperature),
        "robot state [Hz]": f"{arm.state_rate:.0f}",
        "CRC errors": str(arm.crc_errors),
        "refused actions": str(arm.refused_actions),
    }
    if observed.fault or arm.fault:
        return Diagnosis(name, Health.ERROR, f"{arm.mode.name}: {observed.fault or arm.fault}", values)
    if arm.max_temperature > config.max_motor_temperature_c:
        return Diagnosis(name, Health.WARN, f"a motor has {arm.max_temperature} degC", values)
    if arm.mode is not ArmMode.RELEASED and arm.state_rate < _LOW_STATE_HZ:
        return Diagnosis(name, Health.WARN, f"the robot's state comes at {arm.state_rate:.0f} Hz only", values)
    return Diagnosis(name, Health.OK, f"{arm.mode.name}: {arm.reason}" if arm.reason else arm.mode.name, values)


def _guard(observed: Observed) -> Diagnosis:
    """It publishes once at its start and when it takes over, so that its silence means nothing."""
    name = "node: arm_guard"
    if "guard" not in observed.heard_ns:
        return Diagnosis(name, Health.STALE, "not heard yet; does it run?")
    if observed.guard_took_over:
        return Diagnosis(name, Health.ERROR, "commands the arms; release them and start the session again")
    return Diagnosis(name, Health.OK, "on guard")


def _policy(observed: Observed, config: SessionParameters, epoch: int) -> Diagnosis:
    name = "node: policy_bridge"
    if silent := _silent(name, observed, "policy", config.status_timeout_s):
        return silent
    assert observed.policy is not None
    policy = observed.policy
    values = {
        **_arrivals(observed, "policy"),
        "server": policy.server,
        "connection": policy.connection.name,
        "epoch": str(policy.epoch),
        "latency [ms]": f"{policy.latency_ms:.0f}",
        "inferences": str(policy.inferences),
        "failures": str(policy.failures),
        "reason": policy.reason,
    }
    if problem := policy_problem(policy, epoch) if epoch >= 0 else "":
        return Diagnosis(name, Health.ERROR, problem, values)
    health = Health.OK if policy.connection is Connection.CONNECTED else Health.WARN
    return Diagnosis(name, health, policy.reason or policy.connection.name, values)


def _recorder(observed: Observed, config: SessionParameters) -> Diagnosis:
    name = "node: recorder"
    if silent := _silent(name, observed, "recorder", config.status_timeout_s):
        return silent
    assert observed.recorder is not None
    recorder = observed.recorder
    values = {
        **_arrivals(observed, "recorder"),
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
        return Diagnosis(name, Health.ERROR, "the disk is nearly full: no episode can start", values)
    return Diagnosis(name, Health.OK, recorder.state.name, values)


def _hand(observed: Observed, config: SessionParameters, side: str) -> Diagnosis:
    name = f"hand: {side}"
    if silent := _silent(name, observed, f"{side} hand", config.max_hand_age_s):
        return silent
    hand = observed.hands[side]
    values = {
        **_arrivals(observed, f"{side} hand"),
        "hottest finger [degC]": str(hand.max_temperature),
        "reason": hand.reason,
    }
    return Diagnosis(name, Health.ERROR if hand.error else Health.OK, hand.reason or "answering", values)


def _machine(observed: Observed, config: SessionParameters) -> Diagnosis:
    problems, warnings = observed.host_problems(), observed.host_warnings()
    if observed.recorder is not None and observed.recorder.machine_is_slow:
        problems.append(MACHINE_IS_SLOW)
    values = {}
    if observed.host is not None:
        values = {
            "clock set by [s]": f"{observed.host.clock_jump_s:+.3f}",
            "throttled": str(observed.host.throttled),
        }
    health = Health.ERROR if problems else Health.WARN if warnings else Health.OK
    return Diagnosis("machine", health, "; ".join(problems + warnings) or "clock and processor are well", values)


def _upload(observed: Observed, config: SessionParameters) -> Diagnosis:
    progress, values = observed.sync_progress, {"target": config.rsync_target}
    if observed.target is not None and observed.target.reason:
        return Diagnosis("upload", Health.WARN, observed.target.reason, values)
    if progress is None:
        return Diagnosis("upload", Health.OK, "nothing uploaded yet", values)
    values |= {
        "progress": f"{progress.progress:.0%}",
        "file": progress.file,
        "rate [MB/s]": f"{progress.bytes_per_second / 1e6:.1f}",
        "files owed": str(progress.files_owed),
    }
    health = Health.ERROR if progress.state is SyncState.FAILED else Health.OK
    return Diagnosis("upload", health, progress.reason or progress.state.name, values)
