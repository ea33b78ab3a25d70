# SPDX-License-Identifier: Apache-2.0
"""What a policy server says, checked: its metadata at connect, and a chunk of actions in every reply.

A reply is used whole or not at all. Nothing of it reaches the arms before it has the shape that the configuration
asks for and is finite in float32, which is what goes out on `policy/action`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge import server_text
from h1_policy_bridge.layout import ObservationLayout, Part, find
from h1_training_node.arm_joints import beyond_range

ARM_JOINTS = 14
HAND_JOINTS = 12
REGISTER_FULL_SCALE = 1000.0
"""An Inspire hand's angle registers count 0 closed to 1000 open; some policies put that on the wire."""

_MAX_HORIZON = 2000
_HORIZON_KEYS = ("action_horizon", "horizon")


class MetadataError(ValueError):
    """The server does not fit the configuration."""


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


@dataclass(frozen=True)
class ServerFacts:
    """What a server's metadata says of itself; 0 or empty where it is silent.

    Attributes:
        checkpoint: name of the weights that serve, fit for a terminal.
        takes_jpeg: images may be sent as JPEG files (`image_encodings` in the metadata holds `jpeg`).
        takes_remainder: it does real-time chunking with what is left of the previous chunk (`rtc` in the metadata).
    """

    action_dim: int = 0
    horizon: int = 0
    done: bool = False
    checkpoint: str = ""
    takes_jpeg: bool = False
    takes_remainder: bool = False


def read_metadata(metadata: Mapping[str, Any], expected: Expectation) -> ServerFacts:
    """The facts in a server's metadata. A stock openpi server says none of them, and is taken at its first reply.

    Raises:
        MetadataError: the server says that it does not fit.
    """
    action_dim = _count(metadata, "action_dim")
    horizon = next((_count(metadata, key) for key in _HORIZON_KEYS if key in metadata), 0)
    if action_dim and action_dim != expected.action_dim:
        raise MetadataError(
            f"the server's policy has {action_dim} values per action, this robot is configured for "
            f"{expected.action_dim} ({'with' if expected.action_dim > ARM_JOINTS else 'without'} hands); "
            "serve the matching checkpoint, or change robot.include_hands"
        )
    if horizon and expected.horizon and horizon != expected.horizon:
        raise MetadataError(
            f"the server's chunks have {horizon} actions, the configuration asks for {expected.horizon}"
        )
    if expected.layout is not None:
        _check_modalities(metadata.get("modalities"), expected.layout, expected.action_dim)
    checkpoint, encodings = metadata.get("checkpoint"), metadata.get("image_encodings")
    return ServerFacts(
        action_dim,
        horizon,
        _flag(metadata, expected.done_field),
        server_text.one_line(checkpoint) if isinstance(checkpoint, str) else "",
        takes_jpeg=isinstance(encodings, list) and "jpeg" in encodings,
        takes_remainder=_flag(metadata, "rtc"),
    )


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
    done = _flag(reply, expected.done_field) or (isinstance(nested, dict) and _flag(nested, expected.done_field))
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
        keys = server_text.one_line(", ".join(sorted(str(key)[: server_text.LINE] for key in reply)[:6])) or "nothing"
        raise ReplyError(f"reply has no 'actions'; it has {keys}")
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiu":
        kind = f"an array of {raw.dtype}" if isinstance(raw, np.ndarray) else type(raw).__name__
        raise ReplyError(f"'actions' is {kind}; expected an array of numbers")
    if raw.ndim != 2 or raw.shape[1] != expected.action_dim or not 1 <= raw.shape[0] <= _MAX_HORIZON:
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


def _check_modalities(modalities: Any, layout: ObservationLayout, action_dim: int) -> None:
    """GR00T's servers name what they look at and what they give: refuse before the first inference.

    Raises:
        MetadataError: something is wanted that no observation has, or not given that this robot needs.
    """
    if not isinstance(modalities, dict):
        return
    sent = [path for _, path in layout.images] + [part.path for part in layout.state if part.first < action_dim]
    for kind in ("video", "state"):
        ours = {path[1] for path in sent if len(path) == 2 and path[0] == kind}
        if missing := [name for name in modalities.get(kind) or [] if name not in ours]:
            raise MetadataError(
                f"the server's policy wants {kind} '{server_text.one_line(missing[0])}', the observation has "
                f"{', '.join(sorted(ours)) or 'none'}; write a mapping in 'observation_mapping'"
            )
    given = modalities.get("action") or []
    needed = [part.path[-1] for part in layout.actions if part.first < action_dim]
    if given and (missing := [name for name in needed if name not in given]):
        raise MetadataError(
            f"the server's policy gives no action '{missing[0]}', only {server_text.one_line(', '.join(given))}; "
            "write a mapping in 'observation_mapping'"
        )


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
        if isinstance(value, (int, float, np.number)) and math.isfinite(value):
            return float(value)
    return math.nan


def _count(metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if value is None:
        return 0
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not 0 < value <= _MAX_HORIZON:
        raise MetadataError(f"the server's metadata says {key} = {value!r:.40}; expected a whole number above 0")
    return int(value)


def _flag(source: Mapping[str, Any], key: str) -> bool:
    value = source.get(key)
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else None
    return isinstance(value, (bool, np.bool_)) and bool(value)
