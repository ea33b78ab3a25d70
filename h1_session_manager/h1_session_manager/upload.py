"""SYNCING: bring the session's data to the training host; and what is remembered of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import NS_PER_S, Steps, Wait
from h1_session_manager.table import State
from h1_session_manager.values import RecorderState, Sync, Synced, SyncProgress, SyncState
from h1_training_node.message_numbers import Level

if TYPE_CHECKING:
    from h1_session_manager.session import Session

_WRITING_S = 20.0
_LABEL_S = 1.0
"""A label that was asked for just before DECIDING was left shows in the recorder's status within this time."""


class Upload:
    """The procedure of SYNCING, and the book of what is owed."""

    def __init__(self, session: Session) -> None:
        self._s = session
        self._due_ns: int | None = None
        self._told_file = self._told_reason = ""

    def run(self) -> Steps[Outcome]:
        """Hold the arms, upload, verify."""
        s = self._s
        # From elsewhere a person may have brought the arms into damping mode, by hand: 'n' of READY tells of no motion.
        if s.comes_from is State.DECIDING and (problem := (yield from s.arms.hold_if_free("sync"))):
            s.say(f"  The arms stay in damping mode: {problem}")
            s.tell(Level.WARN, "hold_refused", problem)
        # A label is still being written into the file: what is sent meanwhile would differ at the target.
        yield Wait(lambda: not self._recorder_writes(), _WRITING_S)
        return (yield from self.upload())

    def _recorder_writes(self) -> bool:
        recorder = self._s.world.recorder
        return recorder is not None and recorder.state is RecorderState.SAVING

    def upload(self) -> Steps[Outcome]:
        """Upload and verify; on failure the person decides."""
        s = self._s
        s.sync_failed = False
        if not s.config.rsync_target:
            s.say(f"  No upload target configured: kept locally in {s.config.save_dir}")
            return Fire("synced", "kept locally", "kept_locally")
        if not s.memory.owed:
            s.say("  Nothing to upload")
            return Fire("synced")
        s.world.synced = None
        s.desk.emit(Sync())
        synced = yield Wait(lambda: s.world.synced, None)  # the uploader bounds every step of it by itself
        if not synced.reason:
            found = f"Upload verified: {synced.files} files at {s.config.rsync_target}"
            s.say(f"  {found if synced.files else 'Nothing to upload'}")
            return Fire("synced")
        s.sync_failed = True
        s.reason = synced.reason
        s.say(f"  Upload failed: {synced.reason}", "  Press 'y' to try again, 'n' to keep the data on this machine")
        s.tell(Level.ERROR, "upload_failed", synced.reason)
        return None

    def hear(self, progress: SyncProgress) -> None:
        """How it goes, for the terminal: each file once, and why one is tried again."""
        s = self._s
        if s.table.state is not State.SYNCING:
            return
        name = progress.file.partition(" (")[0]
        if progress.reason and progress.reason != self._told_reason:
            s.say(f"  {progress.reason}")
        elif progress.state is SyncState.RUNNING and name and name != self._told_file:
            place = progress.file.partition("(")[2].partition(",")[0]
            s.say(f"  Sending {name}, {place}, {progress.files_owed} not verified yet{_pace(progress)}")
            self._told_file = name
        if progress.state is not SyncState.FAILED:
            self._told_reason = progress.reason

    # --- in the background ---

    def begin_later(self) -> None:
        """DECIDING was left for another episode: its labels are final, its file may go out."""
        s = self._s
        if s.config.background_upload and s.config.rsync_target and s.memory.owed:
            self._due_ns = s.world.now_ns + int(_LABEL_S * NS_PER_S)

    def tick(self) -> None:
        """Begin what is due once no label is being written any more."""
        s = self._s
        if self._due_ns is None or s.world.now_ns < self._due_ns or self._recorder_writes():
            return
        self._due_ns = None
        if s.table.state not in (State.SYNCING, State.STOPPED, State.DECIDING, State.SAVING):
            s.desk.emit(Sync(background=True))

    def ended(self, synced: Synced) -> None:
        """An upload has ended. One in the background decides nothing: SYNCING does the rest, and says what stays."""
        s = self._s
        if not synced.background:
            s.world.synced = synced
        elif synced.reason and not s.over and s.table.state is not State.SYNCING:
            s.say(f"  Upload in the background: {synced.reason}", "  SYNCING tries it again")
            s.tell(Level.WARN, "background_upload_failed", synced.reason)

    # --- what is remembered ---

    def owe(self) -> None:
        """An episode was saved."""
        s = self._s
        if s.config.rsync_target:
            s.remember(s.memory.with_owed(s.epoch))

    def found(self, epochs: frozenset[int]) -> None:
        """Episodes were found that nobody has uploaded."""
        s = self._s
        if not epochs <= s.memory.owed:
            s.remember(s.memory.with_unverified(epochs))

    def skipped(self) -> None:
        """The epoch was skipped; one with episodes to upload is finished by that upload."""
        s = self._s
        if s.epoch not in s.memory.owed:
            s.remember(s.memory.with_finished(s.epoch, "skipped"))

    def synced(self) -> None:
        """All data is verified at the target, or stays here by configuration."""
        s = self._s
        if s.config.rsync_target:
            s.remember(s.memory.with_all_uploaded().with_finished(s.epoch, "synced"))
        else:
            s.remember(s.memory.with_finished(s.epoch, "kept"))


def _pace(progress: SyncProgress) -> str:
    if progress.bytes_per_second <= 0 or progress.seconds_left < 0:
        return ""
    return f" ({progress.bytes_per_second / 1e6:.1f} MB/s, {progress.seconds_left:.0f} s left)"
