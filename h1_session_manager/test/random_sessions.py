# SPDX-License-Identifier: Apache-2.0
"""Random sessions, drawn from a seed: what an engine does in them is compared by a digest of each.

`python random_sessions.py` (with the package on the path) writes `random_sessions.json` again; look at what has changed
first. Only what the session does counts (calls, other commands, states, keys, events' names), not how it says it.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from session_builders import Harness, streams

from h1_session_manager.memory import Memory
from h1_session_manager.values import Call, Polled, PublishStop, Remember, Reply, ReportEvent, Say, SayAloud, Synced
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState

DIGESTS = Path(__file__).with_name("random_sessions.json")
SEEDS = range(60)
_ONWARD = {"STARTING": "y", "READY": "y", "EXECUTING": "s", "LABELING": "y", "DAMPING": "e", "DECIDING": "y"}
_TRIGGERS = ("start", "skip", "stop", "success", "end", "resume", "discard", "another", "finish", "retry", "cancel")


class RandomSession(Harness):
    """A session whose person, robot and peers do what a seed says.

    Attributes:
        trace: what happened, in order.
    """

    step_ns = 50_000_000

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.trace: list[Any] = []
        self._seen: tuple[Any, ...] = ()
        choose = self.random.choice
        super().__init__(
            memory=Memory("r", choose([{}, {0: "synced"}, {5: "synced"}]), choose([frozenset(), frozenset({3})])),
            save_dir="/data",
            rsync_target=choose(["/target", ""]),
            motion_countdown_s=choose([0.5, 2.0]),
            max_execution_s=choose([8.0, 120.0]),
            max_damping_s=choose([8.0, 60.0]),
            first_chunk_timeout_s=choose([3.0, 10.0]),
            ask_before_taking=self.random.random() < 0.8,
            training_status=choose(["auto", "auto", "required", "none"]),
            home_timeout_s=5.0,
        )

    def _execute(self, command: object) -> None:
        if isinstance(command, Call):
            fields = {name: value for name, value in command.fields.items() if name not in ("why", "attributes_json")}
            self.trace.append((command.service, sorted((name, str(value)) for name, value in fields.items())))
        elif isinstance(command, ReportEvent):
            self.trace.append(command.reason)
        elif isinstance(command, Remember):
            self.trace.append(("remember", command.text))
        elif not isinstance(command, (Say, SayAloud, PublishStop)):
            self.trace.append(("asks for", repr(command)))
        super()._execute(command)

    def step(self) -> None:
        super().step()
        view = self.engine.view()
        seen = (view.state, view.epoch, view.episode, view.outcome, view.keys)
        if seen != self._seen:
            self._seen = seen
            self.trace.append(seen)

    def play(self, moves: int = 40) -> str:
        """So many moves, then the end; returns the digest of what happened."""
        for _ in range(moves):
            if self.status is None:
                self._move()
        self.absent.clear()
        if self.status is None:
            self.engine.interrupt("interrupted by Ctrl+C", self.now_ns)
            self.run(20.0, lambda: self.status is not None)
        self.trace.append(self.status)
        return hashlib.sha256(json.dumps(self.trace).encode()).hexdigest()[:16]

    def _move(self) -> None:
        chance, over = self.random.random, lambda: self.status is not None
        choose = self.random.choice
        kind = chance()
        if kind < 0.4:
            self.run(1.0, over)
            self.press(_ONWARD.get(self.state, "n"))
            self.run(2.5, over)
        elif kind < 0.55:
            for key in choose(["y", "n", "s", "e", "r", "xx", "g", "b", "k"]):
                self.press(key)
                self.run(choose([0.1, 1.1]), over)
        elif kind < 0.62:
            self.trace.append(self.call(choose(_TRIGGERS))[0])
        elif kind < 0.72:
            self.run(choose([0.8, 4.0, 9.0]), over)
        elif kind < 0.78:
            unsupported = Polled(error="426", is_unsupported=True)
            self.offer = choose([Polled(ready=True, epoch=choose(range(4))), Polled(error="refused"), unsupported])
        elif kind < 0.83 and self.arm.mode is not ArmMode.RELEASED:
            self.force_damping(choose(["session_lost", "motor_fault"]))
        elif kind < 0.87:
            self._change_peers(choose)
        elif kind < 0.93:
            (self.absent.discard if chance() < 0.65 else self.absent.add)(choose(["arm_driver", "recorder"]))
        elif kind < 0.97:
            usual, service = getattr(self, "_usual", dict(self.handlers)), choose(sorted(self.handlers))
            self._usual = usual
            refusal = Reply(False, "refused", {"mode": int(self.arm.mode)} if service == "arm_driver/set_mode" else {})
            self.handlers[service] = (lambda _fields: refusal) if chance() < 0.4 else usual[service]
        elif self.recorder.state is RecorderState.RECORDING:
            self.recorder = replace(self.recorder, state=RecorderState.FAILED, last_error="disk_low")

    def _change_peers(self, choose: Any) -> None:
        self.saves = choose([True, False])
        self.sync_result = choose([Synced(files=1), Synced(reason="the connection broke")])
        self.recorder = replace(self.recorder, streams=streams(ego_cam=choose([0.02, 3.0])))
        self.policy_answers = choose([True, True, False])
        connection = choose([Connection.CONNECTED, Connection.CONNECTED, Connection.DISCONNECTED])
        self.policy = replace(self.policy, done=choose([True, False, False]), connection=connection)


def digests() -> dict[str, str]:
    """By seed."""
    return {str(seed): RandomSession(seed).play() for seed in SEEDS}


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps(digests(), indent=0) + "\n")
