# SPDX-License-Identifier: Apache-2.0
"""The simulated robot as a body: it falls, holds, gives way and obeys weights as a robot does."""

from __future__ import annotations

import numpy as np
import pytest
from sim_robot_builders import MS, Living, command

from h1_training_bringup.arm_driver.joints import EFFORT
from h1_training_bringup.arm_driver.robot_model import GravityModel
from h1_training_bringup.sim.robot import OWN_POSE
from h1_training_bringup.sim.robot_body import DOFS, MotorCommands, RobotBody, deviating_masses

KP = np.array([200.0, *[140, 140, 80, 80, 50, 50, 50] * 2])
KD = np.array([5.0, *[3, 3, 2, 2, 1, 1, 1] * 2])


def test_without_a_command_its_own_controller_keeps_its_pose() -> None:
    living = Living()
    living.live(2.0)
    np.testing.assert_allclose(living.q, OWN_POSE, atol=0.01)


def test_without_any_torque_the_arms_fall_and_come_to_rest() -> None:
    living = Living()
    living.take(command(weight=1.0))
    living.live(4.0)
    left_elbow = 4
    assert living.q[left_elbow] > 1.2
    assert np.abs(living.dq).max() < 0.2


def test_stiff_motors_hold_another_pose_within_what_gravity_asks() -> None:
    living = Living()
    pose = OWN_POSE + 0.2
    living.take(command(q=pose, kp=KP, kd=KD))
    living.live(3.0)
    np.testing.assert_allclose(living.q, pose, atol=0.15)
    assert np.abs(living.dq).max() < 0.02


def test_light_wrists_stay_stable_under_much_more_damping_than_a_driver_asks_for() -> None:
    living = Living(friction_scale=0.0)
    living.take(command(q=OWN_POSE + 0.1, kp=KP, kd=8.0))
    living.live(2.0)
    assert np.abs(living.dq).max() < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_damping_and_nominal_gravity_torque_the_arms_stay_about_where_they_are_let_go(seed: int) -> None:
    living = Living(seed=seed)
    nominal = GravityModel()
    begun = living.q

    def carry() -> None:
        q = living.q
        tau = np.concatenate([[0.0], nominal.gravity_torque(q[1:], q[0])])
        living.take(command(kd=3.0, tau=tau))

    living.live(3.0, each_tick=carry)
    assert np.abs(living.q - begun).max() < 0.1


def test_a_pull_at_the_wrist_moves_compliant_arms() -> None:
    living = Living(mass_deviation=0.0)
    begun = living.q
    living.take(command(kd=2.0, tau=living.robot.body.carrying_torque))
    living.live(1.0, person_n=np.array([[0.0, 0.0, 15.0], [0.0, 0.0, 0.0]]))
    moved = np.abs(living.q - begun)
    assert moved[1:8].max() > 0.2
    assert moved[8:].max() < 0.05


def test_motor_torque_never_exceeds_what_the_motor_can_do() -> None:
    living = Living()
    living.take(command(q=3.0, kp=5000.0, kd=1.0))
    largest = np.zeros(DOFS)
    for _ in range(200):
        living.live(0.002)
        largest = np.maximum(largest, np.abs(living.robot.body.tau))
    assert (largest[1:] <= EFFORT + 1e-6).all()
    assert (largest[1:] > 0.9 * EFFORT).any()


def test_half_the_weight_makes_a_compromise_between_both_controllers() -> None:
    pose = OWN_POSE.copy()
    pose[4] += 0.4
    ends = []
    for weight in (0.0, 0.5, 1.0):
        living = Living(mass_deviation=0.0, friction_scale=0.1)
        tau = living.robot.body.carrying_torque
        living.take(command(q=pose, kp=KP, kd=KD, tau=tau, weight=weight))
        living.live(2.0)
        ends.append(living.q[4])
    assert ends[0] == pytest.approx(OWN_POSE[4], abs=0.01)
    assert ends[0] + 0.1 < ends[1] < ends[2] - 0.1
    assert ends[2] == pytest.approx(pose[4], abs=0.03)


def test_giving_the_weight_back_is_motion_to_its_own_pose() -> None:
    living = Living()
    living.take(command(q=OWN_POSE + 0.3, kp=KP, kd=KD))
    living.live(2.0)
    living.take(command(q=OWN_POSE + 0.3, kp=KP, kd=KD, weight=0.0))
    living.live(2.0)
    np.testing.assert_allclose(living.q, OWN_POSE, atol=0.03)


def test_the_last_command_stays_when_commands_stop() -> None:
    living = Living()
    pose = OWN_POSE + 0.2
    living.take(command(q=pose, kp=KP, kd=KD))
    living.live(1.0)
    held = living.q
    living.live(5.0)
    np.testing.assert_allclose(living.q, held, atol=0.01)


def test_masses_differ_by_seed_and_stay_within_the_share() -> None:
    first, again, other = deviating_masses(1, 0.1), deviating_masses(1, 0.1), deviating_masses(2, 0.1)
    assert first == again != other
    assert all(0.9 <= factor <= 1.1 for factor in first.values())
    assert max(abs(factor - 1) for factor in first.values()) > 0.05


def test_a_payload_asks_for_more_torque_and_does_not_stop_the_motion() -> None:
    body = RobotBody(OWN_POSE)
    body.command(MotorCommands(dq=np.full(DOFS, 0.2), kd=np.full(DOFS, 5.0)))
    body.step(50)
    q, dq, before = body.q.copy(), body.dq.copy(), body.carrying_torque.copy()
    body.set_payload(0, 0.5)
    np.testing.assert_array_equal(body.q, q)
    np.testing.assert_array_equal(body.dq, dq)
    extra = body.carrying_torque - before
    assert extra[4] < -0.5
    assert np.abs(extra[8:]).max() < 0.05


def test_a_late_caller_makes_it_catch_up_but_never_by_more_than_a_bound() -> None:
    living = Living()
    living.live(0.1)
    living.now_ns += 5_000 * MS
    living.robot.advance(living.now_ns)
    assert living.robot.lost_ns == pytest.approx(4_950 * MS)
    lost = living.robot.lost_ns
    living.live(0.5)
    assert living.robot.lost_ns == lost


def test_a_small_delay_is_caught_up_whole() -> None:
    living = Living()
    living.now_ns += 40 * MS
    living.robot.advance(living.now_ns)
    assert living.robot.body._data.time == pytest.approx(0.040)
    assert living.robot.lost_ns == 0
