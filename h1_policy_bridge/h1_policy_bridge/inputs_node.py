# SPDX-License-Identifier: Apache-2.0
"""What a policy looks at besides the arms, from its topics into `LatestInputs`: for the bridge and for the preview."""

from __future__ import annotations

import math
from functools import partial

from sensor_msgs.msg import CompressedImage

from h1_policy_bridge.observation import HANDS, LatestInputs, Stamped
from h1_policy_bridge.parameters import BridgeParameters
from h1_training_msgs.msg import HandState, RecorderStatus
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.cameras import CAMERA_TOPICS
from h1_training_node.message_numbers import Verdict
from h1_training_node.stamps import to_ns


class ObservationInputs:
    """Subscribes for `node` to cameras, hands and the recorder's verdicts, as the policy's layout needs them."""

    def __init__(self, node: BaseNode, latest: LatestInputs, parameters: BridgeParameters) -> None:
        self._node, self._latest = node, latest
        self._reads_commanded_hands = parameters.hand_state == "commanded"
        node.create_subscription(RecorderStatus, "recorder/status", self._on_recorder_status, qos.LATEST)
        for camera in parameters.layout().cameras:
            on_image = partial(self._on_image, camera)
            node.create_subscription(CompressedImage, CAMERA_TOPICS[camera], on_image, qos.LATEST)
        for side in HANDS if parameters.with_hands else ():
            node.create_subscription(HandState, f"hands/{side}/state", partial(self._on_hand, side), qos.LATEST)

    def _on_image(self, camera: str, message: CompressedImage) -> None:
        self._latest.add_image(
            camera, message.data, stamp_ns=to_ns(message.header.stamp), received_ns=self._node.now_ns()
        )

    def _on_recorder_status(self, message: RecorderStatus) -> None:
        judged = zip(message.streams, message.verdicts, message.ages, strict=False)
        frozen = {stream: age_s for stream, verdict, age_s in judged if verdict == Verdict.FROZEN}
        self._latest.frozen = Stamped(self._node.now_ns(), frozen)

    def _on_hand(self, side: str, message: HandState) -> None:
        measured, commanded = message.angle.astype(float), message.command.astype(float)
        if self._reads_commanded_hands:
            measured = [now if math.isnan(last) else last for now, last in zip(measured, commanded, strict=True)]
        self._latest.hands[side] = Stamped(to_ns(message.header.stamp), measured)
