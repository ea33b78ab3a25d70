"""Under which names and in which order of axes a policy wants its observation: presets, or a mapping in YAML.

`h1` is this robot's fork of openpi (`ThomasChen98/openpi`: `state`, `images.cam_head` ..., HWC); `aloha` is openpi's
own (`src/openpi/policies/aloha_policy.py`: `cam_high` ..., CHW). Anything else is a mapping, for example DROID's:

    state: {observation/joint_position: [0, 7], observation/gripper_position: [7, 8]}
    images: {ego_cam: observation/exterior_image_1_left, cam_left_wrist: observation/wrist_image_left}
    prompt: prompt
    channels: last

A list of names (`[images, cam_head]`) nests; a plain name stands at the top, slashes and all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.images import Image
from h1_training_node import strict_yaml
from h1_training_node.strict_yaml import StrictYamlError

Path = tuple[str, ...]


class LayoutError(ValueError):
    """A mapping that cannot be used; the message says what to write."""


@dataclass(frozen=True)
class ObservationLayout:
    """Where each part of an observation goes.

    Attributes:
        state: path and half-open range of the state's values, for each part that is sent.
        images: path by camera.
        prompt: path of the prompt; empty sends none.
        channels_first: images as (3, H, W) instead of (H, W, 3).
    """

    state: tuple[tuple[Path, int, int | None], ...]
    images: tuple[tuple[str, Path], ...]
    prompt: Path = ("prompt",)
    channels_first: bool = False

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that the policy looks at."""
        return tuple(camera for camera, _ in self.images)

    def message(self, state: npt.NDArray[np.floating[Any]], images: Mapping[str, Image], prompt: str) -> dict[str, Any]:
        """The observation as it goes on the wire.

        Args:
            state: (14,) or (26,).
            images: (H, W, 3) uint8 RGB by camera; all of `cameras`.
            prompt: finished text.
        """
        message: dict[str, Any] = {}
        for path, first, last in self.state:
            _put(message, path, np.ascontiguousarray(state[first:last], np.float32))
        for camera, path in self.images:
            image = images[camera]
            _put(message, path, np.ascontiguousarray(image.transpose(2, 0, 1)) if self.channels_first else image)
        if self.prompt:
            _put(message, self.prompt, prompt)
        return message


PRESETS: dict[str, ObservationLayout] = {
    "h1": ObservationLayout(
        state=((("state",), 0, None),),
        images=(
            ("ego_cam", ("images", "cam_head")),
            ("cam_left_wrist", ("images", "cam_left_wrist")),
            ("cam_right_wrist", ("images", "cam_right_wrist")),
        ),
    ),
    "aloha": ObservationLayout(
        state=((("state",), 0, None),),
        images=(
            ("ego_cam", ("images", "cam_high")),
            ("cam_left_wrist", ("images", "cam_left_wrist")),
            ("cam_right_wrist", ("images", "cam_right_wrist")),
        ),
        channels_first=True,
    ),
}


def parse_layout(text: str) -> ObservationLayout:
    """A layout from YAML, as in the module's docstring.

    Raises:
        LayoutError: not YAML, an unknown or missing key, or a value of the wrong kind.
    """
    try:
        document = strict_yaml.load(text)
    except StrictYamlError as error:
        raise LayoutError(f"observation mapping: {error}") from None
    if not isinstance(document, dict):
        raise LayoutError("observation mapping must have the keys state and images, and may have prompt, channels")
    if unknown := sorted(str(key) for key in set(document) - {"state", "images", "prompt", "channels"}):
        raise LayoutError(
            f"observation mapping has the unknown key '{unknown[0]}'; known: state, images, prompt, channels"
        )
    images = document.get("images")
    if not isinstance(images, dict) or not images:
        raise LayoutError("observation mapping needs images: {CAMERA: NAME, ...}")
    channels = document.get("channels", "last")
    if channels not in ("first", "last"):
        raise LayoutError(f"observation mapping has channels: {channels}; expected first or last")
    prompt = document.get("prompt", "prompt")
    layout = ObservationLayout(
        state=_state_parts(document.get("state", "state")),
        images=tuple((str(camera), _path(name, f"images.{camera}")) for camera, name in images.items()),
        prompt=_path(prompt, "prompt") if prompt else (),
        channels_first=channels == "first",
    )
    _check_distinct(layout)
    return layout


def _state_parts(value: Any) -> tuple[tuple[Path, int, int | None], ...]:
    if not isinstance(value, dict):
        return ((_path(value, "state"), 0, None),)
    parts = []
    for name, bounds in value.items():
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(type(bound) is int for bound in bounds)):
            raise LayoutError(f"observation mapping has state.{name}: {bounds}; expected [first, end]")
        if not 0 <= bounds[0] < bounds[1] <= 26:
            raise LayoutError(f"observation mapping has state.{name}: {bounds}; expected 0 <= first < end <= 26")
        parts.append((_path(name, f"state.{name}"), bounds[0], bounds[1]))
    return tuple(parts)


def _path(value: Any, where: str) -> Path:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LayoutError(f"observation mapping has {where}: {value}; expected a name, or a list of names to nest")
    return tuple(names)


def _check_distinct(layout: ObservationLayout) -> None:
    paths = [path for path, _, _ in layout.state] + [path for _, path in layout.images]
    paths += [layout.prompt] if layout.prompt else []
    for index, path in enumerate(paths):
        for other in paths[:index]:
            if path[: len(other)] == other or other[: len(path)] == path:
                raise LayoutError(f"observation mapping puts two things at {'.'.join(path)}")


def _put(message: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        message = message.setdefault(name, {})
    message[path[-1]] = value
