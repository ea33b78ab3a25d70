"""The simulated cameras, without ROS: what they see of the arms and the scene, as JPEGs.

Their pictures show what happened: arms as measured, the episode's object, and in words the camera, the number of its
frame and the session's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.sim.cameras_arms import Arms, Skeleton
from h1_training_bringup.sim.cameras_backdrop import Image, MovingBackdrop, still_backdrop
from h1_training_bringup.sim.cameras_drawing import draw_scene, draw_text
from h1_training_bringup.sim.cameras_faults import KEYS
from h1_training_bringup.sim.cameras_view import HEIGHT, WIDTH, View, head_view, wrist_view
from h1_training_bringup.sim.scene import scene_object
from h1_training_node.parameter import parameter

_EYES_APART_M = 0.06
_GUIDED_STATE = "DAMPING"
"""In this state of the session a person's hands are at the wrists."""


@dataclass(frozen=True)
class CameraParameters:
    """The simulated cameras' parameters."""

    seed: int = parameter(0, "of the scene; the same as the robot's", low=0)
    fps: float = parameter(30.0, "of each camera", unit="Hz", low=1, high=60)
    jpeg_quality: int = parameter(85, "of all pictures", low=10, high=100)
    head_server: str = parameter("classic", "how the head is served", choices=("classic", "teleimager"))
    head_port: int = parameter(5555, "TCP port of the head's pictures on 127.0.0.1", low=1024, high=65535)
    head_header: bool = parameter(False, "classic: 12 bytes of time and number before the JPEG")
    head_binocular: bool = parameter(False, "the head has two eyes side by side in one frame")
    head_with_wrists: bool = parameter(False, "the wrists come from the head's server and not over ROS")
    head_config_port: int = parameter(60000, "teleimager: TCP port of the configuration", low=1024, high=65535)

    def __post_init__(self) -> None:
        if self.head_server == "teleimager" and self.head_config_port in self.teleimager_ports.values():
            raise ValueError(f"head_config_port {self.head_config_port} is also a camera's port; choose another")

    @property
    def teleimager_ports(self) -> dict[str, int]:
        """TCP ports by camera: head_port and, for the wrists, the two that follow it."""
        keys = KEYS if self.head_with_wrists else KEYS[:1]
        return {key: self.head_port + index for index, key in enumerate(keys)}


@dataclass(frozen=True)
class Situation:
    """What decides the pictures, besides the arms: session state and the numbers of the episode."""

    state: str = "no session"
    epoch: int = -1
    episode: int = 0


class CameraRig:
    """Draws what the cameras see.

    Attributes:
        q: (14,), rad, the arms as last measured; whoever has them sets it.
        situation: likewise.
    """

    def __init__(self, parameters: CameraParameters) -> None:
        cv2.setNumThreads(1)
        self._parameters = parameters
        self._skeleton = Skeleton()
        apart = _EYES_APART_M if parameters.head_binocular else 0.0
        self._eyes = [_moved_left(head_view(), shift) for shift in ((apart / 2, -apart / 2) if apart else (0.0,))]
        self._head_backdrops = [still_backdrop(eye, parameters.seed) for eye in self._eyes]
        self._wrist_backdrop = MovingBackdrop(parameters.seed)
        self._frames = dict.fromkeys(KEYS, 0)
        self._picture: Image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        self.q: Joints = np.zeros(COUNT)
        self.situation = Situation()

    def picture(self, key: str) -> Image:
        """What a camera sees now, (480, 640, 3) BGR, or (480, 1280, 3) for two eyes. The next call overwrites it."""
        arms = self._skeleton.pose(self.q)
        self._frames[key] += 1
        if key == KEYS[0]:
            if len(self._eyes) == 1:
                return self._head(arms, 0)
            return np.hstack([self._head(arms, eye).copy() for eye in range(len(self._eyes))])
        side = KEYS.index(key) - 1
        view = wrist_view(arms.wrists_m[side], arms.wrist_rotations[side])
        self._wrist_backdrop.draw(view, self._picture)
        return self._with_scene(view, arms, key)

    def jpeg(self, key: str) -> bytes:
        """What a camera sees now, as a JPEG."""
        return self._encoded(self.picture(key))

    def joined_jpeg(self) -> bytes:
        """Head, left and right wrist in one JPEG, as the classic server sends them."""
        return self._encoded(np.hstack([self.picture(key).copy() for key in KEYS]))

    def _encoded(self, picture: Image) -> bytes:
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._parameters.jpeg_quality])
        return jpeg.tobytes()

    def _head(self, arms: Arms, eye: int) -> Image:
        np.copyto(self._picture, self._head_backdrops[eye])
        return self._with_scene(self._eyes[eye], arms, KEYS[0])

    def _with_scene(self, view: View, arms: Arms, key: str) -> Image:
        now = self.situation
        thing = scene_object(now.epoch, now.episode, self._parameters.seed)
        draw_scene(self._picture, view, arms, thing, person=now.state == _GUIDED_STATE)
        number = f"{key} #{self._frames[key]:06d} {now.state}"
        draw_text(self._picture, f"{number} epoch {now.epoch} episode {now.episode}" if now.epoch >= 0 else number)
        return self._picture


def _moved_left(view: View, metres: float) -> View:
    return View(view.position_m - metres * view.axes[:, 0], view.axes, view.focal_px)
