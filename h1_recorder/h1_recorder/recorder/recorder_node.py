# SPDX-License-Identifier: Apache-2.0
"""The recorder as a node: subscribes raw, answers the services, publishes its status. The logic is in `recorder`."""

from __future__ import annotations

import sys
from pathlib import Path

from h1_recorder.episode.folder import episode_path, index_of
from h1_recorder.recorder.disk import FILE_OVER_JOURNAL
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.recorder import Recorder
from h1_recorder.recorder.recovery import recover
from h1_recorder.recorder.request import Response, Status
from h1_recorder.recorder.subscriptions_node import RawSubscriptions
from h1_training_msgs.msg import RecorderStatus
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, StartEpisode
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.folder_lock import FolderInUseError, FolderLock, is_held_by_own_session
from h1_training_node.message_numbers import Level, RecorderState
from h1_training_node.node_main import run_node
from h1_training_node.parameter import ParameterError
from h1_training_node.report_once import ReportOnce

_TICK_S = 0.1
_SAVING_TICK_S = 0.01
_STATUS_TICKS = 2
_GRAPH_TICKS, _GRAPH_TICKS_RECORDING = 10, 30
_CLOCK_JUMP_NS = 100_000_000
_FINISH_BY_OTHERS_NS = 1_000_000_000
_SAVE_WITHIN_NS = 12_500_000_000
_LINGER_NS = 300_000_000
_SAVE_BYTES_PER_S = 150_000_000
"""How fast a save is expected to be when the process is to end; a slower disk is noticed by the time limit."""


