"""SYNCING: bring the session's data to the training host; and what is remembered of it."""

from __future__ import annotations

from h1_session_manager import lines
from h1_session_manager.blackboard import Blackboard
from h1_session_manager.outcome import Fire, Outcome
from h1_session_manager.procedure import Steps, Wait
from h1_session_manager.table import State
from h1_session_manager.values import RecorderState, Sync, Synced, SyncProgress, SyncState
from h1_training_node.clock import NS_PER_S
from h1_training_node.message_numbers import Level

_WRITING_S = 20.0
_LABEL_S = 1.0
"""A label that was asked for just before DECIDING was left shows in the recorder's status within this time."""


class Upload:
    """The procedure of SYNCING, and the book of what is owed."""

    def __init__(self, board: Blackboard) -> None:
        self._board = board
        self._due_ns: int | None = None
        self._told_file = self._told_reason = ""

    def run(self) -> Steps[Outcome]:
        """Hold the arms, upload, verify."""
        board = self._board
        # From elsewhere a person may have brought the arms into damping mode, by hand: 'n' of READY tells of no motion.
        if board.comes_from is State.DECIDING and (problem := (yield from board.arms.hold_if_free("sync"))):
            board.say(f"  The arms stay in damping mode: {problem}")
            board.tell(Level.WARN, "hold_refused", problem)
        # A label is still being written into the file: what is sent meanwhile would differ at the target.
        yield Wait(lambda: not self._recorder_writes(), _WRITING_S)
        return (yield from self.upload())

    def _recorder_writes(self) -> bool:
        recorder = self._board.world.recorder
        return recorder is not None and recorder.state is RecorderState.SAVING

    def upload(self) -> Steps[Outcome]:
        """Upload and verify; on failure the person decides."""
        board = self._board
        board.sync_failed = False
        if not board.config.rsync_target:
            board.say(f"  No upload target configured: kept locally in {board.config.save_dir}")
            return Fire("synced", "kept locally", "kept_locally")
        if not board.memory.owed:
            board.say("  Nothing to upload")
            return Fire("synced")
        board.world.synced = None
        board.desk.emit(Sync())
        synced = yield Wait(lambda: board.world.synced, None)  # the uploader bounds every step of it by itself
        if not synced.reason:
            found = f"Upload verified: {lines.counted(synced.files, 'file')} at {board.config.rsync_target}"
            board.say(f"  {found if synced.files else 'Nothing to upload'}")
            return Fire("synced")
        board.sync_failed = True
        board.reason = synced.reason
        board.say(f"  Upload failed: {synced.reason}", "  Press 'y' to try again, 'n' to keep the data on this machine")
        board.tell(Level.ERROR, "upload_failed", synced.reason)
        return None

    def hear(self, progress: SyncProgress) -> None:
        """How it goes, for the terminal: each file once, and why one is tried again."""
        board = self._board
        if board.table.state is not State.SYNCING:
            return
        name = progress.file.partition(" (")[0]
        if progress.reason and progress.reason != self._told_reason:
            board.say(f"  {progress.reason}")
        elif progress.state is SyncState.RUNNING and name and name != self._told_file:
            place = progress.file.partition("(")[2].partition(",")[0]
            board.say(f"  Sending {name}, {place}, {progress.files_owed} not verified yet{_pace(progress)}")
            self._told_file = name
        if progress.state is not SyncState.FAILED:
            self._told_reason = progress.reason

    # --- in the background ---

    def begin_later(self) -> None:
        """DECIDING was left for another episode: its labels are final, its file may go out."""
        board = self._board
        if board.config.background_upload and board.config.rsync_target and board.memory.owed:
            self._due_ns = board.world.now_ns + int(_LABEL_S * NS_PER_S)

    def tick(self) -> None:
        """Begin what is due once no label is being written any more."""
        board = self._board
        if self._due_ns is None or board.world.now_ns < self._due_ns or self._recorder_writes():
            return
        self._due_ns = None
        if board.table.state not in (State.SYNCING, State.STOPPED, State.DECIDING, State.SAVING):
            board.desk.emit(Sync(background=True))

    def ended(self, synced: Synced) -> None:
        """An upload has ended. One in the background decides nothing: SYNCING does the rest, and says what stays."""
        board = self._board
        if not synced.background:
            board.world.synced = synced
        elif synced.reason and not board.over and board.table.state is not State.SYNCING:
            board.say(f"  Upload in the background: {synced.reason}", "  SYNCING tries it again")
            board.tell(Level.WARN, "background_upload_failed", synced.reason)

    # --- what is remembered ---

    def owe(self) -> None:
        """An episode was saved."""
        board = self._board
        if board.config.rsync_target:
            board.remember(board.memory.with_owed(board.epoch))

    def found(self, epochs: frozenset[int]) -> None:
        """Episodes were found that nobody has uploaded."""
        board = self._board
        if not epochs <= board.memory.owed:
            board.remember(board.memory.with_unverified(epochs))

    def skipped(self) -> None:
        """The epoch was skipped; one with episodes to upload is finished by that upload."""
        board = self._board
        if board.epoch not in board.memory.owed:
            board.remember(board.memory.with_finished(board.epoch, "skipped"))

    def synced(self) -> None:
        """All data is verified at the target, or stays here by configuration."""
        board = self._board
        if board.config.rsync_target:
            board.remember(board.memory.with_all_uploaded().with_finished(board.epoch, "synced"))
        else:
            board.remember(board.memory.with_finished(board.epoch, "kept"))


def _pace(progress: SyncProgress) -> str:
    if progress.bytes_per_second <= 0 or progress.seconds_left < 0:
        return ""
    return f" ({progress.bytes_per_second / 1e6:.1f} MB/s, {progress.seconds_left:.0f} s left)"
