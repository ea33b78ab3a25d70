# SPDX-License-Identifier: Apache-2.0
"""Raw subscriptions that ask for what the publishers offer: RELIABLE where all do, else BEST_EFFORT.

A message is handed over as the bytes that came off the wire, so recording costs no deserialization. Nobody is woken for
each of 300 a second, which costs more than all that is done with them: who wants them has them taken. When each
came is known all the same, from the middleware; where that does not say (CycloneDDS), it is when it was taken.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from h1_recorder.recorder.definitions import DefinitionError, schema_text
from h1_recorder.recorder.intake import Intake
from h1_recorder.recorder.journal import Arrival, Channel
from h1_recorder.recorder.streams import Stream
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S

_Taker = tuple[str, Callable[[Any, bool], tuple[bytes, dict[str, Any]] | None], Any, int]
"""Name of the stream, how to take one message, its class, and how many may be waiting."""
_LOG_NS = itemgetter(0)


@dataclass(frozen=True)
class _Wanted:
    """What a subscription asks for."""

    reliable: bool
    latched: bool

    def profile(self, depth: int) -> QoSProfile:
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=depth,
            reliability=ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE,
        )


class RawSubscriptions:
    """The recorder's subscriptions. `adapt` is to be called about once a second, `take` from any thread.

    Args:
        node: that owns them.
        intake: receives the messages.
        problem: receives what cannot be recorded: reason and one line.
    """

    def __init__(self, node: BaseNode, intake: Intake, problem: Callable[[str, str], None]) -> None:
        self._node, self._intake, self._problem = node, intake, problem
        self._open: dict[str, tuple[Subscription, _Wanted]] = {}
        self._types: dict[str, str] = {}
        self._refused: set[str] = set()
        self._streams: list[Stream] = []
        self._takers: list[_Taker] = []
        self._taken_ns = node.now_ns()
        self._taking = threading.Lock()
        intake.take = self.take

    def close(self) -> None:
        """Receive nothing more."""
        with self._taking:
            self._takers = []

    def add(self, stream: Stream) -> None:
        """Subscribe to `stream`; one whose type is not known yet, as soon as somebody publishes it."""
        self._streams.append(stream)
        if stream.type:
            self._make_known(stream, stream.type)
            self._subscribe(stream, _Wanted(True, stream.latched))

    def adapt(self, *, recording: bool) -> None:
        """Look at what the publishers offer now, and ask for that.

        While recording only a subscription that a publisher cannot serve is made again, since that may cost a message.
        """
        for stream in self._streams:
            offers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(stream.topic))
            if not offers or stream.name in self._refused:
                continue
            if stream.name not in self._types and not self._make_known(stream, offers[0].topic_type):
                continue
            profiles = [offer.qos_profile for offer in offers]
            self._intake.set_offered_qos(stream.name, offered_qos_yaml(profiles))
            wanted = _Wanted(
                all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles),
                stream.latched and all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles),
            )
            _, asked = self._open.get(stream.name, (None, None))
            unserved = asked is None or asked.reliable > wanted.reliable or asked.latched > wanted.latched
            if wanted != asked and (unserved or not recording):
                self._subscribe(stream, wanted)

    def _make_known(self, stream: Stream, type_name: str) -> bool:
        """Make a stream known to the intake; False if its type is not installed here."""
        topic = self._node.resolve_topic_name(stream.topic)
        try:
            channel = Channel(stream.name, topic, type_name, schema_text(type_name), "")
            _message_class(type_name)
        except (DefinitionError, ImportError, AttributeError) as error:
            self._refused.add(stream.name)
            self._problem("topic_unknown", f"{topic} is not recorded: {error}; source the workspace that has its type")
            return False
        self._types[stream.name] = type_name
        self._intake.add_stream(stream, channel)
        return True

    def take(self) -> None:
        """Hand all that has come until now to the intake, in the order in which it came off the wire."""
        with self._taking:
            now_ns, earliest_ns = self._node.now_ns(), self._taken_ns
            # The middleware stamps by the system's clock, which may just have been set: what comes of that is bounded.
            to_session_ns = now_ns - time.time_ns()
            arrived: list[Arrival] = []
            for name, take, message_class, depth in self._takers:
                for _ in range(depth):
                    taken = take(message_class, True)
                    if taken is None:
                        break
                    raw, info = taken
                    stamp_ns = info["received_timestamp"]  # 0 where the middleware has none
                    log_ns = min(max(stamp_ns + to_session_ns, earliest_ns), now_ns) if stamp_ns else now_ns
                    arrived.append((log_ns, name, raw))
            self._taken_ns = now_ns
            if arrived:
                arrived.sort(key=_LOG_NS)
                self._intake.received(arrived)

    def _subscribe(self, stream: Stream, wanted: _Wanted) -> None:
        if stream.name not in self._types:
            return
        message_class = _message_class(self._types[stream.name])
        old = self._open.pop(stream.name, None)
        if old is not None:
            self.take()
        with self._taking:
            if old is not None:
                self._takers = [taker for taker in self._takers if taker[0] != stream.name]
                self._node.destroy_polled_subscription(old[0])
            profile = wanted.profile(stream.depth)
            subscription = self._node.create_polled_subscription(message_class, stream.topic, profile)
            self._open[stream.name] = (subscription, wanted)
            self._takers.append((stream.name, subscription.handle.take_message, message_class, stream.depth))


def _message_class(type_name: str) -> Any:
    """The Python class of `pkg/msg/Name`.

    Raises:
        ImportError, AttributeError: not installed.
    """
    package, _, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def offered_qos_yaml(profiles: Iterable[Any]) -> str:
    """The profiles of a topic's publishers as YAML (ros2/rosbag2:rosbag2_storage/src/rosbag2_storage/qos.cpp).

    Args:
        profiles: with the attributes of `rclpy.qos.QoSProfile`.
    """
    return "".join(_entry(profile) for profile in profiles)


def _entry(profile: Any) -> str:
    lines = [
        f"history: {profile.history.name.lower()}",
        f"depth: {profile.depth}",
        f"reliability: {profile.reliability.name.lower()}",
        f"durability: {profile.durability.name.lower()}",
        *_duration("deadline", profile.deadline.nanoseconds),
        *_duration("lifespan", profile.lifespan.nanoseconds),
        f"liveliness: {profile.liveliness.name.lower()}",
        *_duration("liveliness_lease_duration", profile.liveliness_lease_duration.nanoseconds),
        f"avoid_ros_namespace_conventions: {str(profile.avoid_ros_namespace_conventions).lower()}",
    ]
    return "- " + "\n  ".join(lines) + "\n"


def _duration(name: str, ns: int) -> list[str]:
    sec, nsec = divmod(ns, NS_PER_S)
    return [f"{name}:", f"  sec: {sec}", f"  nsec: {nsec}"]
