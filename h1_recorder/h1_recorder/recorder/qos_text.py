"""QoS profiles as rosbag2 writes them into a channel's metadata, so that a player offers what was offered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from h1_training_node.clock import NS_PER_S


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
