# SPDX-License-Identifier: Apache-2.0
"""What the console shows, as text: pure functions from what was heard to 80 columns."""

from __future__ import annotations

import math
import re
import textwrap
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.text import Text

from h1_session_manager.preflight import GB
from h1_session_manager.table import State
from h1_session_manager.values import Arm, Hand, Policy, Polled, Recorder, StreamStatus, SyncProgress, View
from h1_session_manager.words import CLOSE_M, in_words, training_in_words
from h1_training_node.message_numbers import Connection, RecorderState, SyncState

WIDTH = 80
COLOURS = {
    State.STARTING: "white on grey37",
    State.WAITING: "white on dark_blue",
    State.READY: "black on yellow",
    State.EXECUTING: "black on green",
    State.LABELING: "black on yellow",
    State.DAMPING: "black on cyan",
    State.SAVING: "white on dark_magenta",
    State.DECIDING: "black on yellow",
    State.SYNCING: "white on dark_magenta",
    State.STOPPED: "white on red",
}
"""Yellow asks the person, red is an emergency."""

_WITH_EPISODE = frozenset({"EXECUTING", "LABELING", "DAMPING", "SAVING", "DECIDING", "STOPPED"})
"""States in which the recorder's figures are about the episode that the screen is about."""
_BAR = 10
_AGE_BAR = 6
_QUIET_S = 0.5
_LOST_S = 2.0
_SILENT_S = 1.0
"""What comes at 5 Hz or more and was not heard for so long does not count any more."""
_MESSAGES, _KEPT = 5, 60
_TIME = re.compile(r"\d\d:\d\d:\d\d ")


@dataclass
class ConsoleData:
    """The newest of everything, and when the session was last heard, ns."""

    view: View | None = None
    task: str = ""
    arm: Arm | None = None
    recorder: Recorder | None = None
    policy: Policy | None = None
    hands: dict[str, Hand] = field(default_factory=dict)
    sync: SyncProgress | None = None
    training: Polled | None = None
    messages: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    heard_ns: int = 0
    rings: int = 0
    when_ns: dict[str, int] = field(default_factory=dict)

    def silent_s(self, name: str, now_ns: int) -> float:
        """For how long `arm`, `recorder`, `policy`, `left` or `right` has been silent; 0 if that is nothing unusual."""
        age_s = (now_ns - self.when_ns.get(name, now_ns)) / 1e9
        return age_s if age_s > _SILENT_S else 0.0

    def add_lines(self, lines: Iterable[str], time: str = "") -> None:
        """Lines of the session's screen, which came at `time`; the runner's warnings have their own, and a '!'."""
        for line in lines:
            if line.startswith("  Press '") and "once more" not in line:
                continue  # the question stands in its own panel
            own = _TIME.match(line)  # of a warning: when it came
            level = 1 if line[own.end() if own else 0 :].startswith("!") else 0
            self.messages.append((level, line if own or not time else f"{time} {line.strip()}"))


def banner(heard: ConsoleData, now_ns: int, width: int = WIDTH) -> Text:
    """The state, large and in its colour; what is in work; for how long."""
    view = heard.view
    if view is None:
        return Text(" no session heard yet ".center(width), style="white on grey37")
    if now_ns - heard.heard_ns > _LOST_S * 1e9:
        return Text(f" {view.state}: the session is silent ".center(width), style="white on red")
    elapsed = max(0, now_ns - view.since_ns) // 1_000_000_000
    work = f"epoch {view.epoch}, episode {view.episode}" if view.epoch >= 0 else "no epoch yet"
    text = f"{'  '.join(view.state)}    {work}    {elapsed // 60}:{elapsed % 60:02d}"
    released_s = heard.arm.release_countdown if heard.arm is not None and not heard.silent_s("arm", now_ns) else 0.0
    if (left_s := view.countdown_s or released_s) > 0:  # a release may be asked for beside the session
        text += f"    ARMS MOVE IN {left_s:.1f} s"
    return Text(text.center(width), style=f"bold {COLOURS[State(view.state)]}")


def question(heard: ConsoleData) -> Text:
    """The prompt, its keys, and what stands in the way."""
    view = heard.view
    if view is None:
        return Text("Waiting for session/state ...")
    text = Text(view.prompt or "Nothing is asked now.", style="bold")
    text.append("\n")
    for number, (key, label, twice) in enumerate(zip(view.keys, view.key_labels, view.key_twice, strict=False)):
        says = "key cancels" if key == "any" else f"twice: {label}" if twice else label
        text.append(" · " if number else "", "dim").append(key, "bold green").append(f" {says}")
    if not view.keys:
        text.append("no key does anything now", "dim")
    if view.reason:
        text.append(f"\n{in_words(view.reason)}", "yellow")
    return text


def streams(heard: ConsoleData, wanted: Iterable[str], now_ns: int) -> Text:
    """The cameras and other streams: rate, age as a bar, losses."""
    recorder = heard.recorder
    if recorder is None:
        return Text("recorder not heard yet", "dim")
    if silent_s := heard.silent_s("recorder", now_ns):
        return Text(f"recorder silent for {silent_s:.0f} s", "red")
    names = set(wanted)
    listed = [stream for stream in recorder.streams if stream.name in names] or list(recorder.streams[:6])
    text = Text()
    for stream in listed:
        text.append(_stream_line(stream)).append("\n")
    text.rstrip()
    return text


