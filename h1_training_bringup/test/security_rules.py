# SPDX-License-Identifier: Apache-2.0
"""What SROS2's policy file allows each node, and what a running graph shows each of them to do."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Mapping

from rclpy.node import Node

from h1_training_node.cameras import CAMERA_TOPICS

Rules = Mapping[str, frozenset[str]]
"""Names by kind: publish, subscribe, request, reply."""
ROBOT_NAMES = {"sim/lowstate": "/lowstate", "sim/arm_sdk": "/arm_sdk"}
"""What is remapped away from the robot in the simulation, and what it is there."""
ABSOLUTE = frozenset({"/rosout", "/parameter_events", "/diagnostics"})
"""Names that no namespace changes."""
SOMETIMES: dict[str, Rules] = {
    "policy_bridge": {"publish": frozenset({"hands/left/command", "hands/right/command"})},
    "keyboard": {"subscribe": frozenset({"joy"})},
    "console": {"subscribe": frozenset({"joy"})},
    "web": {"subscribe": frozenset(CAMERA_TOPICS.values())},
}
"""What a node does only at times: with a 26-dimensional policy; with a gamepad; while somebody looks at the page."""
_KINDS = {"publish": "topics", "subscribe": "topics", "request": "services", "reply": "services"}


def rules_in(text: str) -> dict[str, Rules]:
    """The rules of each node of a policy file, which allows and never denies."""
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    found: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    for profile in root.iterfind("enclaves/enclave/profiles/profile"):
        node = profile.attrib["node"]
        assert node not in found, f"{node} has two profiles"
        for group in profile:
            ((kind, qualifier),) = group.attrib.items()
            assert (group.tag, qualifier) == (_KINDS[kind], "ALLOW"), f"{node}: {kind}"
            found[node][kind] = frozenset(str(item.text) for item in group)
    return dict(found)


def rules_seen(node: Node, namespace: str, names: Mapping[str, object]) -> dict[str, Rules]:
    """What the graph that `node` has joined shows of those of `names` that are there, with what they do sometimes."""
    ask = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
    }
    present = {name for name, space in node.get_node_names_and_namespaces() if space == namespace}
    seen: dict[str, Rules] = {}
    for name in names.keys() & present:
        rules = {kind: {_name(pair[0], namespace) for pair in of(name, namespace)} for kind, of in ask.items()}
        for kind, sometimes in SOMETIMES.get(name, {}).items():
            rules[kind] |= sometimes
        seen[name] = {kind: frozenset(found) for kind, found in rules.items() if found}
    return seen


def _name(resolved: str, namespace: str) -> str:
    """As it stands in the policy: relative to the namespace, the robot's own and ROS's own absolute."""
    if resolved in ABSOLUTE:
        return resolved
    relative = resolved.removeprefix(f"{namespace.rstrip('/')}/")
    return ROBOT_NAMES.get(relative, relative)
