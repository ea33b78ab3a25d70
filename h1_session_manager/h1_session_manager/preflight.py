"""What must hold before an episode may start, and what to say where it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.values import Policy, StreamStatus
from h1_training_node.message_numbers import Connection, RecorderState

GB = 1_000_000_000


_ITEMS = {
    "cameras": ("camera", "recorder"),
    "recorder": ("recorder",),
    "disk": ("disk", "recorder"),
    "arms and their temperatures": ("arms",),
    "hands": ("hand",),
    "policy server, its metadata and connection": ("policy",),
    "upload target": ("upload",),
    "clock": ("clock",),
    "processor": ("processor",),
}
"""What is looked at, and the words by which a problem or warning about it begins."""


@dataclass(frozen=True)
class Preflight:
    """The result: `problems` block the start, `warnings` do not; `cameras` is the operator's line about them."""

    problems: tuple[str, ...]
    cameras: str
    dummies: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it for a person, a line each."""
        lines = [f"Not ready: {problem}" for problem in self.problems] or ["Ready"]
        named = " ".join(line.partition(":")[0] for line in (*self.problems, *self.warnings))
        good = ", ".join(item for item, words in _ITEMS.items() if not any(word in named for word in words))
        warnings = (f"Warning: {warning}" for warning in self.warnings)
        return "\n".join([*lines, *warnings, f"In order: {good or 'nothing'}", self.cameras])

    @property
    def reason(self) -> str:
        """All problems in one line; empty if there are none."""
        return "; ".join(self.problems)


def check(observed: Observed, config: SessionParameters, epoch: int, own_episode: str = "") -> Preflight:
    """Look at cameras, recorder, disk, arms, policy server and hands.

    Args:
        observed: what the session knows.
        config: what it expects.
        epoch: the epoch that the policy bridge must have connected for.
        own_episode: id of the episode that the session itself has open.
    """
    problems: list[str] = []
    working, broken = _cameras(observed, config)
    recorder_problem = _recorder(observed, config, own_episode)
    if recorder_problem:
        problems.append(recorder_problem)
    elif broken and not config.allow_dummy_cameras:
        problems += [f"camera {name}: {why}; check its cable, power and server" for name, why in broken.items()]
    if not recorder_problem:
        problems += _disk(observed, config)
    problems += _arms(observed, config) + _policy(observed, config, epoch) + _hands(observed, config)
    problems += observed.host_problems()
    return Preflight(
        tuple(problems), cameras_line(working, list(broken)), tuple(broken), tuple(_warnings(observed, config))
    )


def cameras_line(working: list[str], broken: list[str]) -> str:
    """The line about the cameras, as operators know it."""
    if not broken:
        return "Cameras ready: All cameras working!"
    if not working:
        return "Cameras ready: All using dummy images"
    return f"Cameras ready: {', '.join(working)} working (others using dummy)"


def camera_problem(stream: StreamStatus | None, config: SessionParameters) -> str:
    """What is wrong with a camera's stream; empty if nothing is."""
    if stream is None:
        return "the recorder does not know it"
    if stream.age < 0:
        return "no image yet"
    if stream.age > config.max_camera_age_s:
        return f"no image for {stream.age:.1f} s"
    if stream.rate < config.min_camera_hz:
        return f"only {math.floor(stream.rate * 10) / 10:.1f} images/s, expected {config.min_camera_hz:g} or more"
    return ""


def policy_problem(policy: Policy, epoch: int) -> str:
    """What is wrong with the connection to the policy server; empty if nothing is."""
    why = f": {policy.reason}" if policy.reason else ""
    if policy.connection is Connection.REFUSED:
        return f"the server does not fit the configuration{why}"
    if policy.connection is not Connection.CONNECTED:
        return f"not connected to {policy.server or 'the server'}{why}"
    if policy.epoch != epoch:
        return f"not yet reconnected for epoch {epoch}"
    return ""


def _cameras(observed: Observed, config: SessionParameters) -> tuple[list[str], dict[str, str]]:
    streams = {stream.name: stream for stream in observed.recorder.streams} if observed.recorder else {}
    broken = {
        name: why for name in config.cameras if (why := camera_problem(streams.get(name), config))
    }  # fmt: skip
    return [name for name in config.cameras if name not in broken], broken


def _recorder(observed: Observed, config: SessionParameters, own_episode: str) -> str:
    if observed.recorder is None or observed.age_s("recorder") > config.status_timeout_s:
        return "recorder: silent; does it run?"
    if observed.recorder.state is RecorderState.RECORDING and observed.recorder.episode_id != own_episode:
        return f"recorder: {observed.recorder.episode_id} is still open"
    if observed.recorder.state is RecorderState.SAVING:
        return f"recorder: still saving {observed.recorder.episode_id}"
    return ""


def _disk(observed: Observed, config: SessionParameters) -> list[str]:
    assert observed.recorder is not None
    free = observed.recorder.bytes_free / GB
    if free >= config.min_free_gb:
        return []
    return [f"disk: {free:.1f} GB free in {config.save_dir}, {config.min_free_gb:g} GB needed; free some space"]


def _arms(observed: Observed, config: SessionParameters) -> list[str]:
    if observed.arm is None or observed.age_s("arm") > config.arm_timeout_s:
        return ["arms: arm_driver is silent; does it run?"]
    if observed.arm.max_temperature > config.max_motor_temperature_c:
        limit_c = config.max_motor_temperature_c
        return [f"arms: a motor has {observed.arm.max_temperature} degC; let it cool below {limit_c:g}"]
    return []


def _policy(observed: Observed, config: SessionParameters, epoch: int) -> list[str]:
    if observed.policy is None or observed.age_s("policy") > config.status_timeout_s:
        return ["policy: policy_bridge is silent; does it run?"]
    problem = policy_problem(observed.policy, epoch)
    if problem and observed.policy.connection in (Connection.DISCONNECTED, Connection.CONNECTING):
        problem += "; does the server run, is this its host and port?"
    return [f"policy: {problem}"] if problem else []


def _warnings(observed: Observed, config: SessionParameters) -> list[str]:
    """What a person should know, but may leave as it is."""
    warnings: list[str] = []
    if config.rsync_target and observed.target is not None and observed.target.reason:
        warnings.append(f"upload: {observed.target.reason}")
    return warnings + observed.host_warnings()


def _hands(observed: Observed, config: SessionParameters) -> list[str]:
    if not config.include_hands:
        return []
    problems = []
    for side in ("left", "right"):
        age = observed.age_s(f"{side} hand")
        hand = observed.hands.get(side)
        if hand is None:
            problems.append(f"{side} hand: no answer yet; check its address and power")
        elif age > config.max_hand_age_s:
            problems.append(f"{side} hand: no answer for {age:.1f} s; check its cable and power")
        elif hand.error:
            why = f" ({hand.reason})" if hand.reason else ""
            problems.append(f"{side} hand: error{why}; free its fingers, then call hands/{side}/clear_error")
        elif hand.max_temperature > config.max_hand_temperature_c:
            problems.append(
                f"{side} hand: a finger has {hand.max_temperature} degC; let it cool below "
                f"{config.max_hand_temperature_c:g}"
            )
    return problems
