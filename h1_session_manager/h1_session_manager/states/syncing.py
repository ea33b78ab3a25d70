# SPDX-License-Identifier: Apache-2.0
"""SYNCING: bring the session's data to the training host; and the uploads that run beside the session."""

from __future__ import annotations

from h1_session_manager.context import Context, counted
from h1_session_manager.states.base import BaseState, StateText
from h1_session_manager.steps import Fire, Next, Steps, Wait
from h1_session_manager.table import Row, State
from h1_session_manager.values import CHECKING, Bell, Sync, Synced, SyncProgress
from h1_training_node.message_numbers import Level, RecorderState, SyncState

_WRITING_S = 20.0
_NOT_BESIDE = (State.SYNCING, State.STOPPED, State.DECIDING, State.SAVING)


class Syncing(BaseState):
    """The arms hold."""

    name = State.SYNCING
    arms = "HOLD"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._said_file = self._said_reason = ""

    def text(self) -> StateText:
        ask = "Press 'y' to try again, 'n' to keep the data on this machine" if self.context.sync_failed else ""
        return StateText(("[SYNCING] Uploading data to remote server...",), "", ask)

    def enter(self) -> Steps[Next]:
        """Hold the arms, upload, verify."""
        self.context.sync_failed = False
        yield from self.hold_after_deciding("sync")
        # A label is still being written into the file: what is sent meanwhile would differ at the target.
        yield Wait(lambda: not self._recorder_writes(), _WRITING_S)
        return (yield from self.upload())

    def upload(self) -> Steps[Next]:
        """Upload and verify; on failure the person decides."""
        context, target = self.context, self.context.config.rsync_target
        if not target:
            context.say(f"  No upload target configured: kept locally in {context.config.save_dir}")
            return Fire("synced", "kept locally", "kept_locally")
        if not context.memory.owed:
            context.say("  Nothing to upload")
            return Fire("synced")
        context.observed.synced = None
        context.emit(Sync())
        synced = yield Wait(lambda: context.observed.synced, None)  # the uploader bounds every step of it by itself
        if not synced.reason:
            found = f"Upload verified: {counted(synced.files, 'file')} at {target}"
            context.say(f"  {found if synced.files else 'Nothing to upload'}")
            return Fire("synced")
        context.sync_failed = True
        context.reason = synced.reason
        context.say(f"  Upload failed: {synced.reason}", f"  {self.text().question}")
        context.emit(Bell())
        context.event(Level.ERROR, "upload_failed", synced.reason)
        return None

    def report(self, progress: SyncProgress) -> None:
        """How it goes, for the terminal: each file once, and why one is tried again."""
        context = self.context
        if context.table.state is not State.SYNCING:
            return
        name, _, place = progress.file.partition(" (")
        if progress.reason and progress.reason != self._said_reason:
            context.say(f"  {progress.reason}")
        elif progress.state is SyncState.RUNNING and CHECKING not in place and name and name != self._said_file:
            left = f"{progress.files_owed} not verified yet{_pace(progress)}"
            context.say(f"  Sending {name}, {place.partition(',')[0]}, {left}")
            self._said_file = name
        if progress.state is not SyncState.FAILED:
            self._said_reason = progress.reason

    def _recorder_writes(self) -> bool:
        recorder = self.context.observed.recorder
        return recorder is not None and recorder.state is RecorderState.SAVING

    # --- beside the session ---

    def begin_due(self) -> None:
        """Begin the upload that DECIDING has left to do, once no label is being written any more."""
        context = self.context
        due_ns = context.upload_due_ns
        if due_ns is None or context.observed.now_ns < due_ns or self._recorder_writes():
            return
        context.upload_due_ns = None
        if context.table.state not in _NOT_BESIDE:
            context.emit(Sync(background=True))

    def ended(self, synced: Synced) -> None:
        """An upload has ended. One in the background decides nothing: SYNCING does the rest, and says what stays."""
        context = self.context
        if not synced.background:
            context.observed.synced = synced
        elif synced.reason and not context.over and context.table.state is not State.SYNCING:
            context.say(f"  Upload in the background: {synced.reason}", "  SYNCING tries it again")
            context.event(Level.WARN, "background_upload_failed", synced.reason)

    # --- what a person may ask for ---

    def under_way(self) -> str:
        return "" if self.context.sync_failed else "the upload is under way"

    def synced(self, _fire: Fire) -> None:
        """All data is verified at the target, or stays here by configuration."""
        context, memory = self.context, self.context.memory
        if context.config.rsync_target:
            context.remember(memory.with_all_uploaded().with_finished(context.epoch, "synced"))
        else:
            context.remember(memory.with_finished(context.epoch, "kept"))

    rows = (
        Row("synced", State.WAITING, then=synced),
        Row("retry", State.SYNCING, "y", "try the upload again", refuses=under_way),
        Row("keep_local", State.WAITING, "n", "keep the data on this machine", refuses=under_way),
    )


def _pace(progress: SyncProgress) -> str:
    if progress.bytes_per_second <= 0 or progress.seconds_left < 0:
        return ""
    return f" ({progress.bytes_per_second / 1e6:.1f} MB/s, {progress.seconds_left:.0f} s left)"
