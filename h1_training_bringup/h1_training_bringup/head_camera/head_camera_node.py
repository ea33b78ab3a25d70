"""The node of the head camera: frames from the robot's image server in, CompressedImage out.

Frames are heard, judged, cut and published in the receiver's thread (rclpy's publishers may be used from any thread);
the executor's thread only starts and ends it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import cv2
from cv_bridge import CvBridge
from sensor_msgs.msg import CompressedImage

from h1_training_bringup.head_camera.cutting import Cutter, Method, Pictures, Scissors, damage_check, lossless_cutter
from h1_training_bringup.head_camera.drop_count import DropCount
from h1_training_bringup.head_camera.frozen import FrozenWatch, Turn
from h1_training_bringup.head_camera.head_camera_parameters import HeadCameraParameters
from h1_training_bringup.head_camera.layout import HEAD, LEFT_WRIST, RIGHT_WRIST, WRISTS, Cut, Layout
from h1_training_bringup.head_camera.payload import DeviceStamp, RefusedFrameError, frame_of
from h1_training_bringup.head_camera.receiver import Listener, Receiver, Source
from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S
from h1_training_node.node_main import run_node

TOPICS = {
    HEAD: "head_camera/image_raw/compressed",
    LEFT_WRIST: "left_wrist_camera/color/image_raw/compressed",
    RIGHT_WRIST: "right_wrist_camera/color/image_raw/compressed",
}
FRAME_IDS = {
    HEAD: "head_camera_color_optical_frame",
    LEFT_WRIST: "left_wrist_camera_color_optical_frame",
    RIGHT_WRIST: "right_wrist_camera_color_optical_frame",
}
FORMAT, GREY_FORMAT = "bgr8; jpeg compressed bgr8", "mono8; jpeg compressed mono8"
"""As compressed_image_transport writes it for JPEG."""
_WATCH_PERIOD_S = 0.1
_JOIN_S = 2.0


class HeadCameraNode(BaseNode):
    """Publishes what the image server sends; a frame that is not whole is counted and never passed on."""

    STOP_TIMEOUT_S = 3.0

    def __init__(self) -> None:
        super().__init__("head_camera")
        self._parameters = self.parameters(HeadCameraParameters)
        cameras = (HEAD, *WRISTS[: self._parameters.wrists_in_frame])
        self._image_publishers = {
            camera: self.create_publisher(CompressedImage, TOPICS[camera], qos.IMAGE) for camera in cameras
        }
        self._lossless, self._why_not_lossless = lossless_cutter()
        self._encode_anew = encoder(self._parameters.jpeg_quality)
        self._check = damage_check()
        self._scissors: dict[Source, Scissors] = {}
        self._methods: dict[Source, tuple[Method, str]] = {}
        self._frozen: dict[Source, FrozenWatch] = {}
        self._last_device: dict[Source, DeviceStamp] = {}
        self._refused_in_a_row: dict[Source, int] = {}
        self._drops, self._cuts_off = DropCount(), DropCount("times cut off")
        self._is_stopping = False
        listener = Listener(
            self._on_frame, self._on_silent, self._on_speaks, self._on_cut_off, self._on_trouble, self._tell_drops
        )
        self._receiver = Receiver(self._parameters, listener, self.now_ns)
        self._receiver.start()
        self.every(_WATCH_PERIOD_S, self._watch)

    # In the receiver's thread.

    def _on_frame(self, source: Source, parts: Sequence[bytes], arrival_ns: int) -> None:
        try:
            frame = frame_of(parts, self._parameters.max_frame_bytes)
            pictures = self._scissors_of(source).pictures(frame)
        except RefusedFrameError as refusal:
            self._drops.add(source.camera, refusal.cause, str(refusal))
            self._refused_in_a_row[source] = self._refused_in_a_row.get(source, 0) + 1
            return
        for camera, jpeg in pictures.jpegs.items():
            header = self.header(arrival_ns, FRAME_IDS[camera])
            image = CompressedImage(header=header, format=self._format(pictures), data=array("B", jpeg))
            self._image_publishers[camera].publish(image)
        self._count_lost(source, frame.device)
        if (turn := self._frozen_watch_of(source).frame(frame.jpeg, arrival_ns)) is not None:
            self._tell_frozen(source, turn)
        made = (pictures.method, pictures.why)
        if self._methods.get(source) != made:
            self._methods[source] = made
            self._tell_method(source, pictures.method, pictures.why)

    def _format(self, pictures: Pictures) -> str:
        """What was encoded here says at which quality; readers look for the part before it only."""
        image_format = GREY_FORMAT if pictures.is_grey else FORMAT
        return f"{image_format} q{self._parameters.jpeg_quality}" if pictures.method is Method.ENCODED else image_format

    def _frozen_watch_of(self, source: Source) -> FrozenWatch:
        if source not in self._frozen:
            self._frozen[source] = FrozenWatch(int(self._parameters.frozen_after * NS_PER_S))
        return self._frozen[source]

    def _tell_frozen(self, source: Source, turn: Turn) -> None:
        seconds, total = turn.lasted_ns / NS_PER_S, self._frozen_watch_of(source).total_repeats
        if turn.is_frozen:
            self.event(
                Event.WARN,
                "head_camera_frozen",
                f"{source.address} has sent the same bytes for {seconds:.1f} s ({turn.repeats} frames); "
                "is the camera covered, or has its driver hung? Restart the image server",
            )
        else:
            told = f"{turn.repeats} frames in {seconds:.1f} s were the same; {total} repeated frames so far"
            self.event(Event.INFO, "head_camera_alive_again", f"{source.address} sends new pictures: {told}")

    def _scissors_of(self, source: Source) -> Scissors:
        if source not in self._scissors:
            parameters = self._parameters
            shape = (parameters.width, parameters.height) if parameters.width and source.camera == HEAD else None
            self._scissors[source] = Scissors(
                self._layout(source),
                shape,
                lossless=self._lossless,
                encode_anew=self._encode_anew,
                why_not_lossless=self._why_not_lossless,
                check=self._check,
            )
        return self._scissors[source]

    def _layout(self, source: Source) -> Layout:
        parameters = self._parameters
        if source.camera != HEAD:
            return Layout(source.camera, is_binocular=False)
        said = {"yes": True, "no": False, "auto": source.is_binocular}[parameters.binocular]
        wrists = 0 if source.is_teleimager else parameters.wrists_in_frame
        return Layout(HEAD, wrists, parameters.wrist_width, said, parameters.eye)

    def _count_lost(self, source: Source, device: DeviceStamp | None) -> None:
        """Frames that the server numbered and that never arrived. A server that counts anew was started anew."""
        last, refused = self._last_device.get(source), self._refused_in_a_row.pop(source, 0)
        if device is None:
            return
        self._last_device[source] = device
        if last is not None and (lost := device.frame_id - last.frame_id - 1 - refused) > 0:
            self._drops.add(source.camera, "lost_on_the_way", "the server's frame numbers have gaps", lost)

    def _tell_method(self, source: Source, method: Method, why: str) -> None:
        told = {
            Method.PASSED_ON: "passed on untouched",
            Method.CUT: "cut without loss",
            Method.ENCODED: f"cut and encoded anew at quality {self._parameters.jpeg_quality}, because {why}",
        }
        level = Event.WARN if method is Method.ENCODED else Event.INFO
        self.event(level, method.value, f"images of {source.address} are {told[method]}")

    def _on_silent(self, source: Source, seconds: float) -> None:
        self.event(
            Event.WARN,
            "head_camera_silent",
            f"no frame from {source.address} for {seconds:.1f} s; is the image server running on the robot, "
            "and is its address right? Still listening",
        )

    def _on_speaks(self, source: Source) -> None:
        self.event(Event.INFO, "head_camera_connected", f"frames arrive from {source.address}")

    def _on_cut_off(self, source: Source, largest: int) -> None:
        why = f"the server ended, or sent more than {largest} bytes at once, which are not even received"
        self._cuts_off.add(source.camera, source.address, f"{why}; connecting again")

    def _on_trouble(self, trouble: str) -> None:
        self.event(Event.WARN, "head_camera_not_configured", trouble)

    def _tell_drops(self) -> None:
        for line in self._drops.due(self.now_ns()):
            self.event(Event.WARN, "head_camera_frames_dropped", line)
        for line in self._cuts_off.due(self.now_ns()):
            self.event(Event.WARN, "head_camera_cut_off", line)

    # In the executor's thread.

    def _watch(self) -> None:
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


def encoder(quality: int) -> Cutter:
    """Decodes through cv_bridge, cuts, and encodes at `quality`, which cv_bridge does not let one choose."""
    bridge = CvBridge()

    def encode_anew(jpeg: bytes, cuts: Sequence[Cut]) -> list[bytes]:
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

    return encode_anew


def main() -> int:
    """Entry point."""
    return run_node(HeadCameraNode)
