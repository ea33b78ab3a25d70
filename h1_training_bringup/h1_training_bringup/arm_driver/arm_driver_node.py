# SPDX-License-Identifier: Apache-2.0
"""The arm driver's shell: raw samples in, raw samples out, 250 times a second; everything else is in its siblings."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.qos import QoSProfile
from rclpy.task import Future
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, ColorRGBA, Header, String
from std_srvs.srv import Trigger
from unitree_hg.msg import LowCmd, LowState
from visualization_msgs.msg import Marker, MarkerArray

from h1_training_bringup.arm_driver import arm_jog_node, arm_weigh_node
from h1_training_bringup.arm_driver.collision_model import Capsule
from h1_training_bringup.arm_driver.command import (
    ArmCommand,
    CommandEncoder,
    NamedWriters,
    SentCommands,
    Writer,
    is_allowed,
    others,
)
from h1_training_bringup.arm_driver.controller import ArmController
from h1_training_bringup.arm_driver.faults import RequestResult
from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.parameters import ArmParameters, load_joint_settings
from h1_training_bringup.arm_driver.samples import (
    SampleError,
    StatusEncoder,
    encode_joint_state,
    read_action,
    read_seq,
)
from h1_training_bringup.arm_driver.sensed import Sensed
from h1_training_bringup.arm_driver.trajectory import PERIOD_S
from h1_training_msgs.msg import ArmStatus, Event, GuardStatus, PolicyAction, SessionState
from h1_training_msgs.srv import SetArmMode
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S, SuspensionDetector
from h1_training_node.node_main import EXIT_USAGE, run_node
from h1_training_node.polled_subscription import PolledSubscription
from h1_training_node.report_once import ReportOnce

ARM_SDK_QOS = QoSProfile(depth=10)
"""Reliable, as the robot's examples publish it."""
_STATUS_PERIOD_NS = 20_000_000
_GRAPH_CHECK_S = 0.5
_COLLECT_S = 5.0
_NO_ROBOT_S = 3.0
_STATES_KEPT = 50
"""Between two periods there are two; after a pause of this process the newest count, not their number."""
_BALLS = 9
_COMMANDS_KEPT, _LOOK_EVERY = 64, 4
"""Of /arm_sdk, and after how many periods it is looked into."""
_END_IT = "end the other one (one that was killed is forgotten after 20 s)"
_IN_COMMAND_NS = 50_000_000
"""Who sent a command so short a time ago commands: the guard does not, and what is not ours is foreign."""


