"""The operator's lines, word for word as the guide has them. What is ours besides goes on further lines."""

from __future__ import annotations

from dataclasses import dataclass

from h1_session_manager.table import Row, State
from h1_session_manager.values import Recorder


@dataclass(frozen=True)
class Screen:
    """What is shown when a state is entered.

    Attributes:
        lines: printed, each on a line of its own.
        prompt: printed last, with the cursor behind it; empty if the state has none.
        summary: the question in one line, for `session/state`.
    """

    lines: tuple[str, ...]
    prompt: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Subject:
    """What the lines speak about."""

    epoch: int = -1
    episode: int = 0
    first_episode: bool = True
    reason: str = ""
    fault: str = ""
    has_episode: bool = True
    taken: bool = True
    interrupted: bool = False
    asks: bool = True
    missing: tuple[str, ...] = ()


RELEASE_SPEECH = "Attention. The arms return to the robot's own controller. Stand clear."
"""Said aloud before a release."""


def screen(state: State, subject: Subject) -> Screen:
    """The lines of `state`."""
    return _SCREENS[state](subject)


def _acknowledging(subject: Subject) -> str:
    return f"acknowledge '{subject.fault}' and " if subject.fault else ""


def _starting(subject: Subject) -> Screen:
    ask = f"Press 'y' to {_acknowledging(subject)}take the arms and move to home position"
    lines: tuple[str, ...] = ("[STARTING] The arms are with the robot's own controller",)
    if subject.missing:
        waiting = f"Waiting for {', '.join(subject.missing)} to start"
        return Screen((*lines, f"  {waiting}"), "", waiting)
    return Screen(lines, f"  {ask}: " if subject.asks else "", ask)


def _waiting(subject: Subject) -> Screen:
    quit_line = "Press 'q' to end the session (the arms return to the robot's own controller: stand clear)"
    return Screen(("[WAITING] Polling policy server for new weights...", f"  {quit_line}"), "", quit_line)


def _ready(subject: Subject) -> Screen:
    first = (
        "[READY] New weights available!"
        if subject.first_episode
        else f"[READY] Epoch {subject.epoch}, episode {subject.episode}"
    )
    moves = f"'y' {'acknowledges ' + repr(subject.fault) + ', then ' if subject.fault else ''}moves the arms: "
    moves += "home first, then the policy. Stand clear"
    ask = f"Press 'y' to start epoch {subject.epoch}, 'n' to skip"
    return Screen((first, f"  {moves}"), f"  {ask}: ", f"{ask} ({moves})")


def _executing(subject: Subject) -> Screen:
    ask = "Press 's' to stop execution and enter damping mode"
    lines = (f"[EXECUTING] Running policy (epoch {subject.epoch})", f"  {ask}", "  Press 'q' for an emergency stop")
    return Screen(lines, "", ask)


def _labeling(subject: Subject) -> Screen:
    why = f": {subject.reason}" if subject.reason else ""
    ask = "Did it succeed? Press 'y' for success, 'n' for failure (the arms then become compliant)"
    return Screen((f"[LABELING] Execution ended{why}",), f"  {ask}: ", ask)


def _damping(subject: Subject) -> Screen:
    resume = f"Press 'r' to {_acknowledging(subject)}resume the policy from here (the arms move)"
    lines = [
        "[DAMPING] Robot in damping mode - adjust pose freely",
        "  Press 'e' to end epoch and save",
        f"  {resume}",
        "  Press 'x' twice to discard the episode",
    ]
    if subject.reason:
        lines.append(f"  Reason: {subject.reason}")
    return Screen(tuple(lines), "", f"Press 'e' to end epoch and save. {resume}, 'x' twice to discard")


def _saving(_subject: Subject) -> Screen:
    return Screen(("[SAVING] Saving episode data...",), "", "")


def _deciding(subject: Subject) -> Screen:
    lines = [
        "[DECIDING] What's next?",
        "  Press 'y' to start another epoch",
        "  Press 'n' to finish training session",
        "  The arms become stiff, where they are, with 'y' and 'n'",
    ]
    if subject.has_episode:
        lines.append("  Press 'g' / 'b' to mark the episode as success / failure, 'x' twice to discard it")
    ask = "Press 'y' to start another epoch, 'n' to finish training session (the arms become stiff)"
    return Screen(tuple(lines), "", ask)


def _syncing(_subject: Subject) -> Screen:
    return Screen(("[SYNCING] Uploading data to remote server...",), "", "")


def _stopped(subject: Subject) -> Screen:
    if subject.interrupted:
        return Screen((f"[STOPPED] {subject.reason}",), "", "The session is ending")
    if subject.taken:
        ask = "Press 'y' to release: arms return to the robot's own controller: stand clear"
    else:
        ask = "Press 'y' to end the session; the robot's own controller has the arms"
    return Screen((f"[STOPPED] {subject.reason or 'Emergency stop'}",), f"  {ask}: ", ask)


_SCREENS = {
    State.STARTING: _starting,
    State.WAITING: _waiting,
    State.READY: _ready,
    State.EXECUTING: _executing,
    State.LABELING: _labeling,
    State.DAMPING: _damping,
    State.SAVING: _saving,
    State.DECIDING: _deciding,
    State.SYNCING: _syncing,
    State.STOPPED: _stopped,
}


NOTHING_TO_SAVE = "nothing to save"
"""How the recorder's reason begins when an episode ended before its first row."""


def saved(recorder: Recorder) -> tuple[str, ...]:
    """The lines about a saved episode."""
    return (
        f"  Saved: {recorder.last_path}",
        f"  Total timesteps: {recorder.policy_frames + recorder.human_frames}",
        f"  Policy frames: {recorder.policy_frames}, Human frames: {recorder.human_frames}",
    )


def save_failed(reason: str) -> str:
    """The line about an episode that could not be saved, or that there was nothing to save of."""
    if reason.startswith(NOTHING_TO_SAVE):
        return f"  {reason[0].upper()}{reason[1:]}"
    return f"  Save failed: {reason} (the journal is kept and tried again at the next start)"


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def poll_failed(reason: str) -> str:
    """The line about a poll without a good answer."""
    return f"Failed to poll training status: {reason}"


def lower_epoch(offered: int, last_seen: int) -> tuple[str, str]:
    """The lines about a server that offers an epoch below the last one, and its question."""
    ask = f"Press 'y' to accept epoch {offered} all the same"
    return (f"  The server offers epoch {offered}, below the last one seen, {last_seen}: an older checkpoint?", ask)


def countdown(seconds: float, what: str) -> str:
    """The announcement of motion."""
    return f"  {what} in {seconds:g} s: press any key to cancel"


def possible(rows: tuple[Row, ...]) -> str:
    """What a person may press, as a list."""
    keys = ", ".join(f"'{row.key}'{' twice' if row.twice else ''} {row.says}" for row in rows if row.key)
    return keys or "nothing to press now; 'q' is an emergency stop"
