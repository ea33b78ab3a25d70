# SPDX-License-Identifier: Apache-2.0
"""The protocols of policy servers, by the name that the parameter `protocol` gives them."""

from __future__ import annotations

from h1_policy_bridge.protocols.groot import GrootLink
from h1_policy_bridge.protocols.http_act import HttpActLink
from h1_policy_bridge.protocols.link import PolicyLink
from h1_policy_bridge.protocols.openpi import OpenpiLink

PROTOCOLS: dict[str, type[PolicyLink]] = {
    "openpi": OpenpiLink,
    "groot": GrootLink,
    "http": HttpActLink,
}
