# SPDX-License-Identifier: Apache-2.0
"""The node of the head camera: frames from the robot's image server in, CompressedImage out.

Frames are received, checked, split and published in the receiver's thread (rclpy's publishers may be used from any
thread); the executor's thread only starts and ends it. Whether the camera still sees something new is not decided
here: the recorder, which sees every stream, has the verdict (`RecorderStatus.verdicts`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
from cv_bridge import CvBridge
from sensor_msgs.msg import CompressedImage

from h1_training_bringup.head_camera.frame_splitter import (
    Cutter,
    FrameSplitter,
    Images,
    Method,
    damage_check,
    lossless_cutter,
)
from h1_training_bringup.head_camera.layout import HEAD, LAYOUTS, Cut, FrameLayout, Source
from h1_training_bringup.head_camera.parameters import HeadCameraParameters
from h1_training_bringup.head_camera.payload import DeviceStamp, Frame, RefusedFrameError, frame_of
from h1_training_bringup.head_camera.receiver import Listener, Receiver
from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import CAMERA_FRAMES, CAMERA_TOPICS
from h1_training_node.clock import NS_PER_S
from h1_training_node.node_main import run_node
from h1_training_node.report_once import ReportOnce

FORMAT, GREY_FORMAT = "bgr8; jpeg compressed bgr8", "mono8; jpeg compressed mono8"
"""As compressed_image_transport writes it for JPEG."""
_CHECK_PERIOD_S = 0.1
_JOIN_S = 2.0
REPORT_EVERY_NS = NS_PER_S


class HeadCameraNode(BaseNode):
    """Publishes what the image server sends; a frame that is not whole is counted and never passed on."""

    STOP_TIMEOUT_S = 3.0

    def __init__(self) -> None:
        super().__init__("head_camera")
        self._config = self.parameters(HeadCameraParameters)
        self._image_publishers = {
            camera: self.create_publisher(CompressedImage, CAMERA_TOPICS[camera], qos.IMAGE)
            for camera in self._config.cameras
        }
        self._lossless, self._why_not_lossless = lossless_cutter()
        self._encode_again = encoder(self._config.jpeg_quality)
        self._check = damage_check()
        self._splitters: dict[Source, FrameSplitter] = {}
        self._reported: dict[Source, str] = {}
        self._last_device: dict[Source, DeviceStamp] = {}
        self._refused_in_a_row: Counter[Source] = Counter()
        self._drops, self._cut_offs = LossCount(), LossCount("times cut off")
        self._is_stopping = False
        listener = Listener(
            self._on_frame, self._on_silent, self._on_delivers, self._on_cut_off, self._on_trouble, self._report_losses
        )
        self._receiver = Receiver(self._config, listener, self.now_ns)
        self._receiver.start()
        self.every(_CHECK_PERIOD_S, self._check_receiver)

    # In the receiver's thread.

    def _on_frame(self, source: Source, parts: Sequence[bytes], arrival_ns: int) -> None:
        try:
            frame = frame_of(parts, self._config.max_frame_bytes)
            images = self._splitter_of(source).split(frame)
        except RefusedFrameError as refusal:
            self._drops.add(source.camera, refusal.cause, str(refusal))
            self._refused_in_a_row[source] += 1
            return
        for camera, jpeg in images.jpegs.items():
            header = self.header(arrival_ns, CAMERA_FRAMES[camera])
            image = CompressedImage(header=header, format=self._format(images), data=array("B", jpeg))
            self._image_publishers[camera].publish(image)
        self._count_lost(source, frame.device)
        self._report_making(source, frame, images)

    def _format(self, images: Images) -> str:
        """What was encoded here says at which quality; readers look for the part before it only."""
        image_format = GREY_FORMAT if images.is_grey else FORMAT
        return f"{image_format} q{self._config.jpeg_quality}" if images.method is Method.ENCODED else image_format

    def _splitter_of(self, source: Source) -> FrameSplitter:
        if source not in self._splitters:
            parameters = self._config
            shape = (parameters.width, parameters.height) if parameters.width and source.camera == HEAD else None
            self._splitters[source] = FrameSplitter(
                self._layout(source),
                shape,
                lossless=self._lossless,
                encode_again=self._encode_again,
                why_not_lossless=self._why_not_lossless,
                check=self._check,
            )
        return self._splitters[source]

    def _layout(self, source: Source) -> FrameLayout:
        if source.camera != HEAD:
            return FrameLayout(source.camera, eyes=1)
        eyes, wrists = LAYOUTS[self._config.layout]
        if source.is_teleimager:
            wrists = 0  # they come as streams of their own
            if eyes is None and source.is_binocular is not None:
                eyes = 2 if source.is_binocular else 1
        return FrameLayout(HEAD, eyes, wrists, self._config.wrist_width, self._config.eye)

    def _count_lost(self, source: Source, device: DeviceStamp | None) -> None:
        """Frames that the server numbered and that never arrived. A server that counts from 0 was restarted."""
        last, refused = self._last_device.get(source), self._refused_in_a_row.pop(source, 0)
        if device is None:
            return
        self._last_device[source] = device
        if last is not None and (lost := device.frame_id - last.frame_id - 1 - refused) > 0:
            self._drops.add(source.camera, "lost_on_the_way", "the server's frame numbers have gaps", lost)

    def _report_making(self, source: Source, frame: Frame, images: Images) -> None:
        """What a frame was taken for and how its images are made, once and whenever that changes."""
        making = {
            Method.PASSED_ON: "passed on untouched",
            Method.CUT: "cut without loss",
            Method.ENCODED: f"cut and encoded again at quality {self._config.jpeg_quality}, because {images.why}",
        }[images.method]
        shape = self._layout(source).described(frame.header.width, frame.header.height)
        report = f"{shape}; images of {source.address} are {making}"
        if self._reported.get(source) != report:
            self._reported[source] = report
            self.event(Event.WARN if images.method is Method.ENCODED else Event.INFO, images.method.value, report)

    def _on_silent(self, source: Source, seconds: float) -> None:
        self.event(
            Event.WARN,
            "head_camera_silent",
            f"no frame from {source.address} for {seconds:.1f} s; is the image server running on the robot, "
            "and is its address right? Still trying",
        )

    def _on_delivers(self, source: Source) -> None:
        self.event(Event.INFO, "head_camera_connected", f"frames arrive from {source.address}")

    def _on_cut_off(self, source: Source, largest: int) -> None:
        why = f"the server ended, or sent more than {largest} bytes at once, which are not even received"
        self._cut_offs.add(source.camera, source.address, f"{why}; connecting again")

    def _on_trouble(self, trouble: str) -> None:
        self.event(Event.WARN, "head_camera_not_configured", trouble)

    def _report_losses(self) -> None:
        for line in self._drops.due(self.now_ns()):
            self.event(Event.WARN, "head_camera_frames_dropped", line)
        for line in self._cut_offs.due(self.now_ns()):
            self.event(Event.WARN, "head_camera_cut_off", line)

    # In the executor's thread.

    def _check_receiver(self) -> None:
        """A receiver that ends unasked is a defect: end, rather than leave the camera silently unattended."""
        if self._receiver.is_alive():
            return
        if not self._is_stopping:
            self.get_logger().fatal("the receiving thread has died; see the traceback above")
        self.end(0 if self._is_stopping else 1)

    def request_stop(self, why: str) -> None:
        """Stop receiving; the node ends when the receiver has."""
        self._is_stopping = True
        self._receiver.stop()

    def destroy_node(self) -> None:
        """Stop the receiver while its publishers live."""
        self.request_stop("destroyed")
        self._receiver.join(_JOIN_S)
        super().destroy_node()


@dataclass
class _Cause:
    detail: str = ""
    unreported: int = 0
    total: int = 0


class LossCount:
    """What went wrong with a stream, dropped frames above all: by cause, reported at most once a second each.

    Args:
        what: happened, as it follows a number.
    """

    def __init__(self, what: str = "dropped") -> None:
        self._what = what
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._reports = ReportOnce(REPORT_EVERY_NS)

    def add(self, stream: str, cause: str, detail: str, count: int = 1) -> None:
        """It happened `count` times to `stream`, the last time because of `detail`."""
        entry = self._causes.setdefault((stream, cause), _Cause())
        entry.detail = detail
        entry.unreported += count
        entry.total += count

    def total(self, cause: str) -> int:
        """How often so far for `cause`, in all streams."""
        return sum(entry.total for (_, name), entry in self._causes.items() if name == cause)

    def due(self, now_ns: int) -> list[str]:
        """What is to be reported now, one line a stream and cause."""
        lines = []
        for (stream, cause), entry in self._causes.items():
            if entry.unreported and self._reports.is_due((stream, cause), now_ns):
                lines.append(
                    f"{stream}: {entry.unreported} {self._what}, {cause} ({entry.detail}); {entry.total} so far"
                )
                entry.unreported = 0
        return lines


def encoder(quality: int) -> Cutter:
    """Decodes through cv_bridge, cuts, and encodes at `quality`, which cv_bridge does not let one choose."""
    bridge = CvBridge()

    def encode_again(jpeg: bytes, cuts: Sequence[Cut]) -> list[bytes]:
        try:
            image = bridge.compressed_imgmsg_to_cv2(CompressedImage(data=array("B", jpeg)), "passthrough")
        except cv2.error as error:
            raise ValueError(str(error)) from None
        if image is None:
            raise ValueError("OpenCV cannot decode it")
        encoded = []
        for cut in cuts:
            part = image[: cut.height, cut.x : cut.x + cut.width]
            is_good, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if not is_good:
                raise ValueError("OpenCV cannot encode it")
            encoded.append(data.tobytes())
        return encoded

    return encode_again


def main() -> int:
    """Entry point."""
    return run_node(HeadCameraNode)
