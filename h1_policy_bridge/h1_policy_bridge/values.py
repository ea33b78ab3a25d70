# SPDX-License-Identifier: Apache-2.0
"""What passes between the bridge and its topics, and between the bridge and its client, as plain values without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import Chunk
from h1_policy_bridge.link_errors import LinkError, cause_line, for_log
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.strategies import Positions, Step
from h1_training_node.message_numbers import ArmMode, Connection


class ObservationError(ValueError):
    """An observation that cannot be built, so nothing is sent."""


class ServerError(LinkError):
    """The server answered with an error of its own.

    Attributes:
        traceback: the text, for the log.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"policy server error: {cause_line(text)}")
        self.traceback = for_log(text)


# -- from and to topics --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmReading:
    """What arm_status says that matters here.

    Attributes:
        execution: token of the present or the next POLICY; the arm driver follows no action that does not repeat it.
    """

    stamp_ns: int
    mode: ArmMode
    mode_since_ns: int
    transition: bool
    q: Positions
    execution: int = 0


@dataclass(frozen=True)
class SessionReading:
    """What session/state says that matters here."""

    state: str
    epoch: int
    task: str


@dataclass(frozen=True)
class OutgoingAction:
    """One step to publish."""

    seq: int
    step: Step
    execution: int


@dataclass(frozen=True)
class BridgeStatus:
    """PolicyStatus without its header."""

    client: ClientState
    action_dim: int
    horizon: int
    chunk_ready: bool
    done: bool
    inferences: int
    failures: int
    latency_ms: float
    server_ms: float
    reason: str
    checkpoint: str
    metadata_digest: str
    metadata_change: str
    warm: bool
    first_inference_ms: float
    first_action_distance_rad: float
    warm_up_reason: str


# -- between bridge and client -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InferenceRequest:
    """One inference to make.

    Attributes:
        tag: comes back in the result, so that the asker knows what it belongs to.
        build: makes the message for such a server; called in the client's thread; may raise `ObservationError`.
        state: (action_dim,) what `build` sends as state, arms rad, hands 0..1.
        observation_ns: arm stamp of the observation.
    """

    tag: int
    build: Callable[[ServerFacts], Mapping[str, Any]]
    state: npt.NDArray[np.float64]
    observation_ns: int


@dataclass(frozen=True)
class InferenceResult:
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
        epoch: the session's epoch for which the connection was last made; -1 = none yet.
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
