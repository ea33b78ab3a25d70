# SPDX-License-Identifier: Apache-2.0
"""The arm guard's shell: a small process of its own that knows no policy; see `guard`."""

from __future__ import annotations

from rclpy.qos import QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver.command import CommandEncoder
from h1_training_bringup.arm_driver.guard import CHECK_PERIOD_S, ArmGuard
from h1_training_bringup.arm_driver.parameters import GuardParameters, load_joint_settings
from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_msgs.msg import GuardStatus
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S, SuspensionDetector
from h1_training_node.node_main import run_node
from h1_training_node.polled_subscription import PolledSubscription
from h1_training_node.stamps import to_stamp

_ARM_SDK_QOS = QoSProfile(depth=10)
_STATUS_PERIOD_NS = 100_000_000
"""The driver demands the guard's heartbeat at least every 400 ms (`guard_timeout_s`)."""


class ArmGuardNode(BaseNode):
    """Looks at /arm_sdk and /lowstate 50 times a second; once it has taken over, commands the arms 250 times."""

    def __init__(self) -> None:
        super().__init__("arm_guard")
        parameters = self.parameters(GuardParameters)
        joints = load_joint_settings(parameters)
        self._guard = ArmGuard(joints, parameters)
        self._encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        # Made now and not when it is needed: finding the robot's side takes seconds.
        self._arm_sdk = self.create_publisher(LowCmd, "/arm_sdk", _ARM_SDK_QOS)
        self._active = self.create_publisher(Bool, "arm_guard/active", qos.LATCHED)
        self._active.publish(Bool(data=False))
        self._status_publisher = self.create_publisher(GuardStatus, "arm_guard/status", qos.STATE)
        self._status, self._status_due_ns = GuardStatus(), 0
        self._suspension = SuspensionDetector(NS_PER_S)
        self._states = PolledSubscription(self, LowState, "/lowstate", depth=1, suffix="lowstate")
        self._commands = PolledSubscription(self, LowCmd, "/arm_sdk", depth=1, suffix="arm_sdk")
        self.create_service(Trigger, "arm_guard/release", self._on_release)
        self.create_service(Trigger, "arm_guard/is_watching", self._on_question)
        self._checking = self.every(CHECK_PERIOD_S, self._check)

    def request_stop(self, why: str) -> None:
        """See the arm driver's ending through, or release what the guard holds itself."""
        self._guard.end(self.now_ns())

    def destroy_node(self) -> None:
        """Leave the graph, with the subscriptions to robot and driver."""
        self._states.close()
        self._commands.close()
        super().destroy_node()

    def _take_in(self, now_ns: int) -> None:
        """Take in all that has come by now: what is decided next is decided on nothing older."""
        for sample, stamp_ns in self._states.samples(now_ns):
            self._guard.intake.receive(sample, stamp_ns)
        for sample, _ in self._commands.samples(now_ns):
            self._guard.observe(sample)
        if self._suspension.slept_ns():
            self._guard.slept(now_ns)

    def _check(self) -> None:
        now_ns = self.now_ns()
        self._take_in(now_ns)
        if self._guard.check(now_ns):
            self._checking.cancel()
            self._command()
            self.every(PERIOD_S, self._command)
            self._active.publish(Bool(data=True))
        self._finish_period(now_ns)

    def _command(self) -> None:
        now_ns = self.now_ns()
        self._take_in(now_ns)
        command = self._guard.command(now_ns)
        if command is not None:
            self._arm_sdk.publish(self._encoder.encode(command))
        self._finish_period(now_ns)

    def _finish_period(self, now_ns: int) -> None:
        """Publish what the period brought. The heartbeat comes from the work itself: a guard that hangs has none."""
        if now_ns >= self._status_due_ns:
            self._status_due_ns = now_ns + _STATUS_PERIOD_NS
            self._status.header.stamp = to_stamp(now_ns)
            self._status.seq += 1
            self._status.has_taken_over = self._guard.has_taken_over
            self._status.release_countdown = self._guard.release_countdown_s(now_ns)
            self._status_publisher.publish(self._status)
        for notice in self._guard.notices:
            self.event(int(notice.level), notice.reason, notice.detail)
        self._guard.notices.clear()
        if self._guard.has_ended:
            self.end(0)

    def _on_question(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """The driver had paused, and may go on if the guard has not taken over."""
        response.success = self._guard.is_asked()
        return response

    def _on_release(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer = self._guard.release(self.now_ns())
        response.success, response.message = answer.accepted, answer.reason
        return response


def main() -> int:
    return run_node(ArmGuardNode)
