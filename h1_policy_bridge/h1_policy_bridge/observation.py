# SPDX-License-Identifier: Apache-2.0
"""What the policy sees at one moment: taken in the executor, built into a message in the client's thread.

Taking costs nothing (references and stamps); building decodes and resizes. An observation with a part older than the
limit is not taken at all, nor one of a camera that is frozen: the policy never acts on stale images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.chunk import ARM_JOINTS, REGISTER_FULL_SCALE
from h1_policy_bridge.images import Image, ImageError, dummy, encoded, padded, stretched
from h1_policy_bridge.layout import ObservationLayout
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.values import ObservationError
from h1_training_node.cameras import CAMERAS, LATE_NS, image_time_ns

HANDS = ("left", "right")

_SILENT = ServerFacts()

_CLOCK_TOLERANCE_NS = 20_000_000
"""Nodes that were started one by one have session clocks that differ by a little."""

_VERDICT_LASTS_NS = 1_000_000_000
"""The recorder repeats its verdicts five times a second."""


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
        image_encoding: `raw` pixels, `jpeg` files, or `auto`: what the server's metadata allow.
        remainder_field, delay_field: under which names a server takes a `Remainder`; that part is not sent if empty.
    """

    layout: ObservationLayout
    prompt: str = "{task}, Advantage=True"
    max_age_ns: int = LATE_NS
    image_size: int = 224
    keep_proportions: bool = False
    with_hands: bool = False
    hand_unit: str = "unit"
    allow_dummy_cameras: bool = False
    image_encoding: str = "auto"
    remainder_field: str = "prev_action_chunk"
    delay_field: str = "inference_delay"


@dataclass(frozen=True)
class Remainder:
    """What is left of the chunk that is being played, for real-time chunking in the server.

    Sent as `prev_action_chunk` and `inference_delay`, the names of most forks of openpi that carry RTC (arXiv
    2506.07339); openpi itself takes none, LeRobot's policies call it `prev_chunk_left_over`, other forks `prev_actions`
    or `action_prefix`. Units are those of the replies.

    Attributes:
        actions: (R, action_dim), planned from the observation on; R >= 1.
        delay_ticks: how many of them will have been played when the answer is here.
    """

    actions: npt.NDArray[np.float64]
    delay_ticks: int


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
        images: JPEG bytes by camera; stamped by `h1_training_node.cameras.image_time_ns`.
        hands: (6,) 0 closed .. 1 open, by side.
        frozen: for how many seconds each stream has only repeated itself, by the recorder's verdict.
    """

    arms: Stamped | None = None
    images: dict[str, Stamped] = field(default_factory=dict)
    hands: dict[str, Stamped] = field(default_factory=dict)
    frozen: Stamped | None = None

    def add_image(self, camera: str, jpeg: Any, *, stamp_ns: int, received_ns: int) -> None:
        """An image came in. The rule of selection is the recorder's: the newest by the time that places it in a row.

        One from the future is of another clock, and is not taken: it would stand before all that come after it.
        """
        time_ns = image_time_ns(camera, stamp_ns, received_ns)
        if time_ns > received_ns + _CLOCK_TOLERANCE_NS:
            return
        before = self.images.get(camera)
        if before is None or time_ns >= before.stamp_ns:
            self.images[camera] = Stamped(time_ns, jpeg)


@dataclass(frozen=True)
class Observation:
    """One moment, complete and fresh.

    Attributes:
        stamp_ns: arm stamp.
        oldest_ns: stamp of its oldest part.
        state: (14,) or (26,) float64, arms rad, hands 0..1.
        jpegs: by camera; None where grey stands in.
        prompt: finished text.
        remainder: what is left of the chunk that is being played, for a server that continues it.
    """

    stamp_ns: int
    oldest_ns: int
    state: npt.NDArray[np.float64]
    jpegs: Mapping[str, bytes | None]
    prompt: str
    rules: ObservationRules
    remainder: Remainder | None = None

    @property
    def dummies(self) -> tuple[str, ...]:
        """Cameras that grey stands in for."""
        return tuple(camera for camera, jpeg in self.jpegs.items() if jpeg is None)

    def message(self, facts: ServerFacts = _SILENT) -> dict[str, Any]:
        """As it goes on the wire: decodes and resizes.

        Args:
            facts: what the server said of itself: it decides how images are encoded.

        Raises:
            ObservationError: a camera's image does not decode.
        """
        rules = self.rules
        images = {camera: self._image(camera, jpeg) for camera, jpeg in self.jpegs.items()}
        state = self._on_the_wire(self.state)
        if rules.image_encoding == "jpeg" or (rules.image_encoding == "auto" and facts.takes_jpeg):
            images = {camera: encoded(image) for camera, image in images.items()}
        message = rules.layout.message(state, images, self.prompt)
        if self.remainder is not None:
            if rules.remainder_field:
                message[rules.remainder_field] = self._on_the_wire(self.remainder.actions).astype(np.float32)
            if rules.delay_field:
                message[rules.delay_field] = min(self.remainder.delay_ticks, len(self.remainder.actions))
        return message

    def _on_the_wire(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(..., action_dim) with the hands in the unit that the server has them in."""
        if not (self.rules.with_hands and self.rules.hand_unit == "register"):
            return values
        scaled = values.copy()
        scaled[..., ARM_JOINTS:] *= REGISTER_FULL_SCALE
        return scaled

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
    _check_content("arm_status", latest, now_ns)
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
        _check_content(camera, latest, now_ns)
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


def _check_content(stream: str, latest: LatestInputs, now_ns: int) -> None:
    """Whether it says something new is the recorder's verdict; one that nobody repeats any more does not count."""
    frozen = latest.frozen
    if frozen is not None and now_ns - frozen.stamp_ns <= _VERDICT_LASTS_NS and stream in frozen.value:
        what, age_s = "image" if stream in CAMERAS else "values", frozen.value[stream]
        raise ObservationError(f"{stream} repeats the same {what} for {age_s:.1f} s; nothing new is seen")
