"""The protocols of policy servers, by the name that the parameter `protocol` gives them."""

from __future__ import annotations

from collections.abc import Callable

from h1_policy_bridge.connection import Wake
from h1_policy_bridge.protocols.link import LinkConfig, PolicyLink
from h1_policy_bridge.protocols.openpi import OpenpiLink

PROTOCOLS: dict[str, Callable[[LinkConfig, Wake], PolicyLink]] = {"openpi": OpenpiLink}
