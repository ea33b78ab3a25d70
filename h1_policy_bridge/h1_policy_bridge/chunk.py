# SPDX-License-Identifier: Apache-2.0
"""A chunk of actions, out of a policy server's reply, checked. Its metadata: `metadata.py`.

A reply is used whole or not at all. Nothing of it reaches the arms before it has the shape that the configuration
asks for and is finite in float32, which is what goes out on `policy/action`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.layout import ObservationLayout, Part, find
from h1_policy_bridge.link_errors import LINE, one_line
from h1_training_node.arm_joints import beyond_range

ARM_JOINTS = 14
HAND_JOINTS = 12
REGISTER_FULL_SCALE = 1000.0
"""An Inspire hand's angle registers count 0 closed to 1000 open; some policies put that on the wire."""

MAX_HORIZON = 2000


class ReplyError(ValueError):
    """A reply that must not move anything."""


@dataclass(frozen=True)
class Expectation:
    """What the configuration asks of a server.

    Attributes:
        action_dim: values per action, 14 or 26.
        horizon: actions per chunk; 0 takes any.
        hand_unit: `unit` (0 closed .. 1 open) or `register` (0 .. 1000), of the hands' values on the wire.
        done_field: name of the flag by which a reply says that the task is over.
        layout: where a reply has its actions, and what the observation has; None: the one array `actions`.
    """

    action_dim: int = ARM_JOINTS
    horizon: int = 0
    hand_unit: str = "unit"
    done_field: str = "done"
    layout: ObservationLayout | None = None


@dataclass(frozen=True)
class Chunk:
    """One inference's actions.

    Attributes:
        actions: (H, action_dim) float64, arms rad, hands 0 closed .. 1 open; read-only.
        observation_ns: arm stamp of the observation behind it, session clock.
        inference_ms: from request sent to reply decoded.
        server_ms: of which the server says that it inferred; NaN if it does not say.
        done: the policy says that the task is over.
        state: (action_dim,) float64, what was observed; the pose from which step 0 is meant to leave.
        chunk_id: number of this inference, from 1; 0 until somebody counts it.
    """

    actions: npt.NDArray[np.float64]
    observation_ns: int
    inference_ms: float
    server_ms: float
    done: bool
    state: npt.NDArray[np.float64]
    chunk_id: int = 0

    @property
    def horizon(self) -> int:
        """Actions in this chunk."""
        return len(self.actions)


def read_reply(
    reply: Any, expected: Expectation, *, state: npt.NDArray[Any], observation_ns: int, inference_ms: float
) -> Chunk:
    """The chunk in a server's decoded reply.

    Args:
        reply: as decoded.
        expected: what it must be like.
        state: (action_dim,) as sent, arms rad, hands 0..1.
        observation_ns: arm stamp of the observation.
        inference_ms: measured.

    Raises:
        ReplyError: no actions, of another shape, not numbers, not finite, or no pose of these arms.
    """
    if not isinstance(reply, dict):
        raise ReplyError(f"reply is {type(reply).__name__}; expected a map with 'actions'")
    actions = _actions(reply, expected)
    if expected.action_dim > ARM_JOINTS:
        scale = REGISTER_FULL_SCALE if expected.hand_unit == "register" else 1.0
        actions[:, ARM_JOINTS:] = np.clip(actions[:, ARM_JOINTS:] / scale, 0.0, 1.0)
    actions.setflags(write=False)
    nested = reply.get("metadata")
    done = flag(reply, expected.done_field) or (isinstance(nested, dict) and flag(nested, expected.done_field))
    return Chunk(
        actions=actions,
        observation_ns=observation_ns,
        inference_ms=inference_ms,
        server_ms=_server_ms(reply),
        done=done,
        state=np.asarray(state, np.float64),
    )


def _actions(reply: dict[str, Any], expected: Expectation) -> npt.NDArray[np.float64]:
    parts = expected.layout.actions if expected.layout is not None else ()
    raw = _joined(reply, parts) if parts else reply.get("actions")
    if isinstance(raw, np.ndarray):
        raw = _without_leading_axes(raw)
    if raw is None:
        keys = one_line(", ".join(sorted(str(key)[:LINE] for key in reply)[:6])) or "nothing"
        raise ReplyError(f"reply has no 'actions'; it has {keys}")
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
        kind = f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else type(raw).__name__
        raise ReplyError(f"'actions' is {kind}; expected an array of numbers")
    if raw.ndim != 2 or raw.shape[1] != expected.action_dim or not 1 <= raw.shape[0] <= MAX_HORIZON:
        shape = "x".join(str(axis) for axis in raw.shape) or "a single number"
        raise ReplyError(f"'actions' is {shape}; expected steps x {expected.action_dim}")
    if expected.horizon and raw.shape[0] != expected.horizon:
        raise ReplyError(f"'actions' has {raw.shape[0]} steps; expected {expected.horizon}")
    with np.errstate(over="ignore"):
        finite = np.isfinite(raw.astype(np.float32))
    if not finite.all():
        step, joint = np.argwhere(~finite)[0]
        raise ReplyError(f"'actions' is {raw[step, joint]} at step {step}, value {joint}; expected finite numbers")
    actions = raw.astype(np.float64)
    if problem := beyond_range(actions[:, :ARM_JOINTS]):
        raise ReplyError(f"'actions' is no pose of these arms: {problem}; expected absolute joint angles, in rad")
    return actions


def _joined(reply: Mapping[str, Any], parts: tuple[Part, ...]) -> npt.NDArray[Any] | None:
    """(H, A) from the parts of each action; None if none of them is there.

    Raises:
        ReplyError: some are missing, or do not belong together.
    """
    found = [(part, find(reply, part.path)) for part in parts]
    arrays = [
        (part, _without_leading_axes(array)) for part, array in found if isinstance(array, np.ndarray) and array.ndim
    ]
    if not arrays:
        return None
    width = max(part.end or 0 for part, _ in arrays)
    names = [".".join(part.path) for part, _ in arrays]
    if missing := [name for part in parts if part.first < width and (name := ".".join(part.path)) not in names]:
        raise ReplyError(f"reply has no '{missing[0]}', only {', '.join(names)}")
    shapes = {array.shape[0] for _, array in arrays}
    if len(shapes) > 1:
        raise ReplyError(f"the parts of the actions have {sorted(shapes)} steps; expected one number")
    joined = np.full((shapes.pop(), width), np.nan)
    for part, array in arrays:
        if array.ndim != 2 or array.shape[1] != (part.end or width) - part.first:
            shape = "x".join(map(str, array.shape))
            raise ReplyError(f"'{'.'.join(part.path)}' is {shape}; expected steps x {(part.end or width) - part.first}")
        joined[:, part.first : part.end] = array
    return joined


def _without_leading_axes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, A) from (1, H, A), as servers with a batch axis answer; others stay as they are."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array


def _server_ms(reply: Mapping[str, Any]) -> float:
    for key in ("server_timing", "policy_timing"):
        timing = reply.get(key)
        value = timing.get("infer_ms") if isinstance(timing, dict) else None
        with contextlib.suppress(OverflowError):  # an int of JSON may have any number of digits
            if isinstance(value, (int, float, np.number)) and math.isfinite(value):
                return float(value)
    return math.nan


def flag(source: Mapping[str, Any], key: str) -> bool:
    """Whether `source` says true at `key`, as a bool or as an array of one."""
    value = source.get(key)
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else None
    return isinstance(value, (bool, np.bool_)) and bool(value)
