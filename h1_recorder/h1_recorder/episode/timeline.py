# SPDX-License-Identifier: Apache-2.0
"""Which rows an episode has, and what of each stream belongs to each: a pure function of the decoded journal.

Ticks lie at t0 + n / fps through the whole episode; t0 lies 10 ms after the first phase-aligned arm_status at which
every required stream has a message, so that half a period of jitter on either side neither loses nor doubles a row.
A tick is a row by what the session's state and the arm driver's mode were at that instant (`docs/episode_format.md`);
a row is the state of everything at its tick: of every stream the newest message that is not later (`cameras.newest`).

Besides:
- The arms' mode "at that instant" is known while arm_status is alive. 100 ms after the last one (five periods: the
  arm driver's own limit for a stale action) there are no rows but a gap, `arm_status_silent`.
- A hand's state is known for 500 ms (the preflight's limit for a hand that does not answer): no stamp in the file
  could say how old it is.
- An action belongs to an unbroken run of policy rows if it was stamped after the arm state with which that run
  begins. Before the first such, `action` is what the arms were commanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from h1_recorder.episode.tracks import LONGEST_NS, Bools, Int64, Tracks
from h1_training_node.cameras import newest
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import ArmMode

T0_AFTER_ARM_NS = 10_000_000
ARM_PERIOD_NS = 20_000_000
_PHASE_SAMPLE, _IN_PHASE_NS = 50, 2_000_000
ARM_SILENT_NS = 100_000_000
HAND_SILENT_NS = 500_000_000
SILENT = "arm_status_silent"
_NEVER = np.iinfo(np.int64).min


class NoRowsError(ValueError):
    """The journal has no moment that is a row; the message says why.

    Attributes:
        missing: required streams that never delivered; empty if the arms just never entered POLICY.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Gap:
    """Ticks that should have been rows and are none.

    Attributes:
        start_ns, end_ns: first and last missing tick.
        ticks: how many.
        reason: what the arm driver gave for its forced mode, or `arm_status_silent`.
    """

    start_ns: int
    end_ns: int
    ticks: int
    reason: str


@dataclass(frozen=True)
class Rows:
    """T rows. Indices point into the tracks; -1 means none.

    Attributes:
        tick: (T,) ns.
        arm: (T,) into the arm track.
        human: (T,) phase is `human`.
        holding: (T,) the arms were in HOLD for a stale action, following the last one.
        segment: (T,) number of the unbroken run, from 0.
        action: (T,) into the action track.
        hands, cameras: (T,) each, by name.
        gaps: in order.
    """

    tick: Int64
    arm: Int64
    human: Bools
    holding: Bools
    segment: Int64
    action: Int64
    hands: Mapping[str, Int64]
    cameras: Mapping[str, Int64]
    gaps: list[Gap] = field(default_factory=list)


def dummy_cameras(tracks: Tracks, *, silent_at_start: tuple[str, ...], allowed: bool) -> tuple[str, ...]:
    """Cameras that rows do not wait for: known to be silent at the start, or without any image at all."""
    if not allowed:
        return ()
    return tuple(name for name, track in tracks.cameras.items() if name in silent_at_start or not len(track.time))


def make_rows(tracks: Tracks, *, fps: int, dummies: tuple[str, ...] = ()) -> Rows:
    """The rows of an episode.

    Args:
        tracks: the decoded journal.
        fps: rows per second.
        dummies: cameras that are not required.

    Raises:
        NoRowsError: there is not a single one.
    """
    ticks = _ticks(tracks, fps, dummies)
    arm = newest(tracks.arm.stamp, ticks)
    human, policy, holding, wanted = _conditions(tracks, ticks, arm)
    is_row = human | policy | holding
    if not is_row.any():
        raise NoRowsError("no rows: the arms were never in POLICY during EXECUTING, nor guided in DAMPING")
    number = np.flatnonzero(is_row)
    rows_tick, rows_arm, rows_human = ticks[number], arm[number], human[number]
    breaks = np.diff(number, prepend=number[0]) > 1
    cameras = {name: newest(track.time, rows_tick) for name, track in tracks.cameras.items()}
    return Rows(
        tick=rows_tick,
        arm=rows_arm,
        human=rows_human,
        holding=holding[number],
        segment=np.cumsum(breaks),
        action=_actions(tracks, rows_tick, rows_arm, rows_human, breaks),
        hands={side: _while_alive(track.stamp, rows_tick) for side, track in tracks.hands.items()},
        cameras=cameras,
        gaps=_gaps(tracks, ticks, arm, wanted & ~is_row),
    )


