"""What the policy sees at one moment: taken in the executor, built into a message in the client's thread.

Taking costs nothing (references and stamps); building decodes and resizes. An observation with a part older than the
limit is not taken at all: the policy never acts on stale images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import ARM_JOINTS, REGISTER_FULL_SCALE
from h1_policy_bridge.images import Image, ImageError, dummy, padded, stretched
from h1_policy_bridge.layout import ObservationLayout
from h1_policy_bridge.values import ObservationError

HANDS = ("left", "right")


@dataclass(frozen=True)
class ObservationRules:
    """How an observation is made.

    Attributes:
        layout: names and order of axes.
        prompt: `{task}` in it stands for the session's task.
        max_age_ns: no part may be older.
        image_size: side of the square images, pixels.
        keep_proportions: pad with black instead of stretching.
        with_hands: 26 values of state instead of 14.
        hand_unit: as in `chunk.Expectation`.
        allow_dummy_cameras: grey stands in for a camera that is missing or stale.
    """

    layout: ObservationLayout
    prompt: str = "{task}, Advantage=True"
    max_age_ns: int = 250_000_000
    image_size: int = 224
    keep_proportions: bool = False
    with_hands: bool = False
    hand_unit: str = "unit"
    allow_dummy_cameras: bool = False


@dataclass(frozen=True)
class Stamped:
    """Something that came in, and when (session clock)."""

    stamp_ns: int
    value: Any


@dataclass
class LatestInputs:
    """The newest of everything that came in.

    Attributes:
        arms: (14,) rad, measured; stamp of arm_status.
        images: JPEG bytes by camera; stamped when received.
        hands: (6,) 0 closed .. 1 open, by side.
    """

    arms: Stamped | None = None
    images: dict[str, Stamped] = field(default_factory=dict)
    hands: dict[str, Stamped] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """One moment, complete and fresh.

    Attributes:
        stamp_ns: arm stamp.
        oldest_ns: stamp of its oldest part.
        state: (14,) or (26,) float64, arms rad, hands 0..1.
        jpegs: by camera; None where grey stands in.
        prompt: finished text.
    """

    stamp_ns: int
    oldest_ns: int
    state: npt.NDArray[np.float64]
    jpegs: Mapping[str, bytes | None]
    prompt: str
    rules: ObservationRules

    @property
    def dummies(self) -> tuple[str, ...]:
        """Cameras that grey stands in for."""
        return tuple(camera for camera, jpeg in self.jpegs.items() if jpeg is None)

    def message(self) -> dict[str, Any]:
        """As it goes on the wire: decodes and resizes.

        Raises:
            ObservationError: a camera's image does not decode.
        """
        rules = self.rules
        images = {camera: self._image(camera, jpeg) for camera, jpeg in self.jpegs.items()}
        state = self.state
        if rules.with_hands and rules.hand_unit == "register":
            state = state.copy()
            state[ARM_JOINTS:] *= REGISTER_FULL_SCALE
        return rules.layout.message(state, images, self.prompt)

    def _image(self, camera: str, jpeg: bytes | None) -> Image:
        if jpeg is None:
            return dummy(self.rules.image_size)
        try:
            return (padded if self.rules.keep_proportions else stretched)(jpeg, self.rules.image_size)
        except ImageError as error:
            raise ObservationError(f"{camera} sent {error}") from None


def observe(latest: LatestInputs, rules: ObservationRules, *, now_ns: int, task: str) -> Observation:
    """The present moment.

    Raises:
        ObservationError: a part is missing, or older than the limit; names it and its age.
    """
    if latest.arms is None:
        raise ObservationError("no arm_status yet; is the arm driver running?")
    _check_age("arm_status", latest.arms, rules, now_ns)
    parts = [latest.arms]
    for side in HANDS if rules.with_hands else ():
        hand = latest.hands.get(side)
        if hand is None:
            raise ObservationError(f"no hands/{side}/state yet; is the hand connected?")
        _check_age(f"hands/{side}/state", hand, rules, now_ns)
        parts.append(hand)
    state = np.concatenate([np.asarray(part.value, np.float64) for part in parts])
    if not np.isfinite(state).all():
        raise ObservationError("the measured state is not finite")
    images = {camera: _image(camera, latest, rules, now_ns) for camera in rules.layout.cameras}
    parts += [image for image in images.values() if image is not None]
    return Observation(
        stamp_ns=latest.arms.stamp_ns,
        oldest_ns=min(part.stamp_ns for part in parts),
        state=state,
        jpegs={camera: None if image is None else bytes(image.value) for camera, image in images.items()},
        prompt=rules.prompt.replace("{task}", task),
        rules=rules,
    )


def _image(camera: str, latest: LatestInputs, rules: ObservationRules, now_ns: int) -> Stamped | None:
    """The camera's newest image; None if grey is to stand in for it."""
    image = latest.images.get(camera)
    try:
        if image is None:
            raise ObservationError(f"no image from {camera} yet; is the camera running?")
        _check_age(camera, image, rules, now_ns)
    except ObservationError:
        if rules.allow_dummy_cameras:
            return None
        raise
    return image


def _check_age(what: str, part: Stamped, rules: ObservationRules, now_ns: int) -> None:
    age_ns = now_ns - part.stamp_ns
    if age_ns > rules.max_age_ns:
        raise ObservationError(
            f"{what} is {age_ns / 1e9:.2f} s old; at most {rules.max_age_ns / 1e9:.2f} s may reach a policy"
        )
