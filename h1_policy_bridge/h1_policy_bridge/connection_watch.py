# SPDX-License-Identifier: Apache-2.0
"""Reports what becomes of the connection, and when a server comes back with other metadata: those are other weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from h1_policy_bridge.metadata import ServerFacts, changes
from h1_policy_bridge.values import ClientState
from h1_training_node.message_numbers import Connection, Level


class ConnectionWatch:
    """See the module.

    Args:
        state: of the client as of now.
        on_event: takes (level, reason, detail).

    Attributes:
        metadata_change: what differed when the metadata last changed between two connections; empty: nothing yet.
    """

    def __init__(self, state: ClientState, on_event: Callable[[Level, str, str], None]) -> None:
        self._state = state
        self._on_event = on_event
        self._served: Mapping[str, str] | None = None
        self.metadata_change = ""

    def is_another(self, now: ClientState) -> bool:
        """Whether the connection is another one than at the last call, with the events that this brings."""
        before, self._state = self._state, now
        # By count and not by change of state: a server nearby is connected to again between two ticks.
        is_another = now.connections != before.connections
        if is_another and now.connection is Connection.REFUSED:
            self._on_event(Level.ERROR, "policy_refused", now.reason)
        elif is_another:
            self._on_event(Level.INFO, "policy_connected", f"connection {now.connections}, epoch {now.epoch}")
            self._compare(now.facts)
        if now.connection is Connection.DISCONNECTED and now.reason != before.reason:
            self._on_event(Level.WARN, "policy_disconnected", now.reason)
        return is_another

    def _compare(self, facts: ServerFacts) -> None:
        if self._served is not None and (change := changes(self._served, facts.contents)):
            self.metadata_change = change
            detail = f"the policy server came back with other metadata: {change}"
            self._on_event(Level.WARN, "policy_metadata_changed", detail)
        self._served = facts.contents
