# SPDX-License-Identifier: Apache-2.0
"""A session with the rest of the graph played by plain functions: what every test of the core starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from h1_session_manager.engine import Engine
from h1_session_manager.memory import Memory
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.values import (
    Arm,
    Bell,
    Call,
    Exit,
    Guard,
    Policy,
    Poll,
    Polled,
    Recorder,
    Remember,
    Reply,
    ReportEvent,
    Say,
    SayAloud,
    StreamStatus,
    Sync,
    Synced,
)
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, Verdict

MS = 1_000_000
S = 1_000_000_000
CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")


class Harness:
    """A session, its clock, and simple stand-ins for arm driver, recorder, policy bridge, poller and uploader.

    Each stand-in does at once what it is asked, unless a test replaces its handler or takes it off the stage.
    """

    step_ns = 20 * MS

    def __init__(
        self,
        memory: Memory | None = None,
        episodes: Callable[[int], int] = lambda _: 0,
        absent: tuple[str, ...] = (),
        **config: Any,
    ) -> None:
        defaults: dict[str, Any] = {"rsync_target": "/target", "motion_countdown_s": 1.0, "poll_interval_s": 1.0}
        self.config = SessionParameters(**{**defaults, **config})
        self.now_ns = 1_000 * S
        self.arm = Arm(self.now_ns, ArmMode.RELEASED, self.now_ns)
        self.recorder = Recorder(self.now_ns, RecorderState.IDLE, bytes_free=10**12, streams=streams())
        self.policy = Policy(self.now_ns, Connection.CONNECTED)
        self.offer = Polled(ready=True, epoch=1)
        self.sync_result: Synced | None = Synced(files=3)
        self.calls: list[Call] = []
        self.said: list[str] = []
        self.events: list[str] = []
        self.said_aloud: list[SayAloud] = []
        self.bells = 0
        self.memory_text = ""
        self.status: int | None = None
        self.absent: set[str] = set(absent)
        self.handlers: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "arm_driver/set_mode": self.set_mode,
            "arm_driver/acknowledge": self.acknowledge,
            "arm_driver/release": self.release,
            "arm_driver/emergency_stop": self.emergency_stop,
            "arm_guard/release": lambda _fields: Reply(True),
            "recorder/start": self.start_recording,
            "recorder/finish": self.finish_recording,
            "recorder/discard": self.discard_recording,
            "recorder/label": lambda _fields: Reply(True),
        }
        self.guard_active = False
        self.saves: bool = True
        self.why_not_saved = "no space left on device"
        self.policy_answers: bool = True
        self.polls = 0
        self.syncs = 0
        self.background_syncs = 0
        self._existing, self._recorded = episodes, Counter[int]()
        self.engine = Engine(self.config, memory or Memory(robot="r"), self.now_ns, self.next_index)
        self._carry_out()

    # --- driving it ---

    @property
    def state(self) -> str:
        return self.engine.context.table.state.value

    @property
    def listed(self) -> tuple[str, ...]:
        return self.engine.view().keys

    def press(self, *keys: str) -> None:
        for key in keys:
            self.engine.key(key, self.now_ns)
            self._carry_out()

    def call(self, trigger: str) -> tuple[bool, str]:
        answer = self.engine.service(trigger, self.now_ns)
        self._carry_out()
        return answer.success, answer.message

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end_ns = self.now_ns + int(seconds * S)
        while self.now_ns < end_ns and not until():
            self.step()

    def run_to(self, state: str, seconds: float = 60.0) -> None:
        self.run(seconds, lambda: self.state == state)
        assert self.state == state, f"{self.state} instead of {state}; said {self.said[-5:]}"

    def step(self) -> None:
        """`step_ns` pass: statuses come in, then a tick."""
        self.now_ns += self.step_ns
        self._play()
        if "arm_driver" not in self.absent:
            self.engine.observe(replace(self.arm, stamp_ns=self.now_ns), self.now_ns)
        if "arm_guard" not in self.absent:
            self.engine.observe(Guard(self.guard_active), self.now_ns)
        if "recorder" not in self.absent:
            self.engine.observe(replace(self.recorder, stamp_ns=self.now_ns), self.now_ns)
        if "policy_bridge" not in self.absent:
            self.engine.observe(replace(self.policy, stamp_ns=self.now_ns), self.now_ns)
        self.engine.tick(self.now_ns)
        self._carry_out()

    def to(self, state: str) -> None:
        """By the shortest way, as a person would: a second in each state, then its key."""
        way = {"STARTING": "y", "WAITING": "", "READY": "y", "EXECUTING": "s", "LABELING": "y", "DAMPING": "e"}
        for _ in range(20):
            if self.state == state:
                return
            before = self.state
            self.run(1.0, lambda before=before: self.state != before)
            if self.state == before:
                self.press(way.get(before, "n"))
                self.run(60.0, lambda before=before: self.state != before)
        raise AssertionError(f"did not come to {state}, but to {self.state}; said {self.said[-5:]}")

    def arms_in_policy(self) -> None:
        self.run(30.0, lambda: self.arm.mode is ArmMode.POLICY)
        assert self.arm.mode is ArmMode.POLICY

    def lines(self, start: str) -> list[str]:
        return [line for line in self.said if line.startswith(start)]

    def called(self, service: str) -> list[dict[str, Any]]:
        return [dict(call.fields) for call in self.calls if call.service == service]

    # --- the others ---

    def enter(self, mode: ArmMode, reason: str = "requested", **changes: Any) -> None:
        self.arm = replace(self.arm, mode=mode, since_ns=self.now_ns, reason=reason, **changes)

    def force_damping(self, fault: str) -> None:
        self.enter(ArmMode.DAMPING, fault, acknowledge_needed=True, fault=fault)

    def set_mode(self, fields: dict[str, Any]) -> Reply:
        present, wanted = self.arm.mode, ArmMode(fields["mode"])
        if wanted is ArmMode.DAMPING and present is not ArmMode.RELEASED:
            self.enter(wanted)
            return Reply(True, "", {"mode": int(wanted)})
        if fields["expected_mode"] != present:
            return Reply(False, f"the arms are in {present.name}", {"mode": int(present)})
        if self.arm.acknowledge_needed:
            return Reply(False, f"acknowledge '{self.arm.fault}' first", {"mode": int(present)})
        self.enter(wanted)
        return Reply(True, "", {"mode": int(wanted)})

    def acknowledge(self, _fields: dict[str, Any]) -> Reply:
        self.arm = replace(self.arm, acknowledge_needed=False, fault="")
        return Reply(True)

    def release(self, _fields: dict[str, Any]) -> Reply:
        self.enter(ArmMode.RELEASED, acknowledge_needed=False, fault="")
        return Reply(True)

    def emergency_stop(self, _fields: dict[str, Any]) -> Reply:
        if self.arm.mode is not ArmMode.RELEASED:
            self.enter(ArmMode.DAMPING, "emergency_stop")
        return Reply(True)

    def next_index(self, epoch: int) -> int:
        return self._existing(epoch) + self._recorded[epoch]

    def start_recording(self, fields: dict[str, Any]) -> Reply:
        if self.recorder.state is RecorderState.RECORDING:
            return Reply(False, f"{self.recorder.episode_id} is open")
        episode_id = f"epoch{fields['epoch']}/episode_{self.next_index(fields['epoch'])}"
        self._recorded[fields["epoch"]] += 1
        self.recorder = replace(self.recorder, state=RecorderState.RECORDING, episode_id=episode_id)
        return Reply(True, "", {"episode_id": episode_id})

    def finish_recording(self, fields: dict[str, Any]) -> Reply:
        if fields["episode_id"] != self.recorder.episode_id or self.recorder.state is not RecorderState.RECORDING:
            return Reply(False, f"no open episode {fields['episode_id']}")
        self.recorder = replace(
            self.recorder,
            state=RecorderState.SAVED if self.saves else RecorderState.FAILED,
            policy_frames=1200,
            human_frames=1647,
            last_path=f"/data/{fields['episode_id']}.hdf5",
            last_error="" if self.saves else self.why_not_saved,
        )
        return Reply(True)

    def discard_recording(self, _fields: dict[str, Any]) -> Reply:
        self.recorder = replace(self.recorder, state=RecorderState.IDLE)
        return Reply(True)

    def _play(self) -> None:
        if self.arm.mode is ArmMode.HOME and self.now_ns - self.arm.since_ns > S:
            self.enter(ArmMode.HOLD, "home_reached")
        state, epoch = self.engine.context.table.state.value, self.engine.context.epoch
        in_hold = self.arm.mode is ArmMode.HOLD and self.now_ns - self.arm.since_ns > 100 * MS
        ready = state == "EXECUTING" and in_hold and self.policy_answers
        epoch = epoch if state == "READY" else self.policy.epoch
        self.policy = replace(self.policy, chunk_ready=ready, epoch=epoch)

    def _carry_out(self) -> None:
        while commands := self.engine.take():
            for command in commands:
                self._execute(command)

    def _execute(self, command: object) -> None:
        if isinstance(command, Call):
            self.calls.append(command)
            if command.service.partition("/")[0] not in self.absent:
                reply = self.handlers[command.service](dict(command.fields))
                self.engine.reply(command.id, reply, self.now_ns)
        elif isinstance(command, Say):
            self.said += [*command.lines, *([command.prompt] if command.prompt else [])]
        elif isinstance(command, SayAloud):
            self.said_aloud.append(command)
        elif isinstance(command, Bell):
            self.bells += 1
        elif isinstance(command, ReportEvent):
            self.events.append(command.reason)
        elif isinstance(command, Poll):
            self.polls += 1
            self.engine.observe(self.offer, self.now_ns)
        elif isinstance(command, Sync):
            if command.background:
                self.background_syncs += 1
            else:
                self.syncs += 1
                if self.sync_result is not None:
                    self.engine.observe(self.sync_result, self.now_ns)
        elif isinstance(command, Remember):
            self.memory_text = command.text
        elif isinstance(command, Exit):
            self.status = command.status


def streams(**ages: float) -> tuple[StreamStatus, ...]:
    """Cameras at rate, but for those whose age is named: ABSENT from half a second; -1: never an image."""
    found = []
    for name in CAMERAS:
        age_s = ages.get(name, 0.02)
        is_there = 0 <= age_s < 0.5
        verdict = Verdict.FRESH if is_there else Verdict.ABSENT
        found.append(StreamStatus(name, 30.0 if is_there else 0.0, age_s, verdict=verdict))
    return tuple(found)
