# SPDX-License-Identifier: Apache-2.0
"""What must hold before an episode may start, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.values import Policy, StreamStatus
from h1_training_node.message_numbers import Connection, Level, RecorderState, Verdict

GB = 1_000_000_000
ITEMS = (
    *("cameras", "recorder", "disk", "arms and their temperatures", "hands"),
    *("policy server, its metadata and connection", "upload target", "clock", "computer"),
)
"""What is checked, by the names under which it is listed."""
CAMERAS, RECORDER, DISK, ARMS, HANDS, POLICY, UPLOAD, CLOCK, COMPUTER = ITEMS
MACHINE_IS_SLOW = "all cameras are late at once: this computer is too busy or too slow"


@dataclass(frozen=True)
class Finding:
    """One thing that is not in order: an ERROR keeps an episode from starting, a WARN does not.

    Attributes:
        items: of `ITEMS`, that it is about.
        level: WARN or ERROR.
        text: what was found and what to do; begins with its subject and a colon.
    """

    items: tuple[str, ...]
    level: Level
    text: str


@dataclass(frozen=True)
class Preflight:
    """The result of all checks.

    Attributes:
        findings: what is not in order.
        cameras: the operator's line about the cameras.
        dummies: the cameras in whose place grey images would be recorded.
        images: of each camera its name and the size of its images.
    """

    findings: tuple[Finding, ...]
    cameras: str
    dummies: tuple[str, ...] = ()
    images: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps an episode from starting."""
        return tuple(finding.text for finding in self.findings if finding.level is Level.ERROR)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know, but may leave as it is."""
        return tuple(finding.text for finding in self.findings if finding.level is not Level.ERROR)

    @property
    def reason(self) -> str:
        """All problems in one line; empty if there are none."""
        return "; ".join(self.problems)

    @property
    def text(self) -> str:
        """All of it for a person, a line each."""
        lines = [f"Not ready: {problem}" for problem in self.problems] or ["Ready"]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        good = ", ".join(item for item, level, _ in self.by_item() if level is Level.INFO)
        images = [f"Images: {self.images}"] if self.images else []
        return "\n".join([*lines, f"In order: {good or 'nothing'}", self.cameras, *images])

    def by_item(self) -> list[tuple[str, Level, str]]:
        """Of each of `ITEMS`: its worst level, INFO if it is in order, and its findings, a line each."""
        listed = []
        for item in ITEMS:
            found = [finding for finding in self.findings if item in finding.items]
            level = max((finding.level for finding in found), default=Level.INFO)
            listed.append((item, level, "\n".join(finding.text for finding in found)))
        return listed


def check(observed: Observed, config: SessionParameters, epoch: int, own_episode: str = "") -> Preflight:
    """Look at cameras, recorder, disk, arms, policy server, hands, upload target and the computer.

    Args:
        observed: what the session knows.
        config: what it expects.
        epoch: the epoch that the policy bridge must have connected for.
        own_episode: id of the episode that the session itself has open.
    """
    streams = {stream.name: stream for stream in observed.recorder.streams} if observed.recorder else {}
    broken = {name: why for name in config.cameras if (why := camera_problem(streams.get(name)))}
    problems = [
        *_recording(observed, config, own_episode, broken),
        *((ARMS, text) for text in _arms(observed, config)),
        *((POLICY, text) for text in _policy(observed, config, epoch)),
        *((HANDS, text) for text in _hands(observed, config)),
        *((CLOCK, text) for text in observed.host_problems()),
    ]
    warnings = [(CLOCK if text.startswith("clock") else COMPUTER, text) for text in observed.host_warnings()]
    if config.rsync_target and observed.target is not None and observed.target.reason:
        warnings.insert(0, (UPLOAD, f"upload: {observed.target.reason}"))
    findings = [Finding(items if isinstance(items, tuple) else (items,), Level.ERROR, text) for items, text in problems]
    findings += [Finding((item,), Level.WARN, text) for item, text in warnings]
    working = [name for name in config.cameras if name not in broken]
    sizes = [f"{name} {streams[name].image_size}" for name in config.cameras if name in streams]
    images = ", ".join(text for text in sizes if not text.endswith(" "))
    return Preflight(tuple(findings), cameras_line(working, list(broken)), tuple(broken), images)


def cameras_line(working: list[str], broken: list[str]) -> str:
    """The line about the cameras, as operators know it."""
    if not broken:
        return "Cameras ready: All cameras working!"
    if not working:
        return "Cameras ready: All using dummy images"
    return f"Cameras ready: {', '.join(working)} working (others using dummy)"


def camera_problem(stream: StreamStatus | None) -> str:
    """The recorder's verdict on a camera in words; empty if it is FRESH."""
    if stream is None:
        return "the recorder does not know it"
    if stream.age < 0:
        return "no image yet"
    if stream.verdict is Verdict.FROZEN:
        return f"the same image for {stream.age:.1f} s"
    if stream.verdict is Verdict.ABSENT or (stream.verdict is Verdict.LATE and not stream.rate):
        return f"no image for {stream.age:.1f} s"
    return f"late: {stream.rate:.1f} images/s" if stream.verdict is Verdict.LATE else ""


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


