# SPDX-License-Identifier: Apache-2.0
"""A topic that is looked into when it suits its reader, instead of calling back at every message.

At 500 messages a second the executor's wake-ups cost more than all that is done with them. And whoever decides by
what has *not* come must first have looked at all that has: an executor may run a timer before messages that were
there earlier; a reader that is asked cannot be overtaken.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


class PolledSubscription:
    """One raw subscription that no executor knows: it hangs on a node of its own, which is never spun.

    Args:
        owner: whose remappings apply, and whose name the subscription's own node has, with `suffix`.
        message_type: of the topic.
        topic: its name, as the owner would give it.
        depth: how many messages are kept between two looks; the oldest give way.
        suffix: distinguishes several of one owner.
    """

    def __init__(self, owner: Node, message_type: type, topic: str, *, depth: int, suffix: str) -> None:
        self._node = Node(
            f"{owner.get_name()}_{suffix}",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter("start_type_description_service", value=False)],
        )
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=depth,
            reliability=ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.VOLATILE,
        )
        self.topic_name: str = owner.resolve_topic_name(topic)
        self._looked_ns: int | None = None
        self._subscription = self._node.create_subscription(
            message_type, self.topic_name, lambda _: None, profile, raw=True
        )

    def samples(self, now_ns: int) -> Iterator[tuple[bytes, int]]:
        """What has come since the last look, oldest first: CDR bytes, and when they came off the wire (session clock).

        Args:
            now_ns: session time.
        """
        subscription = self._subscription
        earliest_ns = now_ns if self._looked_ns is None else self._looked_ns
        self._looked_ns = now_ns
        # The middleware stamps with the system's clock, which may just have been set: what comes of that is bounded.
        to_session_ns = now_ns - time.time_ns()
        while (taken := subscription.handle.take_message(subscription.msg_type, True)) is not None:
            sample, info = taken
            yield sample, min(max(info["received_timestamp"] + to_session_ns, earliest_ns), now_ns)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()
