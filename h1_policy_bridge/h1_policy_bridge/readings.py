"""What the bridge is told and what it tells, as plain values: the messages of its topics without ROS."""

from __future__ import annotations

from dataclasses import dataclass

from h1_policy_bridge.exchange import ClientState
from h1_policy_bridge.strategy import Positions, Step
from h1_training_node.message_numbers import ArmMode


@dataclass(frozen=True)
class Arms:
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
class Session:
    """What session/state says that matters here."""

    state: str
    epoch: int
    task: str


@dataclass(frozen=True)
class Action:
    """One step to publish."""

    seq: int
    step: Step
    execution: int


@dataclass(frozen=True)
class Status:
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
