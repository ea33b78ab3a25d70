# SPDX-License-Identifier: Apache-2.0
"""The scripted operator: presses keys on the topic `keyboard` as a person would, by what the graph shows."""

from __future__ import annotations

import json
from typing import Any

from std_msgs.msg import String

from h1_training_bringup.sim.operator_plan import OperatorParameters, OperatorPlan, Seen
from h1_training_msgs.msg import ArmStatus, Event, RecorderStatus, SessionState, SyncProgress
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node
from h1_training_node.stamps import to_ns

_LOOK_S = 0.05
_SILENCE_NS = 1_500_000_000


class OperatorNode(BaseNode):
    """Ends with status 0 after the session, with 1 if the session did not go as planned."""

    def __init__(self) -> None:
        super().__init__("sim_operator")
        self._plan = OperatorPlan(self.parameters(OperatorParameters))
        self._session: SessionState | None = None
        self._heard_ns = 0
        self._recorder: RecorderStatus | None = None
        self._arms_damping = False
        self._demonstrated = ""
        self._task: dict[str, Any] = {}
        self._uploading = ""
        self._reported = 0
        self._keyboard = self.create_publisher(String, "keyboard", qos.STATE)
        self.create_subscription(SessionState, "session/state", self._on_session, qos.LATCHED)
        self.create_subscription(RecorderStatus, "recorder/status", self._on_recorder, qos.LATEST)
        self.create_subscription(ArmStatus, "arm_status", self._on_arms, qos.LATEST)
        self.create_subscription(String, "sim/person/done", self._on_demonstrated, qos.STATE)
        self.create_subscription(String, "sim/task", self._on_task, qos.LATEST)
        self.create_subscription(SyncProgress, "session/sync_progress", self._on_upload, qos.LATEST)
        self.every(_LOOK_S, self._look)

    def _on_session(self, message: SessionState) -> None:
        self._session, self._heard_ns = message, self.now_ns()

    def _on_recorder(self, message: RecorderStatus) -> None:
        self._recorder = message

    def _on_arms(self, message: ArmStatus) -> None:
        self._arms_damping = message.mode == ArmStatus.MODE_DAMPING

    def _on_demonstrated(self, message: String) -> None:
        self._demonstrated = message.data

    def _on_task(self, message: String) -> None:
        self._task = json.loads(message.data)

    def _on_upload(self, message: SyncProgress) -> None:
        self._uploading = f"{message.state} {message.file} {message.bytes_sent}"

    def _look(self) -> None:
        if self._session is None:
            return
        now_ns = self.now_ns()
        if now_ns - self._heard_ns > _SILENCE_NS and self.count_publishers("session/state") == 0:
            self._end_with_session()
            return
        key = self._plan.look(self._seen(self._session), now_ns)
        if key:
            self.get_logger().info(f"{self._session.state}: '{key}'")
            self._keyboard.publish(String(data=key))
        self._report()
        if self._plan.gives_up:
            self.end(1)

    def _seen(self, session: SessionState) -> Seen:
        recorder = self._recorder
        is_open = recorder is not None and recorder.episode_id == session.episode_id
        shown = (self._task.get("epoch"), self._task.get("episode"))
        task = self._task if shown == (session.epoch, session.episode) else {}
        return Seen(
            state=session.state,
            since_ns=to_ns(session.state_since),
            epoch=session.epoch,
            episode_id=session.episode_id,
            keys=tuple(session.keys),
            reason=session.reason,
            policy_frames=recorder.policy_frames if recorder is not None and is_open else 0,
            human_frames=recorder.human_frames if recorder is not None and is_open else 0,
            arms_damping=self._arms_damping,
            demonstrated=self._demonstrated,
            distance_m=task.get("distance_m"),
            remaining_m=task.get("remaining_m"),
            strays_from_best=task.get("strays_from_best", False),
            succeeded=task.get("succeeded", False),
            uploading=self._uploading,
        )

    def _end_with_session(self) -> None:
        if not self._plan.pressed_quit and not self._plan.complaints:
            self._plan.complaints.append("the session went away")
        self._report()
        self.end(1 if self._plan.complaints else 0)

    def _report(self) -> None:
        for complaint in self._plan.complaints[self._reported :]:
            self.event(Event.ERROR, "operator_complains", complaint)
        self._reported = len(self._plan.complaints)


def main() -> int:
    """Run the scripted operator; it ends last."""
    return run_node(OperatorNode, late=True)
