# SPDX-License-Identifier: Apache-2.0
"""What a wrist carries, weighed on the simulated robot, whose masses and friction the model does not know."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import Rig

from h1_training_bringup.arm_driver.arm_weigh_node import ArmWeighNode, WeighingError, weigh
from h1_training_bringup.arm_driver.joints import COUNT
from h1_training_bringup.arm_driver.robot_model import GravityModel, Payload
from h1_training_bringup.sim.robot import RobotParameters
from h1_training_msgs.msg import ArmStatus
from h1_training_node import qos
from h1_training_node.message_numbers import ArmMode
from h1_training_testing import Graph

COMS = {"left": (0.09, 0.0, 0.0), "right": (0.09, 0.0, 0.0)}


def test_an_exact_torque_gives_the_exact_mass() -> None:
    q = np.zeros((5, COUNT))
    tau = GravityModel({"left": Payload(0.7), "right": Payload(0.2)}).gravity_torque(q[0], 0.0) * np.ones((5, 1))
    result = weigh(q, tau, COMS)
    assert result["left"].mass_kg == pytest.approx(0.7)
    assert result["right"].mass_kg == pytest.approx(0.2)


def test_on_a_robot_of_other_masses_it_is_right_within_its_tolerance() -> None:
    rig = Rig(robot_parameters=RobotParameters(seed=2, left_payload_kg=0.8))
    rig.take()
    rig.ask(ArmMode.HOME)
    rig.run_until(lambda: rig.controller.reason == "home_reached", "home")
    rig.run(1.0)
    reading = rig.intake.latest()
    assert reading is not None
    result = weigh(reading.q[None], reading.tau_est[None], COMS)
    assert abs(result["left"].mass_kg - 0.8) <= result["left"].tolerance_kg + 0.15
    assert abs(result["right"].mass_kg) <= result["right"].tolerance_kg + 0.15
    assert result["left"].tolerance_kg < 0.35


def test_a_hanging_arm_says_nothing_and_it_says_what_would() -> None:
    q = np.zeros((1, COUNT))
    q[0, [3, 10]] = np.pi / 2
    with pytest.raises(WeighingError, match="raise the forearm"):
        weigh(q, q, COMS)


def test_the_command_reports_and_ends(graph: Graph, capsys: pytest.CaptureFixture[str]) -> None:
    subject = graph.add(ArmWeighNode())
    publisher = subject.create_publisher(ArmStatus, "arm_status", qos.STATE)
    tau = GravityModel({"left": Payload(0.5)}).gravity_torque(np.zeros(COUNT), 0.0).astype(np.float32)
    status = ArmStatus(mode=ArmStatus.MODE_HOLD, tau_est=tau)
    subject.every(0.005, lambda: publisher.publish(status))
    graph.spin_until(lambda: subject.exit_status is not None, "reported")
    assert subject.exit_status == 0
    assert "left wrist: 0.50 kg" in capsys.readouterr().out
