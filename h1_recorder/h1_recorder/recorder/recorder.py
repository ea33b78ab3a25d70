"""The recorder without ROS: one episode at a time is opened, finished, saved, labelled, discarded.

Requests are accepted or refused at once; what becomes of them is seen in `status`, by the episode's id. `tick` is
called regularly and is where everything happens that takes time elsewhere: in the journal's threads and in child
processes. A journal is deleted when its episode was verified and the session has left DECIDING, not before.
"""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h1_recorder.episode.folder import discard, episode_path, free_index, journal_path, part_path
from h1_recorder.episode.info import OUTCOMES, EpisodeEnd, EpisodeInfo
from h1_recorder.recorder.disk import GB, DiskWatch, Room, free_bytes
from h1_recorder.recorder.droppable import Droppable
from h1_recorder.recorder.folder_lock import FolderInUseError, FolderLocks
from h1_recorder.recorder.intake import Intake
from h1_recorder.recorder.jobs import Jobs, Starter
from h1_recorder.recorder.journal import Journal
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.request import Answer, RefusedError, StartRequest, State, Status, checked
from h1_training_node.cameras import CAMERAS
from h1_training_node.message_numbers import Level, Verdict

REFUGE = Path(tempfile.gettempdir()) / "h1_rescued_episodes"
"""Where an episode goes whose folder has vanished and cannot be made anew."""

_STATES_BEFORE_DROP = ("", "SAVING", "DECIDING", "EXECUTING", "LABELING", "DAMPING")

EventSink = Callable[[Level, str, str], None]


@dataclass
class _Episode:
    """The open episode, or the last one."""

    id: str
    path: Path
    journal_path: Path
    started_ns: int
    journal: Journal | None = None
    frames: tuple[int, int] = (0, 0)


