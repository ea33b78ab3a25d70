# SPDX-License-Identifier: Apache-2.0
"""What every protocol of a policy server has in common: the interface of an open link, and what it is opened with.

`policy_client.PolicyClient` owns a link and does the rest: time-outs, reconnection, checks of metadata and replies. A
link encodes an observation, carries it, and decodes what comes back; it decides nothing. To add a protocol, write a
class with these methods and name it in `protocols/__init__.py`; `docs/policy_server.md` shows a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from h1_policy_bridge.connection import ServerAddress, Wake
from h1_policy_bridge.msgpack_numpy import MAX_BYTES


@dataclass(frozen=True)
class LinkConfig:
    """Where the server is, how long and how much it may take.

    Attributes:
        address: of the server.
        connect_timeout_s: until TCP is connected (for each address that the name has).
        handshake_timeout_s: from there until the metadata is read.
        ping_interval_s: pause between two pings of ours while nothing is asked; keeps proxies from cutting it off.
        silence_s: such a silence of the server means that it is gone; one that infers for others is silent too.
        max_reply_bytes: largest message accepted.
        api_key: shown to the server as its protocol has it; never logged; empty shows none.
        ca_file: PEM file of authorities trusted beside the system's, for TLS; empty: the system's alone.
    """

    address: ServerAddress
    connect_timeout_s: float = 3.0
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    silence_s: float = 90.0
    max_reply_bytes: int = MAX_BYTES
    api_key: str = field(default="", repr=False)
    ca_file: str = ""


class PolicyLink(Protocol):
    """A connection whose metadata has been read. Not thread-safe.

    Setting the wake interrupts the opening, `receive` and `wait` by `InterruptedWait`. All methods raise
    `connection.LinkError` when the connection is of no use any more, with a message for the operator.

    Attributes:
        scheme: of its addresses, without TLS: `ws`, `http`, `tcp`.
        metadata: what the server says of itself; may be empty.
    """

    scheme: ClassVar[str]
    metadata: Mapping[str, Any]

    def __init__(self, config: LinkConfig, wake: Wake) -> None: ...

    def encode(self, observation: Mapping[str, Any]) -> bytes:
        """The request as it goes on the wire; raises `ObservationError` for what cannot go there."""

    def send(self, request: bytes, timeout_s: float) -> None:
        """Send one request whole within `timeout_s`."""

    def receive(self, timeout_s: float) -> Any:
        """The reply, decoded, as `chunk.read_reply` takes it.

        Raises:
            ReplyError: it cannot be decoded; the connection lives on.
            InterruptedWait: call again to go on waiting.
        """

    def wait(self) -> None:
        """Keep the connection alive until the wake is set: `InterruptedWait` is the only good end."""

    def close(self) -> None:
        """End the connection; must not wait."""
