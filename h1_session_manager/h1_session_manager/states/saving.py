# SPDX-License-Identifier: Apache-2.0
"""SAVING: the recorder makes an episode of the journal."""

from __future__ import annotations

from h1_session_manager.context import Context
from h1_session_manager.episode import EpisodeState
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.steps import Fire, Next, Steps
from h1_session_manager.table import Row, State
from h1_training_node.message_numbers import Level, RecorderState

NOTHING_TO_SAVE = "nothing to save"
"""How the recorder's reason begins when an episode ended before its first row."""


class Saving(BaseState):
    """The arms stay compliant meanwhile."""

    name = State.SAVING
    arms = "DAMPING"

    def text(self) -> StateText:
        return StateText(("[SAVING] Saving episode data...",))

    def reason(self) -> str:
        recorder = self.context.observed.recorder
        if recorder is None:
            return super().reason()
        saving = recorder.state is RecorderState.SAVING
        return f"saving, {recorder.save_progress:.0%}" if saving else self.context.reason

    def enter(self) -> Steps[Next]:
        problem = yield from close_episode(self.context)
        return Fire("save_failed", problem, "save_failed") if problem else Fire("saved")

    rows = (Row("saved", State.DECIDING), Row("save_failed", State.DECIDING))


def close_episode(context: Context, within_s: float | None = None) -> Steps[str]:
    """Close the episode if it is open or closing, and say what has become of it; returns the reason of a failure."""
    episode = context.episode
    if episode.state not in (EpisodeState.OPEN, EpisodeState.CLOSING):
        return ""
    problem = yield from episode.close(within_s)
    recorder = context.observed.recorder
    if problem.startswith(NOTHING_TO_SAVE):
        context.say(f"  {problem[0].upper()}{problem[1:]}")
        context.event(Level.WARN, "nothing_to_save", f"{episode.id}: {problem}")
    elif problem and within_s is not None and recorder is not None and episode.is_saving():
        done = f"{recorder.save_progress:.0%}"
        context.say(f"  Still being saved ({done}); if that is not done in time, the next start makes the episode")
        context.event(Level.WARN, "save_unfinished", f"{episode.id}: {done}")
    elif problem:
        context.say(f"  Save failed: {problem} (the journal is kept and tried again at the next start)")
        context.event(Level.ERROR, "save_failed", f"{episode.id}: {problem}")
    elif recorder is not None:
        context.say(
            f"  Saved: {recorder.last_path}",
            f"  Total timesteps: {recorder.policy_frames + recorder.human_frames}",
            f"  Policy frames: {recorder.policy_frames}, Human frames: {recorder.human_frames}",
        )
        if context.config.rsync_target:  # also if a stop closed it
            context.remember(context.memory.with_owed(context.epoch))
    return problem
