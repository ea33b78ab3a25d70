# SPDX-License-Identifier: Apache-2.0
"""What stands above the robot in rviz2 and Foxglove: the session's state, who is in control, the arms' mode."""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_node.parameter import parameter

STALE_NS = 1_000_000_000
"""Older than this, a state is not shown as the present one; the heartbeat comes at 10 Hz."""

WHITE = (0.9, 0.9, 0.9)
COLOURS = {
    "EXECUTING": (0.35, 0.65, 1.0),
    "DAMPING": (1.0, 0.75, 0.2),
    "STOPPED": (1.0, 0.3, 0.25),
}
LOST = (1.0, 0.3, 0.25)


@dataclass(frozen=True)
class MarkerParameters:
    """Where the text stands.

    Attributes: see the descriptions.
    """

    frame_id: str = parameter("pelvis", "frame that the text stands in")
    height: float = parameter(1.05, "its height over that frame", unit="m", low=0.0, high=3.0)
    size: float = parameter(0.09, "height of a letter", unit="m", low=0.01, high=1.0)


@dataclass(frozen=True)
class MarkerState:
    """What is known of the session; times are session time, ns; -1 = never heard.

    Attributes:
        heard_ns: when the state was heard last.
        state, epoch, episode, countdown_s, reason: of session/state.
        phase: of recorder/status: "policy", "human" or empty.
        mode, mode_reason: of arm_status.
    """

    heard_ns: int = -1
    state: str = ""
    epoch: int = -1
    episode: int = -1
    countdown_s: float = 0.0
    reason: str = ""
    phase: str = ""
    mode: str = ""
    mode_reason: str = ""


def lines(marked: MarkerState, now_ns: int) -> list[str]:
    """The text, line by line."""
    if marked.heard_ns < 0:
        return ["no session heard"]
    if now_ns - marked.heard_ns > STALE_NS:
        return [f"session silent for {(now_ns - marked.heard_ns) / 1e9:.0f} s", f"it was in {marked.state}"]
    reported = [f"{marked.state}  {marked.phase}".rstrip()]
    if marked.countdown_s > 0:
        reported.append(f"the arms move in {marked.countdown_s:.1f} s")
    if marked.epoch >= 0:
        reported.append(f"epoch {marked.epoch}" + (f", episode {marked.episode}" if marked.episode >= 0 else ""))
    if marked.mode:
        reported.append(f"arms {marked.mode}: {marked.mode_reason}".removesuffix(": "))
    return reported


def colour(marked: MarkerState, now_ns: int) -> tuple[float, float, float]:
    """Red, green, blue, 0..1."""
    if marked.heard_ns < 0 or now_ns - marked.heard_ns > STALE_NS:
        return LOST
    return COLOURS.get(marked.state, WHITE)
