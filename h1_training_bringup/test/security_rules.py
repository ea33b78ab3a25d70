"""SROS2's policy of the graph, read from its file, and what a running graph shows of each node: to compare the two.

The format is sros2's policy 0.2.0 (`ros2/sros2:sros2/sros2/policy/schemas/policy.xsd`), from which
`ros2 security create_permission` makes what DDS enforces. Names are relative where ours are, so that a robot's
namespace is set in one place, the profile's `ns`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, fields

from rclpy.node import Node

ABSOLUTE = frozenset({"/rosout", "/parameter_events", "/diagnostics", "/lowstate", "/arm_sdk"})
"""Names that no namespace changes."""

ROBOT_NAMES = {"sim/lowstate": "/lowstate", "sim/arm_sdk": "/arm_sdk"}
"""What is remapped in the simulation, so that it reaches no robot, and what it is there."""

NODES = (
    *("arm_driver", "arm_guard", "head_camera", "inspire_driver", "policy_bridge", "recorder", "session_manager"),
    *("keyboard", "console", "web"),
)
"""Whose rules the file holds: the session's own. Wrist cameras are the RealSense wrapper's; see docs/security.md."""

_CAMERAS = frozenset(
    {"head_camera/image_raw/compressed"}
    | {f"{side}_wrist_camera/color/image_raw/compressed" for side in ("left", "right")}
)
_VERSION = "0.2.0"
_KINDS = {
    "publish": ("topics", "topic"),
    "subscribe": ("topics", "topic"),
    "request": ("services", "service"),
    "reply": ("services", "service"),
}


@dataclass(frozen=True)
class Rules:
    """What one node does on the wire; names as in the policy file."""

    publish: frozenset[str] = frozenset()
    subscribe: frozenset[str] = frozenset()
    request: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()

    def __or__(self, other: Rules) -> Rules:
        return Rules(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})


SOMETIMES = {
    "policy_bridge": Rules(publish=frozenset({"hands/left/command", "hands/right/command"})),
    "keyboard": Rules(subscribe=frozenset({"joy"})),
    "console": Rules(subscribe=frozenset({"joy"})),
    "web": Rules(subscribe=_CAMERAS),
}
"""What a node does only now and then: with a 26-dimensional policy; with a gamepad; while a page looks."""


class PolicyError(ValueError):
    """A file that is no policy of the format, with what is wrong."""


def relative(namespace: str, resolved: Iterable[str]) -> frozenset[str]:
    """Resolved names as they stand in the policy: relative to the namespace, the robot's own and ROS's own absolute."""
    prefix = f"{namespace.rstrip('/')}/"
    return frozenset(
        name if name in ABSOLUTE else ROBOT_NAMES.get(name.removeprefix(prefix), name.removeprefix(prefix))
        for name in resolved
    )


def rules_seen(node: Node, namespace: str) -> dict[str, Rules]:
    """The rules of every node of the session in the graph that `node` has joined, with what they do only sometimes."""
    ask = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
    }
    present = {name for name, space in node.get_node_names_and_namespaces() if space == namespace}
    return {
        name: Rules(
            **{kind: relative(namespace, (pair[0] for pair in of(name, namespace))) for kind, of in ask.items()}
        )
        | SOMETIMES.get(name, Rules())
        for name in NODES
        if name in present
    }


def rules_in(text: str) -> dict[str, Rules]:
    """The rules of each node of a policy file.

    Raises:
        PolicyError: it is not of the format, denies something, or names a node twice.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise PolicyError(f"is not XML: {error}") from None
    if root.tag != "policy" or root.get("version") != _VERSION:
        raise PolicyError(f"begins with <{root.tag} version={root.get('version')}>; expected a policy of {_VERSION}")
    found: dict[str, Rules] = {}
    for profile in root.iterfind("enclaves/enclave/profiles/profile"):
        node = profile.get("node", "")
        if not node or node in found:
            raise PolicyError(f"a profile for '{node}', which is no name or was there before")
        found[node] = _rules(node, profile)
    return found


def _rules(node: str, profile: ElementTree.Element) -> Rules:
    rules = Rules()
    for group in profile:
        for kind, qualifier in group.attrib.items():
            expected = _KINDS.get(kind, ("", ""))
            if group.tag != expected[0] or qualifier != "ALLOW" or any(item.tag != expected[1] for item in group):
                raise PolicyError(f"{node}: <{group.tag} {kind}={qualifier}> is not understood")
            rules = rules | Rules(**{kind: frozenset(str(item.text) for item in group)})
    return rules
