# SPDX-License-Identifier: Apache-2.0
"""Between integer nanoseconds, in which the cores reckon, and the messages' stamps."""

from __future__ import annotations

from builtin_interfaces.msg import Time

from h1_training_node.clock import NS_PER_S


def to_stamp(time_ns: int) -> Time:
    """Nanoseconds since the Unix epoch as a message's stamp."""
    sec, nanosec = divmod(time_ns, NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def to_ns(stamp: Time) -> int:
    """A message's stamp as nanoseconds since the Unix epoch."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