def _recording(
    observed: Observed, config: SessionParameters, own_episode: str, broken: dict[str, str]
) -> Iterator[tuple[str | tuple[str, ...], str]]:
    """Recorder, cameras and disk, of which only the recorder knows."""
    recorder = observed.recorder
    if recorder is None or observed.age_s("recorder") > config.status_timeout_s:
        yield (RECORDER, CAMERAS, DISK), "recorder: silent; does it run?"
        return
    if recorder.state is RecorderState.RECORDING and recorder.episode_id != own_episode:
        yield (RECORDER, CAMERAS, DISK), f"recorder: {recorder.episode_id} is still open"
        return
    if recorder.state is RecorderState.SAVING:
        yield (RECORDER, CAMERAS, DISK), f"recorder: still saving {recorder.episode_id}"
        return
    if recorder.machine_is_slow:
        yield COMPUTER, f"computer: {MACHINE_IS_SLOW}; close other programs, or lower the cameras' rate"
    elif not config.allow_dummy_cameras:
        for name, why in broken.items():
            yield CAMERAS, f"camera {name}: {why}; check its cable, power and server"
    free = recorder.bytes_free / GB
    if free < config.min_free_gb:
        needed = f"{config.min_free_gb:g} GB needed"
        yield DISK, f"disk: {free:.1f} GB free in {config.save_dir}, {needed}; free some space"


def _arms(observed: Observed, config: SessionParameters) -> Iterator[str]:
    if observed.arm is None or observed.age_s("arm") > config.arm_timeout_s:
        yield "arms: arm_driver is silent; does it run?"
    elif observed.arm.max_temperature > config.max_motor_temperature_c:
        limit_c = config.max_motor_temperature_c
        yield f"arms: a motor has {observed.arm.max_temperature} degC; let it cool below {limit_c:g}"


def _policy(observed: Observed, config: SessionParameters, epoch: int) -> Iterator[str]:
    if observed.policy is None or observed.age_s("policy") > config.status_timeout_s:
        yield "policy: policy_bridge is silent; does it run?"
    elif problem := policy_problem(observed.policy, epoch):
        yield f"policy: {problem}"
    elif observed.policy.warm_up_reason:
        yield f"policy: {observed.policy.warm_up_reason}"


def _hands(observed: Observed, config: SessionParameters) -> Iterator[str]:
    for side in ("left", "right") if config.include_hands else ():
        age_s, hand = observed.age_s(f"{side} hand"), observed.hands.get(side)
        if hand is None:
            yield f"{side} hand: no answer yet; check its address and power"
        elif age_s > config.max_hand_age_s:
            yield f"{side} hand: no answer for {age_s:.1f} s; check its cable and power"
        elif hand.error:
            why = f" ({hand.reason})" if hand.reason else ""
            yield f"{side} hand: error{why}; free its fingers, then call hands/{side}/clear_error"
        elif hand.max_temperature > (limit_c := config.max_hand_temperature_c):
            yield f"{side} hand: a finger has {hand.max_temperature} degC; let it cool below {limit_c:g}"
