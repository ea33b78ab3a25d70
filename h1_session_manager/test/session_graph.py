# SPDX-License-Identifier: Apache-2.0
"""Simple nodes in place of arm driver, recorder and policy bridge, for tests of the session manager on the graph."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from rclpy.parameter import Parameter
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from h1_training_msgs.msg import ArmStatus, PolicyStatus, RecorderStatus, SessionState
from h1_training_msgs.srv import DiscardEpisode, FinishEpisode, LabelEpisode, SetArmMode, StartEpisode
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.stamps import to_stamp

CAMERAS = ("ego_cam", "cam_left_wrist", "cam_right_wrist")
N = TypeVar("N")


def make(kind: type[N], **parameters: Any) -> N:
    """A node with parameters, as a launch file would give them."""

    class Configured(kind):  # type: ignore[misc, valid-type]
        def parameters(self, cls: type) -> Any:
            overrides = {name: Parameter(name, value=value) for name, value in parameters.items()}
            self._parameter_overrides.update(overrides)
            return super().parameters(cls)

    return Configured()


class StubGraph(BaseNode):
    """All of the others in one node: they do at once what they are asked, and publish it at 50 Hz."""

    def __init__(self) -> None:
        super().__init__("stub_graph")
        self.asked: list[tuple[str, Any]] = []
        self.states: list[SessionState] = []
        self.stops: list[str] = []
        self.mode, self.since_ns, self.reason = ArmStatus.MODE_RELEASED, self.now_ns(), "start"
        self.recorder = RecorderStatus(state=RecorderStatus.IDLE, bytes_free=10**12, streams=list(CAMERAS))
        self.recorder.rates, self.recorder.ages, self.recorder.drops = [30.0] * 3, [0.02] * 3, [0] * 3
        self.recorder.verdicts = [RecorderStatus.FRESH] * 3
        self.seq = 0
        self._arm = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._recorder = self.create_publisher(RecorderStatus, "recorder/status", qos.STATE)
        self._policy = self.create_publisher(PolicyStatus, "policy/status", qos.STATE)
        self.guard = self.create_publisher(Bool, "arm_guard/active", qos.LATCHED)
        self.guard.publish(Bool(data=False))
        self.keyboard = self.create_publisher(String, "keyboard", qos.STATE)
        self.stop_topic = self.create_publisher(String, "emergency_stop", qos.STATE)
        self.create_subscription(SessionState, "session/state", self.states.append, qos.LATCHED)
        self.create_subscription(String, "emergency_stop", lambda message: self.stops.append(message.data), qos.STATE)
        for name, kind, handler in (
            ("arm_driver/set_mode", SetArmMode, self._set_mode),
            ("arm_driver/acknowledge", Trigger, self._trigger),
            ("arm_driver/release", Trigger, self._release),
            ("arm_driver/emergency_stop", Trigger, self._emergency_stop),
            ("recorder/start", StartEpisode, self._start),
            ("recorder/finish", FinishEpisode, self._finish),
            ("recorder/discard", DiscardEpisode, self._accept),
            ("recorder/label", LabelEpisode, self._accept),
        ):
            self.create_service(kind, name, partial(self._note, name, handler))
        self.every(0.02, self._report)

    @property
    def state(self) -> str:
        return self.states[-1].state if self.states else ""

    @property
    def keys(self) -> list[str]:
        return list(self.states[-1].keys) if self.states else []

    def press(self, key: str) -> None:
        self.keyboard.publish(String(data=key))

    def enter(self, mode: int, reason: str) -> None:
        self.mode, self.reason, self.since_ns = mode, reason, self.now_ns()

    def called(self, name: str) -> list[Any]:
        return [request for service, request in self.asked if service == name]

    def _note(self, name: str, handler: Any, request: Any, response: Any) -> Any:
        self.asked.append((name, request))
        return handler(request, response)

    def _set_mode(self, request: Any, response: Any) -> Any:
        response.accepted = request.expected_mode == self.mode
        if response.accepted:
            home = request.mode == ArmStatus.MODE_HOME
            self.enter(ArmStatus.MODE_HOLD if home else request.mode, "home_reached" if home else request.why)
        response.mode = self.mode
        return response

    def _trigger(self, _request: Any, response: Any) -> Any:
        response.success = True
        return response

    def _release(self, request: Any, response: Any) -> Any:
        self.enter(ArmStatus.MODE_RELEASED, "released")
        return self._trigger(request, response)

    def _emergency_stop(self, request: Any, response: Any) -> Any:
        if self.mode != ArmStatus.MODE_RELEASED:
            self.enter(ArmStatus.MODE_DAMPING, "emergency_stop")
        return self._trigger(request, response)

    def _start(self, request: Any, response: Any) -> Any:
        response.accepted, response.episode_id = True, f"epoch{request.epoch}/episode_{request.episode - 1}"
        self.recorder.state, self.recorder.episode_id = RecorderStatus.RECORDING, response.episode_id
        return response

    def _finish(self, _request: Any, response: Any) -> Any:
        response.accepted = True
        self.recorder.state, self.recorder.last_path = RecorderStatus.SAVED, "/data/episode.hdf5"
        self.recorder.policy_frames, self.recorder.human_frames = 10, 20
        return response

    def _accept(self, _request: Any, response: Any) -> Any:
        response.accepted = True
        return response

    def _report(self) -> None:
        self.seq += 1
        now = self.now()
        arm = ArmStatus(seq=self.seq, mode=self.mode, mode_since=to_stamp(self.since_ns), reason=self.reason)
        arm.header.stamp = now
        self._arm.publish(arm)
        self.recorder.header.stamp = now
        self._recorder.publish(self.recorder)
        holds = self.state == "EXECUTING" and self.mode == ArmStatus.MODE_HOLD
        policy = PolicyStatus(seq=self.seq, connection=PolicyStatus.CONNECTED, chunk_ready=holds)
        policy.epoch = self.states[-1].epoch if self.states else -1
        policy.header.stamp = now
        self._policy.publish(policy)