def _stream_line(stream: StreamStatus) -> Text:
    if stream.age < 0:
        return Text(f"{stream.name:15.15} never", "red")
    style = "green" if stream.age < _QUIET_S / 2 else "yellow" if stream.age < _QUIET_S else "red"
    bar = "█" * min(_AGE_BAR, max(1, round(stream.age / _QUIET_S * _AGE_BAR)))
    line = Text(f"{stream.name:15.15} {stream.rate:4.0f}Hz ")
    line.append(f"{bar:{_AGE_BAR}}", style).append(f" {stream.age:4.1f}s")
    if stream.drops:
        line.append(f" -{stream.drops}", "red")
    return line


def robot(heard: ConsoleData, now_ns: int) -> Text:
    """Arms, hands and policy."""
    text = Text()
    arm = heard.arm
    if arm is None:
        text.append("arms   not heard yet\n", "dim")
    elif silent_s := heard.silent_s("arm", now_ns):
        text.append(f"arms   arm_driver silent for {silent_s:.0f} s\n", "red")
    else:
        style = "red" if arm.acknowledge_needed else ""
        why = in_words(arm.fault or arm.reason)
        text.append(f"arms   {arm.mode.name}{f', {why}' if why else ''}, {arm.max_temperature} °C\n", style)
        if arm.clearance < CLOSE_M and arm.closest:
            text.append(f"arms close: {arm.closest}, {max(0.0, arm.clearance) * 100:.0f} cm\n", "yellow")
    for side, hand in sorted(heard.hands.items()):
        if silent_s := heard.silent_s(side, now_ns):
            text.append(f"{side} hand: silent for {silent_s:.0f} s\n", "red")
            continue
        state = in_words(hand.reason) or "idle"
        text.append(f"{side} hand: {state}, {hand.max_temperature} °C\n", "red" if hand.error else "")
    return text.append(_policy(heard, now_ns))


def _policy(heard: ConsoleData, now_ns: int) -> Text:
    policy = heard.policy
    if policy is None:
        return Text("policy not heard yet", "dim")
    if silent_s := heard.silent_s("policy", now_ns):
        return Text(f"policy policy_bridge silent for {silent_s:.0f} s", "red")
    connected = policy.connection is Connection.CONNECTED
    line = f"policy {policy.connection.name.lower()}, epoch {policy.epoch}, {policy.latency_ms:.0f} ms"
    return Text(line if connected else f"{line}: {policy.reason}", "" if connected else "red")


def data(heard: ConsoleData) -> Text:
    """Frames, disk, saving and upload."""
    text = Text()
    recorder = heard.recorder
    view = heard.view
    if recorder is not None:
        if view is not None and view.state in _WITH_EPISODE:
            text.append(f"frames policy {recorder.policy_frames}, human {recorder.human_frames}    ")
        if view is not None and view.outcome:
            text.append(f"{view.episode_id.rpartition('/')[2]} {view.outcome}    ")
        text.append(f"disk {recorder.bytes_free / GB:.0f} GB")
        if recorder.seconds_left >= 0:
            text.append(f", {recorder.seconds_left / 60:.0f} min")
        text.append(" left")
        if recorder.state is RecorderState.SAVING:
            text.append(f"    saving {_bar(recorder.save_progress)}")
    text.append(_first_action(heard)).append(_training(heard.training))
    sync = heard.sync
    if sync is not None and sync.state is not SyncState.IDLE:
        text.append(f"\nupload {sync.state.name.lower()} {_bar(sync.progress)}")
        if sync.state is SyncState.RUNNING and sync.bytes_per_second > 0:
            text.append(f" {sync.bytes_per_second / 1e6:.1f} MB/s")
        if sync.state is SyncState.RUNNING and sync.seconds_left >= 0:
            text.append(f", {sync.seconds_left:.0f} s left")
        if sync.files_owed:
            text.append(f", {sync.files_owed} owed")
        if sync.reason:
            text.append(f"\n{sync.reason}", "red")
        elif sync.file and sync.state is SyncState.RUNNING:
            text.append(f"\n{sync.file.replace('training_session_', '')}")
    return text


def _first_action(heard: ConsoleData) -> str:
    """In READY: how far the policy would move the arms with its first action."""
    policy = heard.policy
    is_known = policy is not None and math.isfinite(policy.first_action_distance_rad)
    if policy is None or not is_known or heard.view is None or heard.view.state != "READY":
        return ""
    return f"    first action {policy.first_action_distance_rad:.2f} rad from the pose"


def _training(training: Polled | None) -> str:
    """What the policy server does; empty if it does not say."""
    if training is None:
        return ""
    doing = training_in_words(training.phase, training.progress)
    said = ": ".join(filter(None, (doing, training.reason)))
    return f"\nserver {said}" if said else ""


def messages(heard: ConsoleData, rows: int = _MESSAGES, width: int = WIDTH - 4) -> Text:
    """The session's last lines and the others' warnings, newest last: as many as fit, each whole if it can be."""
    newest: list[tuple[str, str]] = []
    for level, line in reversed(heard.messages):
        style = ("", "yellow", "red")[min(level, 2)]
        indent = line[: len(line) - len(line.lstrip())]
        hanging = " " * len("hh:mm:ss ") if _TIME.match(line) else f"{indent}  "
        parts = textwrap.wrap(line.strip(), width, initial_indent=indent, subsequent_indent=hanging)
        newest = [(part, style) for part in parts] + newest
        if len(newest) >= rows:
            break
    text = Text()
    for part, style in newest[-rows:]:
        text.append(f"{part}\n", style)
    text.rstrip()
    return text


def _bar(share: float) -> str:
    filled = round(max(0.0, min(1.0, share)) * _BAR)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {share:.0%}"
