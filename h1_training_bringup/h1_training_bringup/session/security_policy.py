# SPDX-License-Identifier: Apache-2.0
"""What each node may publish, subscribe, ask and answer: SROS2's policy of the graph, read and written.

The format is sros2's policy 0.2.0 (`ros2/sros2:sros2/sros2/policy/schemas/policy.xsd`), from which
`ros2 security create_permission` makes what DDS enforces. `security/policies.xml` is written from a running session
(`ros2 run h1_training_bringup security_policy`), and a test holds it against one.

Names are relative where ours are, so that a robot's namespace is set in one place, the profile's `ns`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from h1_training_node.cameras import CAMERA_TOPICS

ROBOT_NAMES = {"sim/lowstate": "/lowstate", "sim/arm_sdk": "/arm_sdk"}
"""What is remapped away from the robot in the simulation, and what it is there."""

NODES = (
    "arm_driver",
    "arm_guard",
    "head_camera",
    "inspire_driver",
    "policy_bridge",
    "recorder",
    "session_manager",
    "keyboard",
    "console",
    "web",
)
"""Whose rules the file holds: the session's own. Wrist cameras are the RealSense wrapper's; see docs/security.md."""

_VERSION = "0.2.0"
_KINDS = {
    "publish": ("topics", "topic"),
    "subscribe": ("topics", "topic"),
    "request": ("services", "service"),
    "reply": ("services", "service"),
}


class PolicyError(ValueError):
    """A file that is no policy of the format, with what is wrong."""


@dataclass(frozen=True)
class Rules:
    """What one node does on the wire; names as in the policy file."""

    publish: frozenset[str] = frozenset()
    subscribe: frozenset[str] = frozenset()
    request: frozenset[str] = frozenset()
    reply: frozenset[str] = frozenset()

    def __or__(self, other: Rules) -> Rules:
        return Rules(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True)
class Seen:
    """What a graph shows of one node: resolved names, by kind."""

    node: str
    namespace: str
    names: dict[str, Iterable[str]] = field(default_factory=dict)

    def rules(self) -> Rules:
        """As they stand in the policy: relative to the namespace, the robot's own and ROS's own absolute."""
        return Rules(**{kind: frozenset(map(self._name, names)) for kind, names in self.names.items()})

    def _name(self, resolved: str) -> str:
        if resolved in ABSOLUTE:
            return resolved
        relative = resolved.removeprefix(f"{self.namespace.rstrip('/')}/")
        return ROBOT_NAMES.get(relative, relative)


ABSOLUTE = frozenset({"/rosout", "/parameter_events", "/diagnostics", "/lowstate", "/arm_sdk"})
"""Names that no namespace changes."""

SOMETIMES = {
    "policy_bridge": Rules(publish=frozenset({"hands/left/command", "hands/right/command"})),
    "keyboard": Rules(subscribe=frozenset({"joy"})),
    "console": Rules(subscribe=frozenset({"joy"})),
    "web": Rules(subscribe=frozenset(CAMERA_TOPICS.values())),
}
"""What a node does only at times: with a 26-dimensional policy; with a gamepad; while somebody looks at the page."""


def policy_xml(rules: dict[str, Rules], namespace: str = "/") -> str:
    """The policy file of these nodes, each an enclave of its own."""
    root = ElementTree.Element("policy", version=_VERSION)
    enclaves = ElementTree.SubElement(root, "enclaves")
    for node, allowed in rules.items():
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"{namespace.rstrip('/')}/{node}")
        profiles = ElementTree.SubElement(enclave, "profiles")
        profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=node)
        for kind, (plural, singular) in _KINDS.items():
            if names := sorted(getattr(allowed, kind)):
                group = ElementTree.SubElement(profile, plural, {kind: "ALLOW"})
                for name in names:
                    ElementTree.SubElement(group, singular).text = name
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


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
