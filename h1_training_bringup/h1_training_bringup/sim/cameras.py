# SPDX-License-Identifier: Apache-2.0
"""The simulated cameras, without ROS: what they see of the arms and the scene, as JPEGs.

Their images show the arms as measured and the objects on the table, with a sensor's noise, and no more: what is
recorded and served must not give a policy what only the session knows. For people a caption with frame number and
session state, and the hands of the person who guides, can be switched on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.sim.cameras_drawing import Skeleton, draw_scene, draw_text
from h1_training_bringup.sim.cameras_view import (
    HEIGHT,
    WIDTH,
    Image,
    MovingBackdrop,
    View,
    head_view,
    still_backdrop,
    wrist_view,
)
from h1_training_bringup.sim.scene import SceneObject
from h1_training_node.cameras import CAMERAS
from h1_training_node.parameter import parameter

_EYES_APART_M = 0.06
_SEEN_RAD = 4e-4
"""More than the encoders' noise; a finger tip then moves by a fifth of a pixel."""
_NOISE, _NOISE_OFFSET, _NOISE_SHIFTS = 1.5, 4.0, 32
"""Of the sensor: spread and mean of what is added to each colour, of 255, and how many ways it shifts along an axis."""


@dataclass(frozen=True)
class CameraParameters:
    """The simulated cameras' parameters."""

    seed: int = parameter(0, "of the scene; the same as the robot's", low=0)
    fps: float = parameter(30.0, "of each camera", unit="Hz", low=1, high=60)
    jpeg_quality: int = parameter(85, "of all images", low=10, high=100)
    head_server: str = parameter("classic", "how the head is served", choices=("classic", "teleimager"))
    head_port: int = parameter(5555, "TCP port of the head's images on 127.0.0.1", low=1024, high=65535)
    head_header: bool = parameter(False, "classic: 12 bytes of time and number before the JPEG")
    head_binocular: bool = parameter(False, "the head has two eyes side by side in one frame")
    head_with_wrists: bool = parameter(False, "the wrists come from the head's server and not over ROS")
    light: float = parameter(1.0, "brightness of everything, as a factor", low=0.2, high=2.0)
    captions: bool = parameter(False, "write frame number and session state into the images, for people")
    show_person: bool = parameter(False, "draw the hands that guide the arms in DAMPING, for people")
    head_config_port: int = parameter(60000, "teleimager: TCP port of the configuration", low=1024, high=65535)

    def __post_init__(self) -> None:
        if self.head_server == "teleimager" and self.head_config_port in self.teleimager_ports.values():
            raise ValueError(f"head_config_port {self.head_config_port} is also a camera's port; choose another")

    @property
    def teleimager_ports(self) -> dict[str, int]:
        """TCP ports by camera: head_port and, for the wrists, the two that follow it."""
        keys = CAMERAS if self.head_with_wrists else CAMERAS[:1]
        return {key: self.head_port + index for index, key in enumerate(keys)}


@dataclass(frozen=True)
class _Drawn:
    """What a camera's newest image shows, but for the noise: as long as it is so, nothing is drawn again."""

    q: Joints
    things: tuple[SceneObject, ...]
    shows_person: bool
    eyes: list[Image]

    def is_outdated(self, q: Joints, things: tuple[SceneObject, ...], shows_person: bool) -> bool:
        """Whether somebody would see the difference."""
        is_same = (things, shows_person) == (self.things, self.shows_person)
        return not is_same or float(np.abs(q - self.q).max()) > _SEEN_RAD


class CameraRig:
    """Draws what the cameras see.

    Attributes:
        q: (14,), rad, the arms as last measured; whoever has them sets it.
        things: what lies on the table, likewise.
        caption: drawn if the parameter `captions` asks for it.
        is_guided: a person holds the wrists; drawn if the parameter `show_person` asks for it.
    """

    def __init__(self, parameters: CameraParameters) -> None:
        cv2.setNumThreads(1)
        self._parameters = parameters
        self._skeleton = Skeleton()
        apart = _EYES_APART_M if parameters.head_binocular else 0.0
        self._eyes = [_moved_left(head_view(), shift) for shift in ((apart / 2, -apart / 2) if apart else (0.0,))]
        self._head_backdrops = [still_backdrop(eye, parameters.seed) for eye in self._eyes]
        self._wrist_backdrop = MovingBackdrop(parameters.seed)
        self._frames = dict.fromkeys(CAMERAS, 0)
        self._drawn: dict[str, _Drawn] = {}
        self._image: Image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        self._random = np.random.default_rng([8, parameters.seed])
        noise = self._random.normal(_NOISE_OFFSET, _NOISE, (HEIGHT + _NOISE_SHIFTS, WIDTH + _NOISE_SHIFTS, 3))
        self._noise = np.clip(np.round(noise), 0, 255).astype(np.uint8)
        self.q: Joints = np.zeros(COUNT)
        self.things: tuple[SceneObject, ...] = ()
        self.caption = ""
        self.is_guided = False

    def image(self, key: str) -> Image:
        """What a camera sees now, (480, 640, 3) BGR, or (480, 1280, 3) for two eyes. The next call overwrites it."""
        self._frames[key] += 1
        shows_person = self._parameters.show_person and self.is_guided
        drawn = self._drawn.get(key)
        if drawn is None or drawn.is_outdated(self.q, self.things, shows_person):
            eyes = self._draw(key, shows_person)
            drawn = self._drawn[key] = _Drawn(self.q.copy(), self.things, shows_person, eyes)
        if len(drawn.eyes) == 1:
            return self._sensed(drawn.eyes[0], key)
        return np.hstack([self._sensed(eye, key).copy() for eye in drawn.eyes])

    def jpeg(self, key: str) -> bytes:
        """What a camera sees now, as a JPEG."""
        return self._encoded(self.image(key))

    def joined_jpeg(self) -> bytes:
        """Head, left and right wrist in one JPEG, as the classic server sends them."""
        return self._encoded(np.hstack([self.image(key).copy() for key in CAMERAS]))

    def _encoded(self, image: Image) -> bytes:
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._parameters.jpeg_quality])
        return jpeg.tobytes()

    def _draw(self, key: str, shows_person: bool) -> list[Image]:
        """The scene as each eye of a camera sees it."""
        arms = self._skeleton.pose(self.q)
        if key == CAMERAS[0]:
            seen = [(eye, backdrop.copy()) for eye, backdrop in zip(self._eyes, self._head_backdrops, strict=True)]
        else:
            side = CAMERAS.index(key) - 1
            view = wrist_view(arms.wrists_m[side], arms.wrist_rotations[side])
            seen = [(view, self._wrist_backdrop.draw(view))]
        for view, image in seen:
            draw_scene(image, view, arms, self.things, person=shows_person)
            if self._parameters.light != 1.0:
                cv2.convertScaleAbs(image, dst=image, alpha=self._parameters.light)
        return [image for _, image in seen]

    def _sensed(self, image: Image, key: str) -> Image:
        """With a sensor's noise: a still scene makes no two frames of the same bytes; a frozen camera does."""
        down, right = self._random.integers(0, _NOISE_SHIFTS, 2)
        cv2.add(image, self._noise[down : down + HEIGHT, right : right + WIDTH], dst=self._image)
        if self._parameters.captions:
            draw_text(self._image, f"{key} #{self._frames[key]:06d} {self.caption}")
        return self._image


def _moved_left(view: View, metres: float) -> View:
    return View(view.position_m - metres * view.axes[:, 0], view.axes, view.focal_px)
