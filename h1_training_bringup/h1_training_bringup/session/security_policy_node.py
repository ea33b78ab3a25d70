# SPDX-License-Identifier: Apache-2.0
"""Prints the SROS2 policy of the session that is running, as its nodes are seen to behave.

ros2 run h1_training_bringup security_policy --namespace / > policies.xml

Run it in the session's domain, with hands and a 26-dimensional policy if these are to be allowed.
"""

from __future__ import annotations

import argparse
import sys
import time

import rclpy
from rclpy.node import Node

from h1_training_bringup.session.security_policy import NODES, SOMETIMES, Rules, Seen, policy_xml
from h1_training_node.process import StopSignal

_SETTLE_S = 5.0
"""Discovery of a running graph: two participants find each other in 3 s at most."""


def seen(node: Node, name: str, namespace: str) -> Seen:
    """What the graph that `node` has joined shows of another node."""
    ask = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
    }
    return Seen(name, namespace, {kind: [pair[0] for pair in of(name, namespace)] for kind, of in ask.items()})


def rules_seen(node: Node, namespace: str) -> dict[str, Rules]:
    """The rules of every node of the session that is there, with what they do only sometimes."""
    present = {name for name, space in node.get_node_names_and_namespaces() if space == namespace}
    return {
        name: seen(node, name, namespace).rules() | SOMETIMES.get(name, Rules()) for name in NODES if name in present
    }


def main() -> int:
    """Entry point; exit status 1 if no node of a session is there."""
    parser = argparse.ArgumentParser(prog="security_policy", description="Print the running session's SROS2 policy.")
    parser.add_argument("--namespace", default="/", help="the session's namespace (default %(default)s)")
    options = parser.parse_args()
    stop = StopSignal()
    rclpy.init(args=[])
    node = rclpy.create_node("security_policy")
    until = time.monotonic() + _SETTLE_S
    while stop.received is None and time.monotonic() < until:
        time.sleep(0.1)
    rules = rules_seen(node, options.namespace)
    node.destroy_node()
    rclpy.try_shutdown()
    if not rules:
        print("no node of a session is here; check ROS_DOMAIN_ID and --namespace", file=sys.stderr)
        return 1
    for name in sorted(set(NODES) - set(rules)):
        print(f"{name} is not running: it is not in this policy", file=sys.stderr)
    print(policy_xml(rules, options.namespace), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
