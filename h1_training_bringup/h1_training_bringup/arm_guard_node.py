"""The arm guard's shell: a small process of its own that knows no policy; see `arms.guard`."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arms.command import CommandEncoder
from h1_training_bringup.arms.guard import WATCH_PERIOD_S, ArmGuard
from h1_training_bringup.arms.settings import GuardParameters, load_joint_settings
from h1_training_bringup.arms.trajectory import PERIOD_S
from h1_training_node import qos
from h1_training_node.node_main import run_node
from h1_training_node.session_node import SessionNode

_ARM_SDK_QOS = QoSProfile(depth=10)
_ACTIVE_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ArmGuardNode(SessionNode):
    """Listens to /arm_sdk and /lowstate at 50 Hz; once it has taken over, commands the arms at 250 Hz."""

    def __init__(self) -> None:
        super().__init__("arm_guard")
        parameters = self.parameters(GuardParameters)
        joints = load_joint_settings(parameters)
        self._guard = ArmGuard(joints, parameters)
        self._encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self._newest: tuple[bytes, int] | None = None
        # Made now and not when it is needed: finding the robot's side takes seconds.
        self._arm_sdk = self.create_publisher(LowCmd, "/arm_sdk", _ARM_SDK_QOS)
        self._active = self.create_publisher(Bool, "arm_guard/active", _ACTIVE_QOS)
        self._active.publish(Bool(data=False))
        self.create_subscription(LowState, "/lowstate", self._on_state, qos.LATEST, raw=True)
        self._ear = self.create_subscription(LowCmd, "/arm_sdk", self._guard.hear, qos.LATEST, raw=True)
        self.create_service(Trigger, "arm_guard/release", self._on_release)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(WATCH_PERIOD_S, self._watch, clock=self._steady)

    def request_stop(self, why: str) -> None:
        """See the arm driver's ending through, or give back what the guard holds itself."""
        self._guard.end(self.now_ns())

    def _on_state(self, sample: bytes) -> None:
        self._newest = (sample, self.now_ns())

    def _take_in(self) -> None:
        if self._newest is not None:
            self._guard.intake.receive(*self._newest)
            self._newest = None

    def _watch(self) -> None:
        self._take_in()
        if self._guard.watch(self.now_ns()):
            self._timer.cancel()
            self._speak()
            self._timer = self.create_timer(PERIOD_S, self._speak, clock=self._steady)
            self._active.publish(Bool(data=True))
        self._finish_period()

    def _speak(self) -> None:
        self._take_in()
        command = self._guard.speak(self.now_ns())
        if command is not None:
            self._arm_sdk.publish(self._encoder.encode(command))
        self._finish_period()

    def _finish_period(self) -> None:
        for notice in self._guard.notices:
            self.event(int(notice.level), notice.reason, notice.detail)
        self._guard.notices.clear()
        if self._guard.has_ended:
            self.end(0)

    def _on_release(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer = self._guard.release(self.now_ns())
        response.success, response.message = answer.accepted, answer.reason
        return response


def main() -> int:
    return run_node(ArmGuardNode)
