# SPDX-License-Identifier: Apache-2.0
"""The base of every node: session clock, checked parameters, events, and an ending of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.clock import SessionClock
from h1_training_node.loop import Loop, LoopTimer
from h1_training_node.parameter import ParameterError, from_values, nearest_known
from h1_training_node.process import REALTIME, REALTIME_IF_ALLOWED, Priority
from h1_training_node.stamps import to_stamp

T = TypeVar("T")

_ROS_OWN = {"use_sim_time", "start_type_description_service"}
_HOW_REALTIME = (
    "so that any other program can hold it up; allow realtime: put the line 'USER - rtprio 10' into "
    "/etc/security/limits.d/h1_training.conf and log in again (Docker: --ulimit rtprio=10)"
)


class BaseNode(Node):
    """A node of the session. `run_node` spins it and asks it to end.

    A node that has something to finish overrides `request_stop` and calls `end` when it is done;
    `run_node` gives it `STOP_TIMEOUT_S` for that.
    """

    STOP_TIMEOUT_S = 14.0

    def __init__(self, name: str) -> None:
        self._polled: list[Subscription] = []
        super().__init__(name)
        self.clock_ns = SessionClock.from_environment()
        self.exit_status: int | None = None
        self.loops: list[Loop] = []
        self._event_publisher = self.create_publisher(Event, "session/event", qos.STATE)

    def parameters(self, cls: type[T]) -> T:
        """Declare the dataclass `cls` as this node's parameters and return their values; see `declared`."""
        return declared(self, cls)

    def every(self, period_s: float, work: Callable[[], None]) -> Loop:
        """Call `work` every `period_s` from now on, whatever the system's clock is set to."""
        loop = Loop(period_s, work)
        self.loops.append(loop)
        return loop

    def create_timer(
        self,
        timer_period_sec: float,
        callback: Callable[[], Any] | None,
        callback_group: Any = None,
        clock: Any = None,
        autostart: bool = True,
    ) -> LoopTimer:
        """A timer for helpers that want one of rclpy's form; our own code calls `every`.

        It runs in the node's spin loop like `every`, by the steady clock. The wheels' EventsExecutor waits by the
        system's clock (see `spinner`), so a timer of rclpy itself stands still for as long as that is set back.
        """
        timer = LoopTimer(float(timer_period_sec), callback, callback_group=callback_group, clock=clock)
        if not autostart:
            timer.cancel()
        self.loops.append(timer)
        return timer

    def destroy_timer(self, timer: Any) -> bool:
        """End a timer; True if it was one of this node."""
        if timer not in self.loops:
            return bool(super().destroy_timer(timer))
        self.loops.remove(timer)
        timer.destroy()
        return True

    def create_polled_subscription(self, message_type: type, topic: str, profile: QoSProfile) -> Subscription:
        """A subscription that wakes nobody: `handle.take_message(msg_type, True)` takes the oldest message or None."""
        subscription = self.create_subscription(message_type, topic, lambda _: None, profile, raw=True)
        self._polled.append(subscription)
        return subscription

    def destroy_polled_subscription(self, subscription: Subscription) -> None:
        """End one; nobody may be taking from it."""
        self._polled.remove(subscription)
        self.destroy_subscription(subscription)

    @property
    def subscriptions(self) -> Iterator[Subscription]:
        """Those that executors look after."""
        return (one for one in super().subscriptions if one not in self._polled)

    def now_ns(self) -> int:
        """Session time, ns."""
        return self.clock_ns.now_ns()

    def now(self) -> Time:
        """Session time as a stamp."""
        return to_stamp(self.now_ns())

    def header(self, stamp_ns: int | None = None, frame_id: str = "") -> Header:
        """A header stamped with `stamp_ns` (session clock), or with now."""
        return Header(stamp=to_stamp(self.now_ns() if stamp_ns is None else stamp_ns), frame_id=frame_id)

    def event(self, level: int, reason: str, detail: str, *, is_said: bool = False) -> None:
        """Publish an event on session/event and write it to the log.

        Args:
            level: `Event.INFO`, `Event.WARN` or `Event.ERROR`.
            reason: short name in snake_case.
            detail: one line for a person.
            is_said: the operator has read it already, so that the log need not warn of it again.
        """
        self._event_publisher.publish(
            Event(header=self.header(), source=self.get_name(), level=level, reason=reason, detail=detail)
        )
        text = f"{reason}: {detail}"
        if is_said:
            self.get_logger().info(text)
        elif level == Event.ERROR:
            self.get_logger().error(text)
        elif level == Event.WARN:
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)

    def report_priority(self, priority: Priority) -> None:
        """Say what the realtime priority that the graph wanted for this process came to, if it wanted any."""
        if priority.wanted == REALTIME and not priority.is_realtime:
            self.event(Event.WARN, "no_realtime", f"runs at {priority.granted} only, {_HOW_REALTIME}")
        elif priority.wanted in (REALTIME, REALTIME_IF_ALLOWED):
            self.get_logger().info(f"runs at {priority.granted}")

    def request_stop(self, why: str) -> None:
        """Called once, in the executor's thread, when the process is asked to end. Default: end at once."""
        self.end(0)

    def end(self, exit_status: int) -> None:
        """This node is done; `run_node` returns `exit_status`. The first call counts."""
        if self.exit_status is None:
            self.exit_status = exit_status


def declared(node: Node, cls: type[T]) -> T:
    """Declare every field of `cls` as a read-only parameter of `node`, and return the values.

    Types are checked here and not by rclpy, so that `1` is good enough for `1.0` and the message names the node.

    Raises:
        ParameterError: a value of the wrong type, out of its range, or refused by `__post_init__`.
    """
    _refuse_unknown(node, {field.name for field in dataclasses.fields(cls)})  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        value = node.declare_parameter(field.name, default, _descriptor(field)).value
        if value is not None:
            values[field.name] = value
    return from_values(cls, values, owner=node.get_fully_qualified_name())


def _refuse_unknown(node: Node, known: set[str]) -> None:
    """rclpy drops a value for a parameter that nobody declares; a misspelt one must not pass in silence."""
    given = {
        name for name in node._parameter_overrides if name not in _ROS_OWN and not name.startswith("qos_overrides.")
    }
    if unknown := sorted(given - known):
        hint = nearest_known(unknown[0], known)
        raise ParameterError(f"{node.get_fully_qualified_name()}: unknown parameter '{unknown[0]}'{hint}")


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    metadata = field.metadata
    unit = f" [{metadata['unit']}]" if metadata["unit"] else ""
    descriptor = ParameterDescriptor(
        name=field.name,
        description=metadata["description"] + unit,
        read_only=True,
        dynamic_typing=True,
        additional_constraints=f"one of {', '.join(metadata['choices'])}" if metadata["choices"] else "",
    )
    low, high = metadata["low"], metadata["high"]
    if low is not None and high is not None:
        # rclpy enforces a range only for the type that it finds; ours is enforced again with a clearer message.
        if isinstance(field.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        elif isinstance(field.default, int) and not isinstance(field.default, bool):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
