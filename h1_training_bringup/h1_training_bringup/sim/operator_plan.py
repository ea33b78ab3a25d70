# SPDX-License-Identifier: Apache-2.0
"""What the scripted operator would do now: a person's session, decided by what can be seen of it.

The policy is stopped when it is done, gets no further or strays (`task.Judgement`); the correction ends when the person
says so; the outcome is what was measured at the body. Time is only patience: a key that was ignored is pressed again,
and a session that does not move on is reported.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from h1_training_bringup.sim.task import Judgement
from h1_training_node.clock import NS_PER_S
from h1_training_node.parameter import parameter

_FIGURES = re.compile(r"\d+(\.\d+)?")
_MOST_RESUMES = 3
_AGAIN_NS = int(1.5 * NS_PER_S)
"""Longer than the guard against key repeat, which a hasty second press would only prolong."""
_SETTLED_NS = NS_PER_S
"""So long in WAITING, no new weights were there at once: a `q` that READY overtakes would be an emergency stop."""
_QUIT_AGAIN_NS = int(25 * NS_PER_S)
"""A second `q` while the arms are being released is an emergency stop."""


@dataclass(frozen=True)
class OperatorParameters:
    """What the scripted operator does."""

    epochs: int = parameter(2, "epochs to run before it ends the session", low=0)
    episodes: int = parameter(2, "episodes in each epoch", low=1)
    first_episodes: int = parameter(0, "episodes in the first epoch; 0: as in each", low=0)
    policy_frames: int = parameter(60, "least rows of the policy in an episode", low=1)
    human_frames: int = parameter(400, "rows by hand after which a demonstration is not waited for", low=1)
    resume_in_episode: int = parameter(
        2, "episode of the first epoch in which the policy goes on after 'r'; 0: none", low=0
    )
    most_presses: int = parameter(8, "presses of one key without effect that are taken for a refusal", low=1)
    patience_s: float = parameter(120.0, "a session that shows nothing new for so long is stuck", unit="s", low=1.0)


@dataclass(frozen=True)
class Seen:
    """The newest of what the operator sees.

    Attributes:
        state, epoch, episode_id, keys, reason: of `session/state`.
        since_ns: when that state was entered.
        policy_frames, human_frames: rows of the open episode, from `recorder/status`.
        arms_damping: whether the arms are compliant.
        demonstrated: id of the episode whose demonstration the simulated person has finished.
        distance_m: of the hand, or of what it pushes, from where the task wants it; None while nobody says.
        remaining_m, succeeded, strays_from_best: as `task.Measured` and `task.Task` have it.
        uploading: how far the upload is.
    """

    state: str
    since_ns: int
    epoch: int = -1
    episode_id: str = ""
    keys: tuple[str, ...] = ()
    reason: str = ""
    policy_frames: int = 0
    human_frames: int = 0
    arms_damping: bool = False
    demonstrated: str = ""
    distance_m: float | None = None
    remaining_m: float | None = None
    strays_from_best: bool = False
    succeeded: bool = False
    uploading: str = ""


@dataclass
class OperatorPlan:
    """Decides which key to press. `complaints` are what went wrong; empty after a good session."""

    parameters: OperatorParameters
    complaints: list[str] = field(default_factory=list)
    pressed_quit: bool = False
    gives_up: bool = False
    _entry: tuple[str, int] = ("", -1)
    _rows_at_entry: tuple[int, int] = (0, 0)
    _previous_state: str = ""
    _finished_epochs: set[int] = field(default_factory=set)
    _first_epoch: int | None = None
    _episodes: dict[int, list[str]] = field(default_factory=dict)
    _resumed: Counter[str] = field(default_factory=Counter)
    _labelled: set[str] = field(default_factory=set)
    _retried_uploads: int = 0
    _press: tuple[str, int, int, int] | None = None
    _judgement: Judgement | None = None
    _last_change: tuple[object, int] = (None, 0)

    def look(self, seen: Seen, now_ns: int) -> str:
        """The key to press now; empty for none."""
        if (seen.state, seen.since_ns) != self._entry:
            self._enter(seen)
        self._watch_for_changes(seen, now_ns)
        if seen.state == "WAITING" and self._all_done and self.complaints:
            self.gives_up = True  # no clean end: whoever started it must not take it for a success
        key = "" if self.gives_up else self._wanted(seen, now_ns)
        if not key or key not in seen.keys:
            return ""
        if seen.state == "WAITING" and now_ns - seen.since_ns < _SETTLED_NS:
            return ""
        return key if self._may_press(key, seen, now_ns) else ""

    def _enter(self, seen: Seen) -> None:
        self._previous_state, self._entry = self._entry[0], (seen.state, seen.since_ns)
        same_episode = seen.state in ("EXECUTING", "DAMPING") and self._previous_state != "READY"
        self._rows_at_entry = (seen.policy_frames, seen.human_frames) if same_episode else (0, 0)
        self._press, self._judgement = None, None
        # By what is in work now, since SYNCING and WAITING may be over before anybody sees them.
        self._finished_epochs |= {e for e in self._episodes if e != seen.epoch or seen.state == "WAITING"}
        if seen.state == "READY" and self._first_epoch is None:
            self._first_epoch = seen.epoch
        elif seen.state == "DECIDING":
            self._episodes.setdefault(seen.epoch, []).append(seen.episode_id)
            if seen.reason:
                self.complaints.append(f"{seen.episode_id} was not saved: {seen.reason}")
        elif seen.state == "EXECUTING" and self._previous_state == "DAMPING":
            self._resumed[seen.episode_id] += 1
        elif seen.state == "STOPPED" and not seen.reason.startswith("interrupted"):
            self.complaints.append(f"the session stopped: {seen.reason}")

    @property
    def _all_done(self) -> bool:
        return len(self._finished_epochs) >= self.parameters.epochs

    def _wanted(self, seen: Seen, now_ns: int) -> str:
        """What a person would press in this state, whether it is possible now or not."""
        all_done = self._all_done
        match seen.state:
            case "STARTING" | "STOPPED":
                return "y"
            case "LABELING":
                return "y" if seen.succeeded else "n"
            case "WAITING":  # 'y' is asked for only if the server has fallen back behind an epoch: its weights count
                return "q" if all_done else "y"
            case "READY":
                return "n" if all_done else "y"
            case "EXECUTING":
                return "s" if self._has_seen_enough(seen, now_ns) else ""
            case "DAMPING":
                return self._wanted_in_damping(seen)
            case "DECIDING":
                return self._wanted_in_deciding(seen)
            case "SYNCING":
                return "y" if self._retried_uploads < 2 else "n"
        return ""

    def _has_seen_enough(self, seen: Seen, now_ns: int) -> bool:
        rows = seen.policy_frames - self._rows_at_entry[0]
        if seen.distance_m is None or rows < 1:
            return False
        if self._judgement is None:
            remaining_m = seen.distance_m if seen.remaining_m is None else seen.remaining_m
            self._judgement = Judgement(now_ns, remaining_m, strays_from_best=seen.strays_from_best)
        return (
            bool(self._judgement.look(now_ns, seen.distance_m, seen.remaining_m))
            and rows >= self.parameters.policy_frames
        )

    def _wanted_in_damping(self, seen: Seen) -> str:
        rows = seen.human_frames - self._rows_at_entry[1]
        # A demonstration that takes long is not waited for for ever.
        is_shown = seen.demonstrated == seen.episode_id or rows >= self.parameters.human_frames
        if not (is_shown and rows and seen.arms_damping):
            return ""
        resumes = seen.epoch == self._first_epoch and self._episode_number(seen) == self.parameters.resume_in_episode
        # A fault may have ended the policy's run too early; that is made up for, but not for ever.
        falls_short = (
            seen.policy_frames < self.parameters.policy_frames and self._resumed[seen.episode_id] < _MOST_RESUMES
        )
        return "r" if (resumes and not self._resumed[seen.episode_id]) or falls_short else "e"

    def _wanted_in_deciding(self, seen: Seen) -> str:
        number = self._episode_number(seen) - 1
        if seen.episode_id not in self._labelled and "g" in seen.keys:
            return "g" if seen.succeeded else "b"
        wanted = self.parameters.episodes
        if seen.epoch == self._first_epoch and self.parameters.first_episodes:
            wanted = self.parameters.first_episodes
        return "y" if number < wanted else "n"

    def _episode_number(self, seen: Seen) -> int:
        """Of the episode in work, from 1; in DECIDING one more than those that are over."""
        return len(self._episodes.get(seen.epoch, ())) + 1

    def _may_press(self, key: str, seen: Seen, now_ns: int) -> bool:
        """Once, and again with patience while nothing comes of it."""
        presses = 0
        if self._press is not None and self._press[:2] == (key, seen.since_ns):
            _, _, presses, last_ns = self._press
            if now_ns - last_ns < (_QUIT_AGAIN_NS if key == "q" else _AGAIN_NS):
                return False
            if presses >= self.parameters.most_presses:
                self._complain(f"'{key}' was pressed {presses} times in {seen.state} without effect: {seen.reason}")
                return False
        self._press = (key, seen.since_ns, presses + 1, now_ns)
        if key in ("g", "b"):
            self._labelled.add(seen.episode_id)
        self._retried_uploads += seen.state == "SYNCING"
        if seen.state == "SYNCING" and key == "n":
            self.complaints.append(f"the upload failed: {seen.reason}")
        self.pressed_quit |= key == "q"
        return True

    def _watch_for_changes(self, seen: Seen, now_ns: int) -> None:
        known, since_ns = self._last_change
        # An age that grows, or a hand that trembles, is no change.
        visible = replace(seen, reason=_FIGURES.sub("#", seen.reason), distance_m=None, remaining_m=None)
        if known != visible:
            self._last_change = (visible, now_ns)
        elif now_ns - since_ns > self.parameters.patience_s * NS_PER_S:
            self._complain(f"nothing moves in {seen.state}: {seen.reason or 'no reason shown'}")

    def _complain(self, text: str) -> None:
        self.complaints.append(text)
        self.gives_up = True
