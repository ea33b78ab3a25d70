# SPDX-License-Identifier: Apache-2.0
"""Under which names and in which shape a policy wants its observation and gives its actions: presets, or YAML.

| preset | whose |
|---|---|
| `h1` | this robot's fork of openpi (`ThomasChen98/openpi`): `state`, `images.cam_head` ..., H x W x 3 |
| `aloha` | openpi's (`src/openpi/policies/aloha_policy.py`): `cam_high` ..., 3 x H x W |
| `openvla_oft` | OpenVLA-OFT's ALOHA client (`moojink/openvla-oft:experiments/robot/aloha/run_aloha_eval.py`) |
| `lerobot` | LeRobot's datasets, as `scripts/lerobot_policy_server.py` serves policies trained on them |
| `groot` | GR00T N1.6 and later (`NVIDIA/Isaac-GR00T:gr00t/policy/gr00t_policy.py`): two axes before each array |
| `groot_n1_5` | GR00T N1.5 (`gr00t/eval/service.py`): flat names, one axis |

Anything else is a mapping, for example DROID's:

    state: {observation/joint_position: [0, 7], observation/gripper_position: [7, 8]}
    images: {ego_cam: observation/exterior_image_1_left, cam_left_wrist: observation/wrist_image_left}
    prompt: prompt
    channels: last

A list of names (`[images, cam_head]`) nests; a plain name stands at the top, slashes and all. `actions` names the parts
of a reply as `state` does those of an observation; `leading_axes` counts axes of length 1 before each array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from h1_policy_bridge.images import Image
from h1_training_node import strict_yaml
from h1_training_node.cameras import CAMERAS
from h1_training_node.strict_yaml import StrictYamlError

Path = tuple[str, ...]

_LONGEST_STATE = 26
_KEYS = ("state", "images", "prompt", "channels", "actions", "leading_axes")


class LayoutError(ValueError):
    """A mapping that cannot be used; the message says what to write."""


class Part(NamedTuple):
    """A name for values [first, end) of the state or of an action; `end` None is the last."""

    path: Path
    first: int = 0
    end: int | None = None


@dataclass(frozen=True)
class ObservationLayout:
    """Where each part of an observation goes, and where the actions are in a reply.

    Attributes:
        state: the parts of the state that are sent; one that begins behind the state's end is left out.
        images: path by camera.
        prompt: path of the prompt; empty sends none.
        channels_first: images as (3, H, W) instead of (H, W, 3).
        actions: the parts of an action; empty: the one array `actions`.
        leading_axes: axes of length 1 before each array, and lists of one around the prompt.
    """

    state: tuple[Part, ...]
    images: tuple[tuple[str, Path], ...]
    prompt: Path = ("prompt",)
    channels_first: bool = False
    actions: tuple[Part, ...] = ()
    leading_axes: int = 0

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that the policy looks at."""
        return tuple(camera for camera, _ in self.images)

    def message(self, state: npt.NDArray[np.floating[Any]], images: Mapping[str, Image], prompt: str) -> dict[str, Any]:
        """The observation as it goes on the wire.

        Args:
            state: (14,) or (26,).
            images: by camera, all of `cameras`: (H, W, 3) uint8 RGB, or (N,) uint8, a JPEG file.
            prompt: finished text.
        """
        message: dict[str, Any] = {}
        for path, first, end in self.state:
            if first < len(state):
                put(message, path, self._with_axes(np.ascontiguousarray(state[first:end], np.float32)))
        for camera, path in self.images:
            image = images[camera]
            if self.channels_first and image.ndim == 3:
                image = np.ascontiguousarray(image.transpose(2, 0, 1))
            put(message, path, self._with_axes(image))
        if self.prompt:
            text: Any = prompt
            for _ in range(self.leading_axes):
                text = [text]
            put(message, self.prompt, text)
        return message

    def _with_axes(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.reshape((1,) * self.leading_axes + array.shape)


def put(message: dict[str, Any], path: Path, value: Any) -> None:
    """Set what stands at `path`, making the maps on the way."""
    for name in path[:-1]:
        message = message.setdefault(name, {})
    message[path[-1]] = value


def find(message: Any, path: Path) -> Any:
    """What stands at `path`, or None."""
    for name in path:
        message = message.get(name) if isinstance(message, Mapping) else None
    return message


def _images(*names: Path | str) -> tuple[tuple[str, Path], ...]:
    return tuple(
        (camera, (name,) if isinstance(name, str) else name) for camera, name in zip(CAMERAS, names, strict=True)
    )


_LIMBS = {"left_arm": (0, 7), "right_arm": (7, 14), "left_hand": (14, 20), "right_hand": (20, 26)}

PRESETS: dict[str, ObservationLayout] = {
    "h1": ObservationLayout(
        state=(Part(("state",)),),
        images=_images(("images", "cam_head"), ("images", "cam_left_wrist"), ("images", "cam_right_wrist")),
    ),
    "aloha": ObservationLayout(
        state=(Part(("state",)),),
        images=_images(("images", "cam_high"), ("images", "cam_left_wrist"), ("images", "cam_right_wrist")),
        channels_first=True,
    ),
    "openvla_oft": ObservationLayout(
        state=(Part(("state",)),),
        images=_images("full_image", "left_wrist_image", "right_wrist_image"),
        prompt=("instruction",),
    ),
    "lerobot": ObservationLayout(
        state=(Part(("observation.state",)),),
        images=_images(*(f"observation.images.{camera}" for camera in CAMERAS)),
        prompt=("task",),
    ),
    "groot": ObservationLayout(
        state=tuple(Part(("state", limb), *bounds) for limb, bounds in _LIMBS.items()),
        images=_images(("video", "ego_view"), ("video", "left_wrist_view"), ("video", "right_wrist_view")),
        prompt=("language", "annotation.human.task_description"),
        actions=tuple(Part((limb,), *bounds) for limb, bounds in _LIMBS.items()),
        leading_axes=2,
    ),
    "groot_n1_5": ObservationLayout(
        state=tuple(Part((f"state.{limb}",), *bounds) for limb, bounds in _LIMBS.items()),
        images=_images("video.ego_view", "video.left_wrist_view", "video.right_wrist_view"),
        prompt=("annotation.human.task_description",),
        actions=tuple(Part((f"action.{limb}",), *bounds) for limb, bounds in _LIMBS.items()),
        leading_axes=1,
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
        raise LayoutError(
            f"observation mapping must have the keys state and images, and may have {', '.join(_KEYS[2:])}"
        )
    if unknown := sorted(str(key) for key in set(document) - set(_KEYS)):
        raise LayoutError(f"observation mapping has the unknown key '{unknown[0]}'; known: {', '.join(_KEYS)}")
    images = document.get("images")
    if not isinstance(images, dict) or not images:
        raise LayoutError("observation mapping needs images: {CAMERA: NAME, ...}")
    channels = document.get("channels", "last")
    if channels not in ("first", "last"):
        raise LayoutError(f"observation mapping has channels: {channels}; expected first or last")
    axes = document.get("leading_axes", 0)
    if type(axes) is not int or not 0 <= axes <= 3:
        raise LayoutError(f"observation mapping has leading_axes: {axes}; expected 0 to 3")
    prompt = document.get("prompt", "prompt")
    layout = ObservationLayout(
        state=_parts(document.get("state", "state"), "state"),
        images=tuple((str(camera), _path(name, f"images.{camera}")) for camera, name in images.items()),
        prompt=_path(prompt, "prompt") if prompt else (),
        channels_first=channels == "first",
        actions=_parts(document["actions"], "actions") if "actions" in document else (),
        leading_axes=axes,
    )
    _check_distinct(layout)
    return layout


def _parts(value: Any, where: str) -> tuple[Part, ...]:
    if not isinstance(value, dict):
        return (Part(_path(value, where)),)
    parts = []
    for name, bounds in value.items():
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(type(bound) is int for bound in bounds)):
            raise LayoutError(f"observation mapping has {where}.{name}: {bounds}; expected [first, end]")
        if not 0 <= bounds[0] < bounds[1] <= _LONGEST_STATE:
            raise LayoutError(
                f"observation mapping has {where}.{name}: {bounds}; expected 0 <= first < end <= {_LONGEST_STATE}"
            )
        parts.append(Part(_path(name, f"{where}.{name}"), bounds[0], bounds[1]))
    return tuple(parts)


def _path(value: Any, where: str) -> Path:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LayoutError(f"observation mapping has {where}: {value}; expected a name, or a list of names to nest")
    return tuple(names)


def _check_distinct(layout: ObservationLayout) -> None:
    paths = [part.path for part in layout.state] + [path for _, path in layout.images]
    paths += [layout.prompt] if layout.prompt else []
    for index, path in enumerate(paths):
        for other in paths[:index]:
            if path[: len(other)] == other or other[: len(path)] == path:
                raise LayoutError(f"observation mapping puts two things at {'.'.join(path)}")
