# SPDX-License-Identifier: Apache-2.0
"""The session manager: hands the engine what happens on the graph, and carries out what it asks for.

Its standard output is the operator's terminal. See `engine.py` for the session itself, `states/` for its states.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from h1_session_manager import host_health, memory, ros_interface, values
from h1_session_manager.arm_control import WHO
from h1_session_manager.diagnostics import Diagnostics
from h1_session_manager.engine import Engine
from h1_session_manager.operator_output import Sound, Terminal
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.poller import Poller
from h1_session_manager.preflight import Preflight
from h1_session_manager.ros_interface import ServiceClients
from h1_session_manager.states import SERVICES
from h1_session_manager.upload.ledger import Ledger
from h1_session_manager.upload.programs import validate
from h1_session_manager.upload.rsync import RsyncJob
from h1_session_manager.upload.uploader import Patience, Uploader
from h1_session_manager.values import Command, View
from h1_training_msgs.msg import (
    ArmStatus,
    Event,
    HandState,
    PolicyStatus,
    RecorderStatus,
    SessionState,
    SyncProgress,
    TrainingStatus,
)
from h1_training_msgs.msg import Preflight as PreflightMessage
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node
from h1_training_node.parameter import ParameterError
from h1_training_node.server_access import read_api_key, tls_context

FromThread = values.Polled | values.SyncProgress | values.Synced | values.Unverified | values.Reached
"""What comes from threads."""
_TICK_S = 0.05
_HEARTBEAT_TICKS = 2
_PREFLIGHT_TICKS = 10
_HOST_S = 1.0
_DIAGNOSTICS_NS = 190_000_000
"""Between two arrays: as often as the recorder reports the streams."""


class SessionManagerNode(BaseNode):
    """Carries keys, services and statuses to the session, and its commands to the graph."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        super().__init__("session_manager")
        self._config = self.parameters(SessionParameters)
        self._save_dir = Path(self._config.save_dir).absolute()
        try:
            remembered = memory.load(
                self._save_dir, self._config.robot_identity, allow_mixed=self._config.allow_mixed_folder
            )
            api_key = read_api_key(self._config.api_key_file)
            tls_context(self._config.ca_file)
        except (memory.MemoryFileError, ValueError) as error:
            raise ParameterError(f"{self.get_fully_qualified_name()}: {error}") from None
        self._terminal = Terminal() if terminal is None else terminal
        self._seq = self._progress_seq = self._training_seq = self._ticks = 0
        self._published: View | None = None
        self._from_threads: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._files = ThreadPoolExecutor(1, thread_name_prefix="memory")
        next_index = partial(memory.next_index, str(self._save_dir))
        self._engine = Engine(self._config, remembered, self.now_ns(), next_index)
        self._poller = Poller(
            self._config.status_url, self._observe_later, api_key=api_key, ca_file=self._config.ca_file
        )
        self._uploader = Uploader(
            self._job(),
            self._observe_later,
            patience=Patience(self._config.rsync_retries, self._config.rsync_retry_wait_s),
            validate=validate if self._config.rsync_validate else None,
        )
        self._calls = ServiceClients(self, self.now_ns, self._on_reply)
        self._sound = Sound(self._config.sound_command)
        self._speech = Sound(self._config.speech_command, "speech_command")
        self._connect()
        self._look_for_owed()
        self._carry_out()

    def request_stop(self, why: str) -> None:
        """The arms to damping, the episode saved, the arms released; then exit status 130."""
        self._engine.interrupt(why, self.now_ns())
        self._carry_out()

    # --- the graph ---

    def _connect(self) -> None:
        self._state = self.create_publisher(SessionState, "session/state", qos.LATCHED)
        self._training = self.create_publisher(TrainingStatus, "session/training", qos.LATCHED)
        self._progress = self.create_publisher(SyncProgress, "session/sync_progress", qos.STATE)
        self._lines = self.create_publisher(String, "session/lines", qos.LATCHED)
        self._stop = self.create_publisher(String, "emergency_stop", qos.STATE)
        self._preflight = self.create_publisher(PreflightMessage, "session/preflight", qos.LATCHED)
        self._preflight_seq = 0
        self._checked: Preflight | None = None
        self._diagnostics = Diagnostics(self._config)
        self._diagnosed_ns = 0
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self.create_subscription(String, "keyboard", self._on_key, qos.STATE)
        self.create_subscription(String, "emergency_stop", self._on_stop, qos.STATE)
        self.create_subscription(Event, "session/event", self._on_event, qos.STATE)
        self._listen(ArmStatus, "arm_status", ros_interface.arm, qos.LATEST)
        self._listen(Bool, "arm_guard/active", ros_interface.guard, qos.LATCHED)
        self._listen(RecorderStatus, "recorder/status", ros_interface.recorder, qos.STATE)
        self._listen(PolicyStatus, "policy/status", ros_interface.policy, qos.STATE)
        if self._config.include_hands:
            for side in ("left", "right"):
                self.create_subscription(HandState, f"hands/{side}/state", partial(self._on_hand, side), qos.LATEST)
        for trigger in SERVICES:
            self.create_service(Trigger, f"session_manager/{trigger}", partial(self._on_service, trigger))
        self.create_service(Trigger, "session_manager/preflight", self._on_preflight)
        self.every(_TICK_S, self._on_tick)
        self.every(_HOST_S, self._measure_host)

    def _listen(self, kind: Any, topic: str, convert: Callable[[Any], Any], profile: Any) -> None:
        def on_message(message: Any) -> None:
            try:
                value = convert(message)
            except ValueError as error:
                self.get_logger().error(f"{topic}: {error}", throttle_duration_sec=1.0)
                return
            self._engine.observe(value, self.now_ns())
            self._carry_out()

        self.create_subscription(kind, topic, on_message, profile)

    def _on_key(self, message: String) -> None:
        self._engine.key(message.data, self.now_ns())
        self._carry_out()

    def _on_stop(self, message: String) -> None:
        who, _, why = message.data.partition(":")
        self._engine.emergency(who.strip(), why.strip(), self.now_ns())
        self._carry_out()

    def _on_event(self, message: Event) -> None:
        if message.reason == ros_interface.JOURNAL_RECOVERED:
            self._look_for_owed()
        elif message.reason == ros_interface.RELEASE_WARNING:
            self._engine.observe(values.ReleaseAnnounced(), self.now_ns())
            self._carry_out()

    def _on_hand(self, side: str, message: HandState) -> None:
        self._engine.observe_hand(side, ros_interface.hand(message), self.now_ns())

    def _on_service(self, trigger: str, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer = self._engine.service(trigger, self.now_ns())
        self._carry_out()
        response.success, response.message = answer.success, answer.message
        return response

    def _on_preflight(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        checks = self._engine.preflight()
        response.success, response.message = not checks.problems, checks.text
        return response

    def _on_reply(self, call_id: int, reply: values.Reply) -> None:
        self._engine.reply(call_id, reply, self.now_ns())
        self._carry_out()

    def _observe_later(self, value: FromThread) -> None:
        """From the poller's and uploader's threads."""
        self._from_threads.put(partial(self._observe_now, value))

    def _observe_now(self, value: FromThread) -> None:
        self._engine.observe(value, self.now_ns())
        if isinstance(value, values.SyncProgress):
            self._publish_progress(value)
        elif isinstance(value, values.Polled) and not value.error:
            self._training_seq += 1
            self._training.publish(ros_interface.training_message(self.header(), self._training_seq, value))

    def _on_tick(self) -> None:
        while not self._from_threads.empty():
            self._from_threads.get()()
        self._engine.tick(self.now_ns())
        self._calls.tick()
        self._ticks += 1
        self._carry_out()
        self._publish_diagnostics()
        if self._ticks % _PREFLIGHT_TICKS == 0:
            self._publish_preflight()
        if self._ticks % _HEARTBEAT_TICKS == 0:
            self._publish_state(self._engine.view())

    # --- what the session asks for ---

    def _carry_out(self) -> None:
        for command in self._engine.take():
            self._execute(command)
        view = self._engine.view() if self._engine.has_changed() else None
        if view is not None and view != self._published:
            self._publish_state(view)

    def _execute(self, command: Command) -> None:
        match command:
            case values.Call():
                self._calls.send(command)
            case values.Say():
                self._terminal.say(command.lines, command.prompt, replaces_prompt=command.replaces_prompt)
                if command.lines:
                    self._lines.publish(String(data="\n".join(command.lines)))
            case values.ReportEvent():
                self.event(int(command.level), command.reason, command.detail, is_said=True)
            case values.Poll():
                self._poller.start()
            case values.Sync():
                self._uploader.start(background=command.background)
            case values.Probe():
                self._uploader.probe()
                self._look_for_owed()  # a label may have been set on the page since the upload
            case values.Remember():
                self._files.submit(self._write_memory, command.text)
            case values.PublishStop():
                self._stop.publish(String(data=f"{WHO}: {command.why}"))
            case values.Bell():
                self._needs_person()
            case values.SayAloud():
                self._say_aloud(command)
            case values.Exit():
                self._finish(command.status)

    def _needs_person(self) -> None:
        if self._config.bell:
            self._terminal.bell()
        if problem := self._sound.play():
            self.event(Event.WARN, "sound_failed", problem)

    def _say_aloud(self, text: values.SayAloud) -> None:
        if problem := self._speech.play(text.text, urgent=text.urgent):
            self.event(Event.WARN, "speech_failed", problem)
        if text.urgent and not self._speech.is_there and self._config.bell:
            self._terminal.bell(3)

    def _look_for_owed(self) -> None:
        """What lies here and was not uploaded: looked for in the thread for files."""
        target = self._config.rsync_target
        if target and self.exit_status is None:
            ledger = partial(Ledger.load, self._save_dir, target)
            self._files.submit(lambda: self._observe_later(values.Unverified(ledger().unverified_epochs())))

    def _write_memory(self, text: str) -> None:
        """In the thread for files."""
        try:
            memory.write_whole(self._save_dir / memory.FILE_NAME, text)
        except OSError as error:
            self._from_threads.put(partial(self._memory_failed, str(error)))

    def _memory_failed(self, error: str) -> None:
        detail = f"{self._save_dir / memory.FILE_NAME} cannot be written: {error}"
        self._terminal.say((f"  {detail}",))
        self.event(Event.ERROR, "memory_not_written", detail)

    def _finish(self, status: int) -> None:
        self._publish_state(self._engine.view())
        self._uploader.stop()
        self._files.shutdown(wait=True)
        self._terminal.close()
        self.end(status)

    def _job(self) -> RsyncJob:
        config = self._config
        return RsyncJob(
            source=str(self._save_dir),
            target=config.rsync_target,
            options=config.rsync_options,
            ssh_key=config.rsync_ssh_key,
            timeout_s=config.rsync_timeout_s,
            bwlimit=config.rsync_bwlimit,
        )

    # --- what it shows ---

    def _publish_state(self, view: View) -> None:
        self._published = view
        self._seq += 1
        self._state.publish(ros_interface.state_message(self.header(), self._seq, view, self._config.task))

    def _publish_progress(self, progress: values.SyncProgress) -> None:
        self._progress_seq += 1
        target = self._config.rsync_target
        self._progress.publish(ros_interface.progress_message(self.header(), self._progress_seq, progress, target))

    def _publish_preflight(self) -> None:
        """What has changed in the checks: a page shows them as the session has them."""
        checks = self._engine.preflight()
        if checks != self._checked:
            self._checked = checks
            self._preflight_seq += 1
            self._preflight.publish(ros_interface.preflight_message(self.header(), self._preflight_seq, checks))

    def _measure_host(self) -> None:
        self._engine.observe(host_health.measure(self.now_ns()), self.now_ns())
        self._carry_out()

    def _publish_diagnostics(self) -> None:
        """A camera that is missing, slow or frozen must show within half a second."""
        now_ns, name = self.now_ns(), self._config.robot_name
        if now_ns - self._diagnosed_ns < _DIAGNOSTICS_NS:
            return
        self._diagnosed_ns = now_ns
        statuses = [
            ros_interface.diagnostic(diagnosis, f"{name}: " if name else "", name or "h1_2")
            for diagnosis in self._diagnostics.statuses(self._engine.observed, self._engine.view())
        ]
        self._diagnostics_out.publish(DiagnosticArray(header=self.header(), status=statuses))


def main() -> int:
    """Run the session manager until the session ends: 0 clean, 130 interrupted, 1 without the arm driver."""
    return run_node(SessionManagerNode)