class RecorderNode(BaseNode):
    """Journals what the session's topics carry, and turns a journal into an episode on request.

    Asked to end while an episode is open, it waits 1 s for somebody to finish it, finishes it itself, saves it if that
    fits before the session's end, and otherwise leaves the journal and says so.
    """

    def __init__(self) -> None:
        super().__init__("recorder")
        parameters = self.parameters(RecorderParameters)
        self._lock = self._locked(parameters.save_dir)
        self._recorder = Recorder(parameters, now_ns=self.clock_ns.now_ns, event=self.event)
        self._raw_subscriptions = RawSubscriptions(self, self._recorder.intake, self._on_topic_problem)
        for stream in parameters.streams():
            self._raw_subscriptions.add(stream)
        self._publisher = self.create_publisher(RecorderStatus, "recorder/status", qos.STATE)
        self._reports = ReportOnce()
        self._seq = 0
        self._ticks = 0
        self._published: Status | None = None
        self._jump_ns = self.clock_ns.system_clock_jump_ns()
        self._stop_ns: int | None = None
        self._idle_since_ns: int | None = None
        self.create_service(StartEpisode, "recorder/start", self._on_start)
        self.create_service(FinishEpisode, "recorder/finish", self._on_finish)
        self.create_service(DiscardEpisode, "recorder/discard", self._on_discard)
        self.create_service(LabelEpisode, "recorder/label", self._on_label)
        self.every(_TICK_S, self._on_tick)
        self._saving = self.every(_SAVING_TICK_S, self._on_saving_tick)
        self._saving.cancel()
        for journal in recover(self._recorder, parameters, self.event):
            if not episode_path(journal.parent, index_of(journal)).exists():  # else it is only kept
                self.event(Level.INFO, "journal_found", f"{journal} was left behind; it is being saved")

    def _locked(self, save_dir: str) -> FolderLock | None:
        """The session's lock on `save_dir`, if nobody who started this node holds it.

        Raises:
            ParameterError: another session has it.
        """
        if not save_dir or is_held_by_own_session(Path(save_dir)):
            return None
        try:
            lock = FolderLock(Path(save_dir))
        except FolderInUseError as error:
            raise ParameterError(f"{self.get_fully_qualified_name()}: parameter 'save_dir': {error}") from None
        except OSError:
            return None  # whatever is wrong with it, the probe of the disk reports
        if lock.remark:
            self.event(Level.WARN, "no_locks", lock.remark)
        return lock

    # ---- services

    def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        answer = self._recorder.start(request)
        response.episode_id, response.path = answer.episode_id, answer.path
        return self._answered("start", answer, response)

    def _on_finish(self, request: FinishEpisode.Request, response: FinishEpisode.Response) -> FinishEpisode.Response:
        answer = self._recorder.finish(request.episode_id, request.end_reason, request.outcome)
        return self._answered("finish", answer, response)

    def _on_discard(
        self, request: DiscardEpisode.Request, response: DiscardEpisode.Response
    ) -> DiscardEpisode.Response:
        return self._answered("discard", self._recorder.discard(request.episode_id, request.why), response)

    def _on_label(self, request: LabelEpisode.Request, response: LabelEpisode.Response) -> LabelEpisode.Response:
        return self._answered("label", self._recorder.label(request.episode_id, request.outcome), response)

    def _answered(self, what: str, answer: Response, response):  # type: ignore[no-untyped-def]
        response.accepted, response.reason = answer.accepted, answer.reason
        if not answer.accepted:
            self.event(Level.WARN, f"{what}_refused", answer.reason)
        self._publish(self._recorder.status())
        if self._recorder.state == RecorderState.SAVING:
            self._saving.restart()
        return response

    # ---- regularly

    def _on_saving_tick(self) -> None:
        """While something is being saved its end is noticed, and published, at once."""
        self._recorder.tick()
        if self._recorder.state != RecorderState.SAVING:
            self._saving.cancel()
            self._publish(self._recorder.status())

    def _on_tick(self) -> None:
        self._ticks += 1
        self._recorder.tick()
        if self._recorder.state == RecorderState.SAVING:
            self._saving.restart()
        recording = self._recorder.state == RecorderState.RECORDING
        if self._ticks % (_GRAPH_TICKS_RECORDING if recording else _GRAPH_TICKS) == 1:
            self._raw_subscriptions.adapt(recording=recording)
            self._check_clock()
        status = self._recorder.status()
        changed = _what_matters(status) != _what_matters(self._published)
        if changed or self._ticks % _STATUS_TICKS == 0:
            self._publish(status)
        self._report_disk()
        if self._stop_ns is not None:
            self._move_on_ending(self.now_ns() - self._stop_ns)

    def _publish(self, status: Status) -> None:
        self._published = status
        self._seq += 1
        now_ns = self.now_ns()
        figures = self._recorder.intake.figures(now_ns)
        self._publisher.publish(
            RecorderStatus(
                header=self.header(now_ns),
                seq=self._seq,
                disk_remarks=self._recorder.disk.remarks or [],
                **vars(status),
                **vars(figures),
            )
        )

    def _report_disk(self) -> None:
        """What the disk lacks, once it was probed."""
        remarks = self._recorder.disk.remarks
        if remarks is not None and self._reports.is_due("disk"):
            for remark in remarks:
                self.event(Level.WARN, "disk_lacks", f"the disk of save_dir {remark}")

    def _check_clock(self) -> None:
        jump_ns = self.clock_ns.system_clock_jump_ns()
        moved_ns, self._jump_ns = jump_ns - self._jump_ns, jump_ns
        if abs(moved_ns) > _CLOCK_JUMP_NS:
            self.event(
                Level.WARN, "clock_jump", f"the system clock was moved by {moved_ns / 1e9:+.1f} s; no row is affected"
            )

    def _on_topic_problem(self, reason: str, detail: str) -> None:
        self.event(Level.WARN, reason, detail)

    # ---- the ending

    def request_stop(self, why: str) -> None:
        """Finish what is open, save what fits, end."""
        self.get_logger().info(f"asked to end ({why})")
        self._stop_ns = self.now_ns()
        self._recorder.ending = True
        self._recorder.jobs.drop_recovery()
        if not self._recorder.busy:
            self.end(0)

    def _move_on_ending(self, since_ns: int) -> None:
        """One step of the ending, `since_ns` after it was asked for."""
        recorder = self._recorder
        if recorder.state == RecorderState.RECORDING:
            if since_ns >= _FINISH_BY_OTHERS_NS:
                self.event(Level.WARN, "finished_by_recorder", "nobody finished the open episode within 1 s")
                recorder.interrupt()
        elif recorder.busy:
            needed_ns = recorder.journal_bytes() * FILE_OVER_JOURNAL / _SAVE_BYTES_PER_S * 1e9
            starting = recorder.jobs.progress == 0.0
            if since_ns > _SAVE_WITHIN_NS or (starting and since_ns + needed_ns > _SAVE_WITHIN_NS):
                if kept := recorder.give_up_saving():
                    self.event(Level.WARN, "journal_kept", f"{kept} keeps the episode; the next start saves it")
                else:
                    self.end(0)  # a discarded one, whose last second is with the disk
        elif self._idle_since_ns is None:
            self._idle_since_ns = since_ns  # the result has been published; leave it time to arrive
        elif since_ns - self._idle_since_ns >= _LINGER_NS:
            self.end(0)

    def destroy_node(self) -> None:
        """Let go of locks and threads with the node."""
        self._raw_subscriptions.close()
        self._recorder.close()
        if self._lock is not None:
            self._lock.release()
        super().destroy_node()


def _what_matters(status: Status | None) -> tuple[object, ...] | None:
    """Of a status what is published at once when it changes."""
    return None if status is None else (status.state, status.episode_id, status.phase, status.last_error)


def main() -> int:
    """Run the recorder."""
    return run_node(RecorderNode)


if __name__ == "__main__":
    sys.exit(main())
