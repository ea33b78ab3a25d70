# SPDX-License-Identifier: Apache-2.0
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
from h1_recorder.recorder.disk import GB, Budget, DiskMonitor
from h1_recorder.recorder.filesystem import free_bytes
from h1_recorder.recorder.intake import Intake
from h1_recorder.recorder.jobs import Jobs, SaveStarter
from h1_recorder.recorder.journal import Journal
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.recovery import VerifiedJournals
from h1_recorder.recorder.request import RefusedError, Response, StartRequest, Status, checked
from h1_training_node.cameras import CAMERAS
from h1_training_node.folder_lock import RECORDER_LOCK, FolderInUseError, FolderLock
from h1_training_node.message_numbers import Level, RecorderState, Verdict
from h1_training_node.session_end import noted_reason

FALLBACK = Path(tempfile.gettempdir()) / "h1_rescued_episodes"
"""Where an episode goes whose folder has vanished and cannot be made again."""

_STATES_BEFORE_DELETION = ("", "SAVING", "DECIDING", "EXECUTING", "LABELING", "DAMPING")

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
        event: receives what is worth remembering: level, reason, one line for a person.
        starter: starts child processes; for tests.

    Attributes:
        intake: where the messages come in.
        jobs: what child processes do.
        disk: how much space it has, and what it lacks.
        ending: the session ends, so that a camera that falls silent is no event.
    """

    def __init__(
        self,
        parameters: RecorderParameters,
        *,
        now_ns: Callable[[], int],
        event: EventSink,
        starter: SaveStarter | None = None,
    ) -> None:
        self._parameters = parameters
        self._now_ns = now_ns
        self._event = event
        self.intake = Intake(parameters.fps, parameters.camera_fps, now_ns)
        self.jobs = Jobs(starter)
        save_dir = Path(parameters.save_dir) if parameters.save_dir else None
        self.disk = DiskMonitor(save_dir)
        if save_dir:
            self.disk.look_at(save_dir)
        self._budget = Budget(self.disk, parameters.min_free_stop_gb * GB)
        self._locks: dict[Path, FolderLock] = {}
        self._state = RecorderState.IDLE
        self._episode: _Episode | None = None
        self._discarding: list[Journal] = []
        self._verified = VerifiedJournals(parameters)
        self._last_path = self._last_error = ""
        self.ending = False

    # ---- requests

    def start(self, request: StartRequest) -> Response:
        """Open a journal for a new episode."""
        try:
            episode = self._open(request)
        except (RefusedError, FolderInUseError) as error:
            return Response(False, str(error))
        except OSError as error:
            return Response(False, f"cannot record into {request.directory}: {error.strerror or error}")
        self._verified.delete()
        self.jobs.warm()
        self._episode, self._state, self._last_error = episode, RecorderState.RECORDING, ""
        return Response(True, episode_id=episode.id, path=str(episode.path))

    def finish(self, episode_id: str, end_reason: str, outcome: str) -> Response:
        """Close the journal of the open episode and save it."""
        episode = self._episode
        if self._state != RecorderState.RECORDING or episode is None or episode.id != episode_id:
            return Response(False, f"episode '{episode_id}' is not being recorded; {self._now_doing()}")
        if outcome not in OUTCOMES:
            return Response(False, f"outcome is '{outcome}'; expected one of {', '.join(OUTCOMES)}")
        self._finish(end_reason, outcome)
        return Response(True, episode_id=episode.id, path=str(episode.path))

    def discard(self, episode_id: str, why: str) -> Response:
        """Move the open or the last episode to `.discarded/`."""
        episode = self._episode
        if episode is None or episode.id != episode_id or self._state in (RecorderState.IDLE, RecorderState.SAVING):
            return Response(False, f"episode '{episode_id}' cannot be discarded now; {self._now_doing()}")
        journal = self.intake.journal
        try:
            if journal is not None:
                journal.discard()
            else:
                discard([episode.path, episode.journal_path])
        except OSError as error:
            return Response(False, f"cannot discard {episode.path}: {error.strerror or error}")
        if journal is not None:
            self.intake.close()
            journal.close(EpisodeEnd(f"discarded: {why}", "unlabeled", self._now_ns()))
            self._discarding.append(journal)
        self._verified.forget()
        self._event(Level.INFO, "episode_discarded", f"{episode.path} ({why or 'no reason given'})")
        self._state, self._last_path, self._episode = RecorderState.IDLE, "", None
        return Response(True, episode_id=episode_id)

    def label(self, episode_id: str, outcome: str) -> Response:
        """Set the outcome of the episode that was saved last."""
        episode = self._episode
        if self._state != RecorderState.SAVED or episode is None or episode.id != episode_id:
            return Response(False, f"episode '{episode_id}' cannot be labelled now; {self._now_doing()}")
        if outcome not in OUTCOMES:
            return Response(False, f"outcome is '{outcome}'; expected one of {', '.join(OUTCOMES)}")
        self._state, self._last_error = RecorderState.SAVING, ""
        self.jobs.label(Path(self._last_path), outcome, self._on_labelled)
        return Response(True, episode_id=episode_id, path=self._last_path)

    # ---- regularly

    def tick(self) -> None:
        """Move on what takes time: closing, saving, deleting, the disk; and judge the streams."""
        for event in self.intake.sample(recording=self._state == RecorderState.RECORDING):
            if not self.ending:
                self._event(*event)
        if self._state == RecorderState.RECORDING:
            self._check_recording()
        saved = self._episode.journal if self._episode else None
        if self._state == RecorderState.SAVING and self._episode and saved and saved.closed:
            self._save(self._episode, saved)
        for journal in [journal for journal in self._discarding if journal.closed]:
            self._discarding.remove(journal)
            try:
                journal.discard()  # one that had vanished, and was written again
            except OSError as error:
                what = f"{journal.path} cannot be discarded: {error.strerror or error}"
                self._event(
                    Level.ERROR, "discard_failed", f"{what}; delete it, else the next start makes it an episode"
                )
        self.jobs.poll()
        if (
            self._verified
            and self._state == RecorderState.SAVED
            and self.intake.estimate.state not in _STATES_BEFORE_DELETION
        ):
            self._verified.delete()

    def status(self) -> Status:
        """What `recorder/status` says."""
        episode = self._episode
        recording = self._state == RecorderState.RECORDING
        written = self.intake.journal.bytes_written if self.intake.journal else 0
        frames, seconds_left = (0, 0) if episode is None else episode.frames, -1.0
        if episode is not None and recording:
            frames = self._frames()
            seconds_left = self._budget.seconds_left(written, self._now_ns() - episode.started_ns)
        return Status(
            state=self._state,
            episode_id=episode.id if episode else "",
            phase=self.intake.estimate.phase if recording else "",
            policy_frames=frames[0],
            human_frames=frames[1],
            bytes_written=written,
            bytes_free=self.disk.free or 0,
            seconds_left=seconds_left,
            save_progress=self.jobs.progress
            if self._state == RecorderState.SAVING
            else float(self._state == RecorderState.SAVED),
            last_path=self._last_path,
            last_error=self._last_error,
        )

    @property
    def state(self) -> RecorderState:
        """Of the recorder."""
        return self._state

    @property
    def busy(self) -> bool:
        """Something is still to be written."""
        return self._state in (RecorderState.RECORDING, RecorderState.SAVING) or bool(self._discarding)

    def interrupt(self) -> None:
        """Finish the open episode, if there is one, because the process is to end.

        The reason is that of a session that lost a node, if somebody noted one.
        """
        if self._state == RecorderState.RECORDING and self._episode is not None:
            noted = noted_reason(self._episode.path.parent, self._now_ns())
            self._finish(noted or "interrupted", "unlabeled")

    def give_up_saving(self) -> str:
        """End a save that takes too long; returns the journal that keeps the episode, or an empty string."""
        self.jobs.kill()
        if self._state != RecorderState.SAVING or self._episode is None:
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
        self._verified.delete(wait=True)
        self.jobs.kill()
        self.disk.stop()
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()

    def lock(self, folder: Path) -> None:
        """Keep other recorders out of `folder`; nothing if that is done already.

        Raises:
            FolderInUseError: another one is in it.
            OSError: the lock file cannot be made.
        """
        held = self._locks.get(folder)
        if held is not None and held.is_there:
            return
        if held is not None:
            self._locks.pop(folder).release()
        self._locks[folder] = FolderLock(folder, RECORDER_LOCK, leased=False)

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
        self.lock(folder)
        free = free_bytes(folder)
        if free is not None and free < self._parameters.min_free_start_gb * GB:
            raise RefusedError(
                f"{free / GB:.1f} GB free in {folder}, {self._parameters.min_free_start_gb:.1f} GB are needed to start;"
                " free some, or lower min_free_start_gb"
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
        channels, take = self.intake.channels(), self.intake.take
        journal = Journal(path, info, channels, queue_bytes=queue_bytes, take=take, fallback=FALLBACK)
        self.intake.open(journal)
        self.disk.look_at(path)
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
        journal = self.intake.close()
        assert journal is not None
        self._episode.frames = self._frames()
        journal.close(EpisodeEnd(end_reason, outcome, self._now_ns()))
        self._state = RecorderState.SAVING

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

    def _check_recording(self) -> None:
        """End a recording that the disk can no longer hold."""
        journal = self.intake.journal
        assert journal is not None
        if journal.error is not None:
            self._event(Level.ERROR, "journal_failed", f"{journal.error}; what was written until now is being saved")
            self._finish("journal_failed", "unlabeled")
        elif not self.disk.exists:
            self._event(Level.ERROR, "journal_vanished", f"{journal.path} is gone: deleted, moved, or its disk removed")
            self._finish("journal_vanished", "unlabeled")
        elif (self._budget.bytes_left(journal.bytes_written) or 0) < 0:
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
        self._state, self._last_path, self._last_error = RecorderState.SAVED, saved["path"], ""
        self._verified.add(episode.journal_path)
        self._event(Level.INFO, "episode_saved", f"{saved['path']}: {saved['length']} rows")
        if saved["note"]:
            self._event(Level.WARN, "episode_renamed", saved["note"])

    def _on_labelled(self, reports: list[dict[str, Any]], failure: str) -> None:
        report = reports[-1] if reports else {"failed": failure or "the labelling process said nothing"}
        self._state, self._last_error = RecorderState.SAVED, report.get("failed", "")
        if self._last_error:
            self._verified.forget()  # the file may be broken; the next start repairs it from its journal
            self._event(Level.ERROR, "label_failed", self._last_error)

    def _fail(self, reason: str, *, empty: bool = False) -> None:
        self._state, self._last_error = RecorderState.FAILED, reason
        self._event(*((Level.WARN, "nothing_to_save") if empty else (Level.ERROR, "save_failed")), reason)

    def _now_doing(self) -> str:
        """For a refusal: what the recorder is about."""
        if self._discarding:
            return "the discarded episode is still being closed"
        name = self._episode.id if self._episode else ""
        return {
            RecorderState.IDLE: "no episode is open",
            RecorderState.RECORDING: f"'{name}' is being recorded",
            RecorderState.SAVING: f"'{name}' is being saved",
            RecorderState.SAVED: f"'{name}' was saved",
            RecorderState.FAILED: f"saving '{name}' failed",
        }[self._state]
