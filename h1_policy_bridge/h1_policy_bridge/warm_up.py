# SPDX-License-Identifier: Apache-2.0
"""One inference with the live observation while the session is READY, before anybody may start the policy.

It makes a server compile while nobody waits, proves that cameras, layout and server fit, and compares the first action
with the pose that it was inferred from: a policy that asks for a far one first was trained on another robot, gives
differences instead of positions, or is not un-normalised. Its chunk is never played.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from h1_policy_bridge.chunk import ARM_JOINTS, Chunk
from h1_training_node.arm_joints import ARM_JOINT_NAMES
from h1_training_node.clock import NS_PER_S

_AGAIN_NS = NS_PER_S
"""Pause after a first action that was too far away: the arms may have been moved meanwhile."""


@dataclass(frozen=True)
class FirstAction:
    """What the warm-up found.

    Attributes:
        inference_ms: of that inference.
        distance_rad: largest difference of an arm joint between the first action and the pose.
        joint: which one.
    """

    inference_ms: float
    distance_rad: float
    joint: str

    @classmethod
    def of(cls, chunk: Chunk) -> FirstAction:
        differences = np.abs(chunk.actions[0, :ARM_JOINTS] - chunk.state[:ARM_JOINTS])
        joint = int(differences.argmax())
        return cls(chunk.inference_ms, float(differences[joint]), ARM_JOINT_NAMES[joint])

    def line(self) -> str:
        """For a person."""
        return (
            f"inference {self.inference_ms:.0f} ms; first action differs from the pose by {self.distance_rad:.2f} rad "
            f"({self.joint})"
        )


class WarmUp:
    """See the module.

    Args:
        max_distance_rad: a first action further from the pose is refused.

    Attributes:
        first: the last answer of this READY, if there was one.
        reason: why it is not warm; empty if it is, and outside READY.
    """

    def __init__(self, max_distance_rad: float) -> None:
        self._max_distance_rad = max_distance_rad
        self.end()

    def begin(self) -> None:
        """READY is entered, or the server is another one: nothing is known yet."""
        self.first: FirstAction | None = None
        self.reason = "no inference yet"
        self._not_before_ns = 0

    def end(self) -> None:
        """READY is left."""
        self.begin()
        self.reason = ""

    def wants(self, now_ns: int) -> bool:
        """Whether to observe and ask now."""
        return not self.is_warm and now_ns >= self._not_before_ns

    def take(self, chunk: Chunk, now_ns: int) -> None:
        """The answer is here."""
        self.first = first = FirstAction.of(chunk)
        self.reason = ""
        if first.distance_rad > self._max_distance_rad:
            self._not_before_ns = now_ns + _AGAIN_NS
            self.reason = (
                f"first action differs from the pose by {first.distance_rad:.2f} rad at {first.joint}; "
                f"at most {self._max_distance_rad:g} rad is accepted: serve a policy of this robot that "
                "gives absolute angles in rad, or raise max_first_action_distance_rad; 'n' skips it"
            )

    @property
    def is_warm(self) -> bool:
        return self.first is not None and not self.reason

    @property
    def figures(self) -> tuple[float, float]:
        """Inference time, ms, and distance, rad; NaN while there is no answer."""
        return (self.first.inference_ms, self.first.distance_rad) if self.first else (math.nan, math.nan)