class Recorder:
    """See the module.

    Args:
        parameters: of the node.
        now_ns: the session clock.
        event: is told what is worth remembering: level, reason, one line for a person.
        starter: starts child processes; for tests.

    Attributes:
        intake: where the messages come in.
        jobs: what child processes do.
        disk: watched for room.
        locks: on the folders that it writes to.
        ending: the session ends, so that a camera that falls silent is no news.
    """

    def __init__(
        self,
        parameters: RecorderParameters,
        *,
        now_ns: Callable[[], int],
        event: EventSink,
        starter: Starter | None = None,
    ) -> None:
        self._parameters = parameters
        self._now_ns = now_ns
        self._event = event
        self.intake = Intake(parameters.fps, parameters.camera_fps, now_ns)
        self.jobs = Jobs(starter)
        self.disk = DiskWatch()
        if parameters.save_dir:
            self.disk.watch(Path(parameters.save_dir))
        self._room = Room(self.disk, parameters.min_free_stop_gb * GB)
        self.locks = FolderLocks()
        self._state = State.IDLE
        self._episode: _Episode | None = None
        self._discarding: list[Journal] = []
        self._droppable = Droppable(parameters)
        self._last_path = ""
        self._last_error = ""
        self.ending = False

    # ---- requests

    def start(self, request: StartRequest) -> Answer:
        """Open a journal for a new episode."""
        try:
            episode = self._open(request)
        except (RefusedError, FolderInUseError) as error:
            return Answer(False, str(error))
        except OSError as error:
            return Answer(False, f"cannot record into {request.directory}: {error.strerror or error}")
        self._droppable.drop()
        self.jobs.warm()
        self._episode, self._state, self._last_error = episode, State.RECORDING, ""
        return Answer(True, episode_id=episode.id, path=str(episode.path))

    def finish(self, episode_id: str, end_reason: str, outcome: str) -> Answer:
        """Close the journal of the open episode and save it."""
        episode = self._episode
        if self._state != State.RECORDING or episode is None or episode.id != episode_id:
            return Answer(False, f"episode '{episode_id}' is not being recorded; {self._now_doing()}")
        if outcome not in OUTCOMES:
            return Answer(False, f"outcome is '{outcome}'; expected one of {', '.join(OUTCOMES)}")
        self._finish(end_reason, outcome)
        return Answer(True, episode_id=episode.id, path=str(episode.path))

    def discard(self, episode_id: str, why: str) -> Answer:
        """Move the open or the last episode to `.discarded/`."""
        episode = self._episode
        if episode is None or episode.id != episode_id or self._state in (State.IDLE, State.SAVING):
            return Answer(False, f"episode '{episode_id}' cannot be discarded now; {self._now_doing()}")
        journal = self.intake.journal
        try:
            if journal is not None:
                journal.discard()
            else:
                discard([episode.path, episode.journal_path])
        except OSError as error:
            return Answer(False, f"cannot discard {episode.path}: {error.strerror or error}")
        if journal is not None:
            self.intake.close()
            journal.close(EpisodeEnd(f"discarded: {why}", "unlabeled", self._now_ns()))
            self._discarding.append(journal)
        self._droppable.keep()
        self._event(Level.INFO, "episode_discarded", f"{episode.path} ({why or 'no reason given'})")
        self._state, self._last_path, self._episode = State.IDLE, "", None
        return Answer(True, episode_id=episode_id)

    def label(self, episode_id: str, outcome: str) -> Answer:
        """Set the outcome of the episode that was saved last."""
        episode = self._episode
        if self._state != State.SAVED or episode is None or episode.id != episode_id:
            return Answer(False, f"episode '{episode_id}' cannot be labelled now; {self._now_doing()}")
        if outcome not in OUTCOMES:
            return Answer(False, f"outcome is '{outcome}'; expected one of {', '.join(OUTCOMES)}")
        self._state, self._last_error = State.SAVING, ""
        self.jobs.label(Path(self._last_path), outcome, self._on_labelled)
        return Answer(True, episode_id=episode_id, path=self._last_path)

    # ---- regularly

    def tick(self) -> None:
        """Move on what takes time: closing, saving, deleting, the disk; and judge the streams."""
        for event in self.intake.sample(recording=self._state == State.RECORDING):
            if not self.ending:
                self._event(*event)
        if self._state == State.RECORDING:
            self._watch_recording()
        if self._state == State.SAVING and self._episode and self._episode.journal and self._episode.journal.closed:
            self._save(self._episode, self._episode.journal)
        for journal in [journal for journal in self._discarding if journal.closed]:
            self._discarding.remove(journal)
            try:
                journal.discard()  # one that had vanished, and was written anew
            except OSError as error:
                what = f"{journal.path} cannot be discarded: {error.strerror or error}"
                self._event(
                    Level.ERROR, "discard_failed", f"{what}; delete it, else the next start makes it an episode"
                )
        self.jobs.poll()
        if self._droppable and self._state == State.SAVED and self.intake.estimate.state not in _STATES_BEFORE_DROP:
            self._droppable.drop()

    def status(self) -> Status:
        """What `recorder/status` says."""
        episode = self._episode
        recording = self._state == State.RECORDING
        written = self.intake.journal.bytes_written if self.intake.journal else 0
        frames, seconds_left = (0, 0) if episode is None else episode.frames, -1.0
        if episode is not None and recording:
            frames = self._frames()
            seconds_left = self._room.seconds_left(written, self._now_ns() - episode.started_ns)
        return Status(
            state=self._state,
            episode_id=episode.id if episode else "",
            phase=self.intake.estimate.phase if recording else "",
            policy_frames=frames[0],
            human_frames=frames[1],
            bytes_written=written,
            bytes_free=self.disk.free or 0,
            seconds_left=seconds_left,
            save_progress=self.jobs.progress if self._state == State.SAVING else float(self._state == State.SAVED),
            last_path=self._last_path,
            last_error=self._last_error,
        )

    @property
    def state(self) -> State:
        """Of the recorder."""
        return self._state

    @property
    def busy(self) -> bool:
        """Something is still to be written."""
        return self._state in (State.RECORDING, State.SAVING) or bool(self._discarding)

    def interrupt(self) -> None:
        """Finish the open episode, if there is one, because the process is told to end."""
        if self._state == State.RECORDING:
            self._finish("interrupted", "unlabeled")

    def give_up_saving(self) -> str:
        """End a save that takes too long; returns the journal that keeps the episode, or an empty string."""
        self.jobs.kill()
        if self._state != State.SAVING or self._episode is None:
            return ""
        self._fail("ended before it was saved; the next start saves it")
        return str(self._episode.journal_path)

    def journal_bytes(self) -> int:
        """Size of the journal that is being saved."""
        with contextlib.suppress(OSError, AttributeError):
            return self._episode.journal_path.stat().st_size  # type: ignore[union-attr]
        return 0

    def close(self) -> None:
        """Let go of everything; journals whose episodes are verified are deleted."""
        self._droppable.drop(wait=True)
        self.jobs.kill()
        self.disk.stop()
        self.locks.release()

    # ---- inside

    def _open(self, request: StartRequest) -> _Episode:
        """A new journal, recording already.

        Raises:
            RefusedError, FolderInUseError, OSError: it cannot be.
        """
        if self.busy:
            raise RefusedError(f"not now: {self._now_doing()}")
        folder, attributes = checked(request)
        dummies = self._dummies()
        folder.mkdir(parents=True, exist_ok=True)
        self.locks.hold(folder)
        free = free_bytes(folder)
        if free < self._parameters.min_free_start_gb * GB:
            raise RefusedError(
                f"{free / GB:.1f} GB free in {folder}, {self._parameters.min_free_start_gb:.1f} GB are needed to start;"
                " make room or lower min_free_start_gb"
            )
        index = free_index(folder)
        info = EpisodeInfo(
            uuid=str(uuid.uuid4()),
            index=index,
            epoch=request.epoch,
            episode=request.episode,
            task=request.task,
            prompt=request.prompt,
            attributes=attributes,
            started_ns=self._now_ns(),
            fps=self._parameters.fps,
            camera_fps=self._parameters.camera_fps,
            allow_dummy_cameras=self._parameters.allow_dummy_cameras,
            dummy_cameras=dummies,
            streams=self.intake.streams(),
        )
        path = journal_path(folder, index)
        queue_bytes = int(self._parameters.queue_mb * 1_000_000)
        journal = Journal(path, info, self.intake.channels(), queue_bytes=queue_bytes, refuge=REFUGE)
        self.intake.open(journal)
        self.disk.watch(path)
        name = f"epoch{request.epoch}/episode_{index}"
        return _Episode(name, episode_path(folder, index), path, info.started_ns, journal)

    def _dummies(self) -> tuple[str, ...]:
        """Cameras that rows will not wait for.

        Raises:
            RefusedError: a stream that is needed is not there.
        """
        absent, frozen = self.intake.having(Verdict.ABSENT), self.intake.having(Verdict.FROZEN, CAMERAS)
        allowed = CAMERAS if self._parameters.allow_dummy_cameras else ()
        if same := [name for name in frozen if name not in allowed]:
            raise RefusedError(f"the same image again and again from {', '.join(same)}; check the camera")
        if missing := [name for name in absent if name not in allowed]:
            raise RefusedError(f"no messages for 1 s from {', '.join(missing)}; check the nodes that publish them")
        return tuple(name for name in allowed if name in (*absent, *frozen))

    def _finish(self, end_reason: str, outcome: str) -> None:
        assert self._episode is not None
        self._episode.frames = self._frames()
        journal = self.intake.close()
        assert journal is not None
        journal.close(EpisodeEnd(end_reason, outcome, self._now_ns()))
        self._state = State.SAVING

    def _frames(self) -> tuple[int, int]:
        """Of policy and human in the open episode, about."""
        return self.intake.estimate.frames("policy"), self.intake.estimate.frames("human")

    def _save(self, episode: _Episode, journal: Journal) -> None:
        """Have the closed journal made an episode, wherever it is now."""
        episode.journal = None
        if journal.path != episode.journal_path:
            what = f"{episode.journal_path} was moved or deleted while it was open"
            self._event(Level.WARN, "journal_rescued", f"{what}; its episode is in {journal.path.parent}")
            episode.journal_path = journal.path
        self.jobs.save(episode.journal_path, self._on_saved)

    def _watch_recording(self) -> None:
        """End a recording that the disk can no longer bear."""
        journal = self.intake.journal
        assert journal is not None
        if journal.error is not None:
            self._event(Level.ERROR, "journal_failed", f"{journal.error}; what was written until now is being saved")
            self._finish("journal_failed", "unlabeled")
        elif not self.disk.exists:
            self._event(Level.ERROR, "journal_vanished", f"{journal.path} is gone: deleted, moved, or its disk removed")
            self._finish("journal_vanished", "unlabeled")
        elif (self._room.bytes_left(journal.bytes_written) or 0) < 0:
            free = (self.disk.free or 0) / GB
            self._event(Level.ERROR, "disk_low", f"{free:.1f} GB free; finishing the episode while it fits")
            self._finish("disk_low", "unlabeled")

    def _on_saved(self, reports: list[dict[str, Any]], failure: str) -> None:
        episode = self._episode
        assert episode is not None
        report: dict[str, Any] = reports[-1] if reports else {"failed": failure or "the saving process said nothing"}
        if not reports:  # it had no time to tidy up
            with contextlib.suppress(OSError):
                part_path(episode.path).unlink(missing_ok=True)
        if "failed" in report:
            self._fail(report["failed"], empty=bool(report.get("empty")))
            return
        saved = report["saved"]
        episode.path, episode.journal_path = Path(saved["path"]), Path(saved["journal"])
        episode.frames = (saved["policy_frames"], saved["human_frames"])
        self._state, self._last_path, self._last_error = State.SAVED, saved["path"], ""
        self._droppable.add(episode.journal_path)
        self._event(Level.INFO, "episode_saved", f"{saved['path']}: {saved['length']} rows")
        if saved["note"]:
            self._event(Level.WARN, "episode_renamed", saved["note"])

    def _on_labelled(self, reports: list[dict[str, Any]], failure: str) -> None:
        report = reports[-1] if reports else {"failed": failure or "the labelling process said nothing"}
        self._state, self._last_error = State.SAVED, report.get("failed", "")
        if self._last_error:
            self._droppable.keep()  # the file may be broken; the next start mends it from its journal
            self._event(Level.ERROR, "label_failed", self._last_error)

    def _fail(self, reason: str, *, empty: bool = False) -> None:
        self._state, self._last_error = State.FAILED, reason
        self._event(*((Level.WARN, "nothing_to_save") if empty else (Level.ERROR, "save_failed")), reason)

    def _now_doing(self) -> str:
        """For a refusal: what the recorder is about."""
        if self._discarding:
            return "the discarded episode is still being closed"
        name = self._episode.id if self._episode else ""
        return {
            State.IDLE: "no episode is open",
            State.RECORDING: f"'{name}' is being recorded",
            State.SAVING: f"'{name}' is being saved",
            State.SAVED: f"'{name}' was saved",
            State.FAILED: f"saving '{name}' failed",
        }[self._state]
