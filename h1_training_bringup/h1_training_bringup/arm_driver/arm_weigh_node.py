# SPDX-License-Identifier: Apache-2.0
"""`arm_driver weigh`: hold the arms still, read their torques, report what the wrists carry. Sends nothing.

Every joint of a side says something about the mass at its wrist: the torque beyond that of the bare arm, over the
torque that one kilogram there would ask. Friction hides up to a known torque in each, which is the figure's tolerance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.utilities import remove_ros_args

from h1_training_bringup.arm_driver.joints import COUNT, Joints
from h1_training_bringup.arm_driver.parameters import BodyParameters
from h1_training_bringup.arm_driver.robot_model import SIDES, GravityModel, Payload
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.node_main import run_node

_SAMPLES = 100
_STANDING_RAD_S = 0.05
_PATIENCE_S = 10.0
_FRICTION_NM = np.array([1.0, 1.0, 0.6, 0.6, 0.3, 0.3, 0.3])
"""N·m, shoulder to wrist, that a standing joint may hold by friction; no public source, moderate for such gears."""
_LEAST_LEVER_NM_PER_KG = 1.0


class WeighingError(ValueError):
    """The pose says nothing about the mass; the text says what would."""


@dataclass(frozen=True)
class Weight:
    """A payload as measured: `mass_kg` give or take `tolerance_kg`."""

    mass_kg: float
    tolerance_kg: float


def weigh(
    q: NDArray[np.float64], tau: NDArray[np.float64], coms: Mapping[str, tuple[float, float, float]]
) -> dict[str, Weight]:
    """Payload of each wrist of an upright robot.

    Args:
        q, tau: (n, 14), rad and N·m, measured while the arms stood still.
        coms: by side, m, where the payload's mass is in the frame of the wrist_yaw_link.

    Raises:
        WeighingError: the arms hang so that a mass at the wrist would hardly be felt.
    """
    pose, torque = q.mean(axis=0), tau.mean(axis=0)
    bare = GravityModel().gravity_torque(pose, 0.0)
    result = {}
    for index, side in enumerate(SIDES):
        joints = slice(index * COUNT // 2, (index + 1) * COUNT // 2)
        lever: Joints = (GravityModel({side: Payload(1.0, coms[side])}).gravity_torque(pose, 0.0) - bare)[joints]
        # Weighted by what friction can hide: a wrist that feels little friction counts for more.
        certainty = lever / _FRICTION_NM**2
        total = float(certainty @ lever)
        if np.abs(lever).max() < _LEAST_LEVER_NM_PER_KG:
            raise WeighingError(f"the {side} arm hangs straight down; raise the forearm, e.g. to the home pose")
        mass = float(certainty @ (torque - bare)[joints]) / total
        result[side] = Weight(mass, float(np.abs(certainty) @ _FRICTION_NM) / total)
    return result


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
    """Entry point of `arm_driver weigh`."""
    parser = argparse.ArgumentParser(prog="arm_driver weigh", description=(__doc__ or "").partition("\n")[0])
    parser.parse_args(remove_ros_args(sys.argv)[1:])
    return run_node(ArmWeighNode)