def _ticks(tracks: Tracks, fps: int, dummies: tuple[str, ...]) -> Int64:
    """All ticks from t0 to the last arm state.

    Raises:
        NoRowsError: a required stream never delivered, or not before the arms' last state.
    """
    required = {"arm_status": tracks.arm.stamp, "session/state": tracks.state.stamp}
    required |= {name: track.time for name, track in tracks.cameras.items() if name not in dummies}
    missing = tuple(name for name, stamps in required.items() if not len(stamps))
    if missing:
        raise NoRowsError(f"no rows: {', '.join(missing)} never delivered anything", missing)
    complete_ns = max(int(stamps[0]) for name, stamps in required.items() if name != "session/state")
    first = int(np.searchsorted(tracks.arm.stamp, complete_ns, side="left"))
    if first == len(tracks.arm.stamp):
        raise NoRowsError("no rows: the arms' last state came before every camera had delivered an image")
    first += first_in_phase(tracks.arm.stamp[first : first + _PHASE_SAMPLE])
    t0, last = int(tracks.arm.stamp[first]) + T0_AFTER_ARM_NS, int(tracks.arm.stamp[-1])
    if last - t0 > LONGEST_NS:
        raise NoRowsError(f"no rows: the arms' stamps span {(last - t0) / 3.6e12:.0f} h; one of the clocks is wrong")
    count = max(0, (last - t0) * fps // NS_PER_S + 1)
    return t0 + np.arange(count, dtype=np.int64) * NS_PER_S // fps


def _while_alive(stamps: Int64, ticks: Int64) -> Int64:
    """At each tick the newest of a hand's states; -1 before the first, and where it has been silent for too long."""
    index = newest(stamps, ticks)
    age_ns = ticks - np.append(stamps, _NEVER // 2)[index]  # -1: the one appended
    return np.where(age_ns <= HAND_SILENT_NS, index, -1)


def first_in_phase(stamps: Int64) -> int:
    """Index of the first stamp that is phase-aligned with the others, within 2 ms.

    arm_status comes every 20 ms, and once more at every change of mode: a first row hung on such a one would put all
    rows next to the edge between two states.
    """
    phase = (stamps - stamps[0]) % ARM_PERIOD_NS * (2 * np.pi / ARM_PERIOD_NS)
    common = np.angle(np.mean(np.exp(1j * phase)))
    off_ns = np.abs(np.angle(np.exp(1j * (phase - common)))) * ARM_PERIOD_NS / (2 * np.pi)
    aligned = np.flatnonzero(off_ns <= _IN_PHASE_NS)
    return int(aligned[0]) if len(aligned) else 0


def _conditions(tracks: Tracks, ticks: Int64, arm: Int64) -> tuple[Bools, Bools, Bools, Bools]:
    """For every tick: human row, policy row, row in a HOLD for a stale action, and whether a row was due."""
    state_index = newest(tracks.state.stamp, ticks)
    states = np.array([*tracks.state.state, ""], dtype=object)  # index -1: before the first one
    executing_at, damping_at = states == "EXECUTING", states == "DAMPING"
    executing, damping = executing_at[state_index], damping_at[state_index]

    alive = ticks - tracks.arm.stamp[arm] <= ARM_SILENT_NS
    mode = tracks.arm.mode[arm]
    stale_hold = tracks.arm.mode == ArmMode.HOLD
    stale_hold &= np.array([reason == "stale_action" for reason in tracks.arm.reason], np.bool_)

    last_policy = np.maximum.accumulate(np.where(tracks.arm.mode == ArmMode.POLICY, tracks.arm.stamp, _NEVER))
    entered = executing & (last_policy[arm] >= _entry_stamps(tracks)[state_index])
    human = damping & (mode == ArmMode.DAMPING) & alive
    policy = executing & (mode == ArmMode.POLICY) & alive
    holding = entered & stale_hold[arm] & alive
    due = entered & (tracks.arm.forced[arm] | ~alive) | damping & ~alive
    return human, policy, holding, due


def _entry_stamps(tracks: Tracks) -> Int64:
    """For every message of session/state: the stamp of the first one of the unbroken run of its state."""
    states = tracks.state.state
    stamps = np.empty(len(states) + 1, np.int64)
    stamps[-1] = np.iinfo(np.int64).max
    for i, state in enumerate(states):
        same = i > 0 and states[i - 1] == state
        stamps[i] = stamps[i - 1] if same else tracks.state.stamp[i]
    return stamps


def _actions(tracks: Tracks, tick: Int64, arm: Int64, human: Bools, breaks: Bools) -> Int64:
    """Of each policy row the newest action of its own run; -1 in human rows and before a run's first action."""
    if not len(tracks.action.stamp):
        return np.full(len(tick), -1, np.int64)
    run_begins = breaks.copy()
    run_begins[0] = True
    run_begins[1:] |= human[1:] != human[:-1]
    first_row_of_run = np.maximum.accumulate(np.where(run_begins, np.arange(len(tick)), 0))
    since = tracks.arm.stamp[arm[first_row_of_run]]
    index = newest(tracks.action.stamp, tick)
    belongs = ~human & (index >= 0) & (tracks.action.stamp[index] >= since)
    return np.where(belongs, index, -1)


def _gaps(tracks: Tracks, ticks: Int64, arm: Int64, missing: Bools) -> list[Gap]:
    """Unbroken runs of missing ticks with the same reason."""
    gaps: list[Gap] = []
    previous = -2
    for n in np.flatnonzero(missing):
        silent = ticks[n] - tracks.arm.stamp[arm[n]] > ARM_SILENT_NS
        reason = SILENT if silent else tracks.arm.reason[arm[n]] or "unknown"
        if gaps and n == previous + 1 and gaps[-1].reason == reason:
            gaps[-1] = Gap(gaps[-1].start_ns, int(ticks[n]), gaps[-1].ticks + 1, reason)
        else:
            gaps.append(Gap(int(ticks[n]), int(ticks[n]), 1, reason))
        previous = int(n)
    return gaps
