# SPDX-License-Identifier: Apache-2.0
"""`arm_driver weigh`: hold the arms still, read their torques, report what the wrists carry. Sends nothing."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from h1_training_bringup.arm_driver.parameters import BodyParameters
from h1_training_bringup.arm_driver.weigh import WeighingError, weigh
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node

_SAMPLES = 100
_STANDING_RAD_S = 0.05
_PATIENCE_S = 10.0


class ArmWeighNode(BaseNode):
    """Listens to arm_status until the arms have been held still for two seconds, prints, and ends."""

    def __init__(self) -> None:
        super().__init__("arm_weigh")
        parameters = self.parameters(BodyParameters)
        self._coms = {side: payload.com_m for side, payload in parameters.payloads().items()}
        self._q: list[np.ndarray[Any, Any]] = []
        self._tau: list[np.ndarray[Any, Any]] = []
        self.create_subscription(ArmStatus, "arm_status", self._on_status, qos.STATE)
        self.every(_PATIENCE_S, self._give_up)

    def _on_status(self, status: ArmStatus) -> None:
        if self.exit_status is not None:
            return
        if status.mode != ArmStatus.MODE_HOLD or status.transition or np.abs(status.dq).max() > _STANDING_RAD_S:
            self._q.clear()
            self._tau.clear()
            return
        self._q.append(np.array(status.q, float))
        self._tau.append(np.array(status.tau_est, float))
        if len(self._q) >= _SAMPLES:
            self._report()

    def _report(self) -> None:
        try:
            weights = weigh(np.array(self._q), np.array(self._tau), self._coms)
        except WeighingError as error:
            print(f"cannot weigh: {error}", file=sys.stderr)
            self.end(1)
            return
        for side, weight in weights.items():
            print(f"{side} wrist: {weight.mass_kg:.2f} kg, give or take {weight.tolerance_kg:.2f} kg")
        print("set payload_left_kg and payload_right_kg of arm_driver and arm_guard to what you trust")
        self.end(0)

    def _give_up(self) -> None:
        print("the arms were not held still; bring them to HOLD (the session's WAITING or READY)", file=sys.stderr)
        self.end(1)


def main() -> int:
    return run_node(ArmWeighNode)