class ArmDriverNode(BaseNode):
    """Reads /lowstate, writes /arm_sdk, and publishes what it measures and commands. See `controller`."""

    def __init__(self) -> None:
        super().__init__("arm_driver")
        parameters = self.parameters(ArmParameters)
        joints = load_joint_settings(parameters)
        self._guard_name, self._allowed = parameters.guard_name, parameters.arm_sdk_allowed
        self._controller = ArmController(joints, parameters)
        self._intake = StateIntake(round(parameters.robot_timeout_s * 1e9), parameters.harmless_bits)
        self._encoder = CommandEncoder(joints.waist_kp, joints.waist_kd)
        self._command: ArmCommand | None = None
        self._status = StatusEncoder()
        self._status_due_ns = 0
        self._published_mode_since_ns = -1
        self._started_ns = self.now_ns()
        self._no_robot_reported = False
        self._asked = 0
        self._suspension = SuspensionDetector(NS_PER_S)
        self._sent, self._sent_ns, self._ticks = SentCommands(), 0, 0
        self._named = NamedWriters()
        self._content_identifies = True
        self._joint_states_reported = self._allowed_reported = False
        self._unreadable = ReportOnce()

        self._arm_sdk = self.create_publisher(LowCmd, "/arm_sdk", ARM_SDK_QOS)
        self._joint_states = self.create_publisher(JointState, "joint_states", qos.STATE)
        self._arm_status = self.create_publisher(ArmStatus, "arm_status", qos.STATE)
        self._shapes = self.create_publisher(MarkerArray, "arm_driver/collision_shapes", qos.LATCHED)
        self._shapes.publish(_drawn(self._controller.stiff.collisions.capsules))
        self._lowstate = PolledSubscription(self, LowState, "/lowstate", depth=_STATES_KEPT, suffix="lowstate")
        self._commands = PolledSubscription(self, LowCmd, "/arm_sdk", depth=_COMMANDS_KEPT, suffix="arm_sdk")
        self._subscribe_raw(PolicyAction, "policy/action", self._on_action)
        self._subscribe_raw(SessionState, "session/state", self._on_session)
        self._subscribe_raw(GuardStatus, "arm_guard/status", self._on_guard_status)
        for profile in (qos.STATE, qos.LATEST):  # whatever a publisher offers; twice the same stop is one
            self.create_subscription(String, "emergency_stop", self._on_emergency_stop, profile)
        self.create_subscription(Bool, "arm_guard/active", self._on_guard, qos.LATCHED)
        self.create_service(SetArmMode, "arm_driver/set_mode", self._on_set_mode)
        self.create_service(Trigger, "arm_driver/acknowledge", self._on_acknowledge)
        self.create_service(Trigger, "arm_driver/release", self._on_release)
        self.create_service(Trigger, "arm_driver/emergency_stop", self._on_emergency_service)
        self._guard = self.create_client(Trigger, "arm_guard/is_watching")
        self.every(PERIOD_S, self._tick)
        self.every(_GRAPH_CHECK_S, self._check_graph)
        self.every(_COLLECT_S, self._collect)

    def request_stop(self, why: str) -> None:
        """DAMPING at once, warning, ramp; the node ends when arm control is released."""
        self._controller.end(self.now_ns(), f"ending_{why.lower()}")

    def destroy_node(self) -> None:
        """Leave the graph, with the subscriptions that are polled."""
        self._lowstate.close()
        self._commands.close()
        super().destroy_node()

    # ---- in -------------------------------------------------------------------------------------------------------

    def _newest(self, now_ns: int) -> Sensed | None:
        for sample, stamp_ns in self._lowstate.samples(now_ns):
            self._intake.receive(sample, stamp_ns)
        return self._intake.latest()

    def _subscribe_raw(self, kind: type, topic: str, take: Callable[[int, bytes], None]) -> None:
        """Hand over each sample with session time; one that cannot be read is dropped, and reported once a topic."""

        def on_sample(sample: bytes) -> None:
            try:
                take(self.now_ns(), sample)
            except SampleError as error:
                if self._unreadable.is_due(topic):
                    text = f"{topic}: {error}; dropped, as all further ones will be"
                    self.event(Event.WARN, "unreadable_message", text)

        self.create_subscription(kind, topic, on_sample, qos.LATEST, raw=True)

    def _on_action(self, now_ns: int, sample: bytes) -> None:
        self._controller.offer_action(now_ns, read_action(sample))

    def _on_session(self, now_ns: int, sample: bytes) -> None:
        self._controller.conditions.heartbeat.receive(now_ns, read_seq(sample))

    def _on_guard_status(self, now_ns: int, sample: bytes) -> None:
        self._controller.conditions.guard.receive(now_ns, read_seq(sample))

    def _on_emergency_stop(self, message: String) -> None:
        who, _, why = message.data.partition(":")
        self._controller.emergency_stop(self.now_ns(), who.strip() or "emergency_stop", why.strip())

    def _on_guard(self, message: Bool) -> None:
        if message.data:
            self._controller.yield_to_guard(self.now_ns())

    def _on_set_mode(self, request: SetArmMode.Request, response: SetArmMode.Response) -> SetArmMode.Response:
        answer = self._controller.set_mode(
            self.now_ns(), request.why or "requested", request.mode, request.expected_mode
        )
        response.accepted, response.reason = answer.accepted, answer.reason
        response.mode = int(self._controller.mode)
        self._report_now()
        outcome = f"now {self._controller.mode.name}" if answer.accepted else f"refused: {answer.reason}"
        self.get_logger().info(f"{request.who} asks for mode {request.mode} ({request.why}): {outcome}")
        return response

    def _on_acknowledge(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answered(response, self._controller.acknowledge())

    def _on_release(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answered(response, self._controller.release(self.now_ns()))

    def _on_emergency_service(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._controller.emergency_stop(self.now_ns(), "arm_driver/emergency_stop", "service called")
        response.success = True
        return response

    # ---- out ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_ns = self.now_ns()
        sensed = self._newest(now_ns)
        self._ticks += 1
        if slept_ns := self._suspension.slept_ns():
            self._controller.slept(now_ns, slept_ns)
        if self._ticks % _LOOK_EVERY == 0:
            self._look_for_foreign_commands(now_ns)
        self._controller.conditions.unusable = self._intake.unusable(now_ns)
        if sensed is None:
            self._miss_robot(now_ns)
        else:
            self._step(now_ns, sensed)
            self._report(now_ns, sensed)
        if self._controller.notices or self._intake.notices:
            self._report_notices()
        if self._controller.has_ended:
            self.end(0)

    def _step(self, now_ns: int, sensed: Sensed) -> None:
        controller, intake = self._controller, self._intake
        command = controller.step(now_ns, sensed, intake.good_for_ns(now_ns), intake.rate(now_ns))
        controller.conditions.frozen = intake.frozen(now_ns)
        if command is not None:
            sample = self._encoder.encode(command)
            self._sent.add(sample)
            self._sent_ns = now_ns
            self._arm_sdk.publish(sample)
        if controller.question == 0:
            self._command = command
        elif controller.question != self._asked:
            self._ask_guard(controller.question)

    def _look_for_foreign_commands(self, now_ns: int) -> None:
        count = self._sent.count_foreign(sample for sample, _ in self._commands.samples(now_ns))
        if not count or now_ns - self._sent_ns >= _IN_COMMAND_NS:
            return
        if self._content_identifies:
            text = f"{count} commands on {self._commands.topic_name} are not this driver's; end the other program"
            self._controller.see_foreign_command(now_ns, text)
        elif not self._allowed_reported:
            self._allowed_reported = True
            text = f"{', '.join(self._allowed)} (arm_sdk_allowed) not only may command the arms, it does: they get both"
            self.event(Event.ERROR, "allowed_commander", f"{text}, and the guard cannot notice if this driver dies")

    def _ask_guard(self, question: int) -> None:
        """This process had paused: does the guard command the arms meanwhile?"""
        self._asked = question
        if not self._guard.service_is_ready():
            self._controller.guard_answered(self.now_ns(), question, is_watching=True)  # there is none
            return

        def on_answer(future: Future) -> None:
            self._controller.guard_answered(self.now_ns(), question, is_watching=future.result().success)

        self._guard.call_async(Trigger.Request()).add_done_callback(on_answer)

    def _report_now(self) -> None:
        """The new mode goes out before the answer to who asked for it: no caller meets an old arm_status."""
        sensed = self._intake.latest()
        if sensed is not None and self._controller.mode_since_ns != self._published_mode_since_ns:
            self._publish_status(self.now_ns(), sensed)

    def _report(self, now_ns: int, sensed: Sensed) -> None:
        """arm_status and joint_states at 50 Hz with one stamp; arm_status at once when the mode has changed."""
        is_due = now_ns >= self._status_due_ns
        if self._status_due_ns == 0:
            # Half a period before the tick that is meant, so that jitter does not choose another one.
            self._status_due_ns = now_ns - round(PERIOD_S / 2 * 1e9)
        if is_due:
            # On a grid of its own: a period that is late or left out must not move the later ones; rows count on it.
            self._status_due_ns += _STATUS_PERIOD_NS * ((now_ns - self._status_due_ns) // _STATUS_PERIOD_NS + 1)
        if is_due or self._controller.mode_since_ns != self._published_mode_since_ns:
            self._publish_status(now_ns, sensed)
        if is_due:
            self._joint_states.publish(encode_joint_state(sensed))

    def _publish_status(self, now_ns: int, sensed: Sensed) -> None:
        self._published_mode_since_ns = self._controller.mode_since_ns
        self._arm_status.publish(self._status.encode(now_ns, sensed, self._command, self._controller, self._intake))

    def _report_notices(self) -> None:
        for notices in (self._intake.notices, self._controller.notices):
            for notice in notices:
                self.event(int(notice.level), notice.reason, notice.detail)
            notices.clear()

    def _miss_robot(self, now_ns: int) -> None:
        if not self._no_robot_reported and now_ns - self._started_ns > _NO_ROBOT_S * 1e9:
            self._no_robot_reported = True
            text = self._controller.conditions.no_state_yet(self._lowstate.topic_name)
            self.event(Event.WARN, "no_robot_state", text)

    def _check_graph(self) -> None:
        """Who else commands the arms, puts out actions, plays the session, or claims to be the robot."""
        conditions = self._controller.conditions
        writers = [
            Writer(endpoint.node_name, bytes(endpoint.endpoint_gid).hex())
            for endpoint in self.get_publishers_info_by_topic(self._arm_sdk.topic_name)
        ]
        # Where a writer is allowed besides, its commands are none of ours, and yet no intruder's.
        self._content_identifies = not any(is_allowed(writer, self._allowed) for writer in writers)
        found = others(self._named.of(writers), (self.get_name(), self._guard_name), self._allowed)
        if found:
            conditions.foreign = f"{', '.join(found)} also publishes on {self._arm_sdk.topic_name}; {_END_IT}"
        else:
            conditions.foreign = self._doubled(self._lowstate.topic_name, "session/state", "arm_guard/status")
        conditions.foreign_actions = self._doubled("policy/action", "hands/left/command", "hands/right/command")
        self._check_joint_states()

    def _doubled(self, *topics: str) -> str:
        """Which of `topics`, that have one publisher each, has several now; empty if none."""
        for topic in topics:
            if (count := self.count_publishers(topic)) > 1:
                return f"{count} publishers on {self.resolve_topic_name(topic)}, where there may be one; {_END_IT}"
        return ""

    def _check_joint_states(self) -> None:
        """Without a namespace ours has the name of the robot's own, if it has one: two in one would be false."""
        topic = self._joint_states.topic_name
        is_shared = self.count_publishers(topic) > 1
        text = f"somebody else publishes {topic}, too: give the session a namespace (robot.namespace), or end the other"
        self._controller.conditions.not_ours = f"joint_states_shared: {text}" if is_shared else ""
        if is_shared and not self._joint_states_reported:
            self.event(Event.ERROR, "joint_states_shared", text)
        self._joint_states_reported = is_shared

    def _collect(self) -> None:
        """The collector is off in this process; a young heap is gone through in the pause between two periods."""
        if not gc.isenabled():
            gc.collect(1)


def _answered(response: Trigger.Response, answer: RequestResult) -> Trigger.Response:
    response.success, response.message = answer.accepted, answer.reason
    return response


def _drawn(capsules: list[tuple[str, Capsule]]) -> MarkerArray:
    """Each capsule as a row of balls in the frame of its link, for rviz2."""
    markers = []
    for index, (_, capsule) in enumerate(capsules):
        line = np.linspace(capsule.begin, capsule.end, _BALLS)
        size = 2 * capsule.radius_m
        markers.append(
            Marker(
                header=Header(frame_id=capsule.link),  # stamp 0: at the newest transform
                ns="collision_shapes",
                id=index,
                type=Marker.SPHERE_LIST,
                pose=Pose(orientation=Quaternion(w=1.0)),
                scale=Vector3(x=size, y=size, z=size),
                color=ColorRGBA(r=0.95, g=0.6, b=0.2, a=0.35),
                frame_locked=True,
                points=[Point(x=x, y=y, z=z) for x, y, z in line.tolist()],
            )
        )
    return MarkerArray(markers=markers)


def _without_collector() -> ArmDriverNode:
    """The node, with everything that it was built from taken out of the garbage collector's sight."""
    node = ArmDriverNode()
    gc.collect()
    gc.freeze()
    gc.disable()
    return node


def main() -> int:
    """Entry point of `arm_driver`; `weigh` reports what the wrists carry instead, `jog` moves one joint a little."""
    commands = {"jog": arm_jog_node.main, "weigh": arm_weigh_node.main}
    words = remove_ros_args(sys.argv)[1:]
    if not words:
        return run_node(_without_collector)
    if words[0] in commands:
        sys.argv.remove(words[0])
        return commands[words[0]]()
    # A second driver, started by a slip, would be a foreign commander to the one that has the arms.
    print(f"arm_driver: no command '{words[0]}'; there are {', '.join(commands)}", file=sys.stderr)
    return EXIT_USAGE
