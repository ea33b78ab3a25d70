# SPDX-License-Identifier: Apache-2.0
"""How the arms move while they are released: the robot's own controller pulls, DAMPING holds against it."""

from __future__ import annotations

import numpy as np
import pytest
from arm_builders import Rig
from arm_builders import arm_sdk_timeout as arm_sdk_timeout
from arm_duo import Duo
from arm_scenarios import ARMS_AHEAD, FORWARD_REACH, both_arms, place
from numpy.testing import assert_allclose

from h1_training_bringup.sim.robot_body import deviating_masses
from h1_training_node.message_numbers import ArmMode

pytestmark = pytest.mark.usefixtures("arm_sdk_timeout")
"""Whatever the robot does when nothing is sent to it."""


@pytest.mark.parametrize("pose", [FORWARD_REACH, ARMS_AHEAD])
def test_raised_arms_go_back_at_no_more_than_two_and_a_half_rad_s(pose: tuple[float, ...]) -> None:
    rig = Rig()
    rig.take()
    place(rig, both_arms(pose), deviating_masses(1, 0.1))
    assert rig.ask(ArmMode.DAMPING) == ""
    rig.run(1.0)
    assert rig.controller.release(rig.now_ns).accepted
    speeds: list[float] = []
    rig.run_until(lambda: speeds.append(float(np.abs(rig.dq).max())) or rig.mode is ArmMode.RELEASED, "released")
    assert max(speeds) < 2.5


@pytest.mark.parametrize("by_guard", [False, True])
def test_while_the_weight_falls_the_braking_damping_holds_and_in_the_warning_a_person_can_still_guide(
    by_guard: bool,
) -> None:
    duo = Duo()
    duo.take()
    assert duo.ask(ArmMode.DAMPING) == ""
    duo.driver_runs = not by_guard
    duo.run(1.0)
    sent = duo.guard_sent if by_guard else duo.sent
    begin = len(sent)
    assert (duo.guard if by_guard else duo.controller).release(duo.now_ns).accepted
    duo.run(6.2)
    commands = [command for _, command in sent[begin:]]
    warned = [command for command in commands if command.weight == 1.0]
    falling = [command for command in commands if 0.0 < command.weight < 0.99]
    assert_allclose(warned[-2].kd, duo.joints.kd_damping)
    assert len(falling) > 700
    for command in falling:
        assert_allclose(command.kd, duo.joints.kd_brake)


def test_a_release_that_is_stopped_by_an_emergency_stop_leaves_arms_that_can_be_guided() -> None:
    rig = Rig()
    rig.take()
    assert rig.ask(ArmMode.DAMPING) == "" and rig.controller.release(rig.now_ns).accepted
    rig.run(4.0)
    assert_allclose(rig.sent[-1][1].kd, rig.joints.kd_brake)
    rig.controller.emergency_stop(rig.now_ns, "a test", "")
    rig.run(1.0)
    assert_allclose(rig.sent[-1][1].kd, rig.joints.kd_damping)
