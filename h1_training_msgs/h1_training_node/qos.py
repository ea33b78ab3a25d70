# SPDX-License-Identifier: Apache-2.0
"""Quality of service, settled once for the whole graph.

Publishers offer RELIABLE, so that the recorder may ask for it; control loops ask BEST_EFFORT with depth 1,
because to them an old message is worth nothing; the recorder has depth for two seconds of stall.
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _keep_last(depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


STATE = _keep_last(50, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Offered by publishers of states, actions, events and statuses; asked by whoever wants every one of them."""

IMAGE = _keep_last(10, ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
"""Offered by publishers of images."""

LATCHED = _keep_last(50, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""Offered where whoever joins late must know the last one at once: session/state, session/lines, arm_guard/active."""

LATEST = _keep_last(1, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
"""Asked by control loops and displays: only the newest message counts."""
