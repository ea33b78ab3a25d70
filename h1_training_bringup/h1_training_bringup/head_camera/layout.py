"""Which part of a frame is whose picture.

Source: `unitreerobotics/xr_teleoperate:teleop/image_server/image_client.py` and `teleop_hand_and_arm.py`: all cameras
of the classic server stand side by side at equal height, the head's first, then the wrists (left, right); a head wider
than twice its height holds two eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

from h1_training_bringup.head_camera.payload import RefusedFrameError

HEAD, LEFT_WRIST, RIGHT_WRIST = "head", "left_wrist", "right_wrist"
WRISTS = (LEFT_WRIST, RIGHT_WRIST)
BINOCULAR_ASPECT = 2.0
_WIDEST_HEAD = 2 * BINOCULAR_ASPECT
_LEAST_WIDTH = 8


@dataclass(frozen=True)
class Cut:
    """One camera's part of a frame, px."""

    camera: str
    x: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """How a frame is divided.

    Attributes:
        camera: whose picture comes first; a stream of a wrist's own has nothing else.
        wrists: how many wrist images follow.
        wrist_width: px, of each.
        is_binocular: the head's part holds two eyes; None: if it is wider than 2:1.
        eye: `left`, `right` or `both`.
    """

    camera: str = HEAD
    wrists: int = 0
    wrist_width: int = 640
    is_binocular: bool | None = None
    eye: str = "left"

    def cuts(self, width: int, height: int) -> tuple[Cut, ...]:
        """The parts of a frame of `width` x `height` px.

        Raises:
            RefusedFrameError: `wrong_shape`: what is left for the head is no image of a head.
        """
        head_width = width - self.wrists * self.wrist_width
        if head_width < _LEAST_WIDTH:
            raise RefusedFrameError(
                "wrong_shape",
                f"{width}x{height} cannot hold a head and {self.wrists} wrist images of {self.wrist_width} px; "
                "correct wrists_in_frame and wrist_width",
            )
        if self.is_binocular is None and head_width / height > _WIDEST_HEAD:
            raise RefusedFrameError(
                "wrong_shape",
                f"{head_width}x{height} is too wide for a head, even with two eyes; does the frame carry wrist images? "
                "Set wrists_in_frame",
            )
        wrists = (
            Cut(camera, head_width + index * self.wrist_width, self.wrist_width, height)
            for index, camera in enumerate(WRISTS[: self.wrists])
        )
        return (self._head(head_width, height), *wrists)

    def _head(self, width: int, height: int) -> Cut:
        is_binocular = width / height > BINOCULAR_ASPECT if self.is_binocular is None else self.is_binocular
        if not is_binocular or self.eye == "both":
            return Cut(self.camera, 0, width, height)
        half = width // 2
        return Cut(self.camera, 0 if self.eye == "left" else half, half, height)
