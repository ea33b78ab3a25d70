"""What passes between the bridge and its client: a request, what became of it, and how the connection is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import Chunk, ServerFacts


class Connection(Enum):
    """As in PolicyStatus."""

    DISCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2
    REFUSED = 3


class ObservationError(ValueError):
    """An observation that cannot be built, so nothing is sent."""


@dataclass(frozen=True)
class Request:
    """One inference to make.

    Attributes:
        tag: comes back in the outcome, so that the asker knows what it belongs to.
        build: makes the message; called in the client's thread; may raise `ObservationError`.
        state: (action_dim,) what `build` sends as state, arms rad, hands 0..1.
        observation_ns: arm stamp of the observation.
    """

    tag: int
    build: Callable[[], Mapping[str, Any]]
    state: npt.NDArray[np.float64]
    observation_ns: int


@dataclass(frozen=True)
class Outcome:
    """What became of a request: a chunk, or a reason why there is none.

    Attributes:
        tag: the request's.
        chunk: the actions, if all went well.
        reason: why there is none, else empty.
        was_sent: whether the server had a part in it; False if the observation could not be built.
    """

    tag: int
    chunk: Chunk | None = None
    reason: str = ""
    was_sent: bool = True


@dataclass(frozen=True)
class ClientState:
    """The connection, as of now.

    Attributes:
        since_ns: when the metadata was read, session clock; 0 = not connected.
        epoch: the session's epoch for which the connection was last made anew; -1 = none yet.
        facts: what the metadata said.
        reason: why it is not connected, or refused.
        connections: how often a connection was made.
    """

    connection: Connection = Connection.DISCONNECTED
    since_ns: int = 0
    epoch: int = -1
    facts: ServerFacts = field(default_factory=ServerFacts)
    reason: str = "not connected yet"
    connections: int = 0
