# SPDX-License-Identifier: Apache-2.0
"""The simulated LowState: right on the wire, upright, plausible; and what injected faults make of it."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sim_robot_builders import MOTORS, Living, command
from unitree_hg.msg import LowState

from h1_training_bringup.arm_driver.joints import FIRST_ARM_MOTOR, REMOTE_BUTTONS, REMOTE_BUTTONS_OFFSET
from h1_training_bringup.arm_driver.wire import CrcError, decode_low_state
from h1_training_bringup.sim.robot import OWN_POSE
from h1_training_bringup.sim.robot_faults import COMMANDS, FaultError


def state(living: Living):
    living.live(0.04)
    sample = living.robot.state_sample()
    assert sample is not None
    return decode_low_state(sample)


def test_its_checksum_is_right_and_the_middleware_reads_the_same_numbers() -> None:
    living = Living()
    living.live(0.1)
    sample = living.robot.state_sample()
    record, message = decode_low_state(sample), deserialize_message(sample, LowState)
    assert message.crc == int(record["crc"])
    np.testing.assert_array_equal([motor.q for motor in message.motor_state], record["motor_state"]["q"])
    np.testing.assert_array_equal([motor.mode for motor in message.motor_state], record["motor_state"]["mode"])
    np.testing.assert_array_equal(message.imu_state.quaternion, record["imu_state"]["quaternion"])
    np.testing.assert_array_equal(message.wireless_remote, record["wireless_remote"])
    assert message.mode_machine == 6 and message.tick == 100


def test_a_healthy_robot_is_upright_enabled_and_warm() -> None:
    record = state(Living())
    motors = record["motor_state"]
    np.testing.assert_array_equal(record["imu_state"]["quaternion"], [1, 0, 0, 0])
    np.testing.assert_allclose(record["imu_state"]["accelerometer"], [0, 0, 9.81], atol=0.01)
    assert (motors["mode"][:27] == 1).all() and (motors["mode"][27:] == 0).all()
    assert ((motors["temperature"][:27] > 25) & (motors["temperature"][:27] < 60)).all()
    np.testing.assert_allclose(motors["q"][MOTORS], OWN_POSE, atol=0.01)


def test_a_motor_that_works_hard_gets_warmer() -> None:
    living = Living()
    before = state(living)["motor_state"]["temperature"][FIRST_ARM_MOTOR].copy()
    living.take(command(tau=np.array([0.0, -30.0] + [0.0] * 13)))
    for _ in range(500):
        living.live(0.04)
        living.robot.state_sample()
    assert (state(living)["motor_state"]["temperature"][FIRST_ARM_MOTOR] > before + 2).all()


def test_clear_makes_all_well_again() -> None:
    living = Living()
    for line in ("bad_crc", "tilt 0.7", "motor_disabled 15", "temperature 16 95", "mode_machine 9", "stuck 14"):
        living.robot.inject(line)
    living.robot.inject("payload left 0.5")
    living.robot.inject("stop_state")
    assert living.robot.state_sample() is None
    living.robot.inject("clear")
    record = state(living)
    assert int(record["mode_machine"]) == 6
    assert (record["motor_state"]["mode"][:27] == 1).all()
    assert (record["motor_state"]["temperature"] < 60).all()


def test_a_bad_crc_is_bad() -> None:
    living = Living()
    living.robot.inject("bad_crc")
    with pytest.raises(CrcError):
        state(living)


def test_a_disabled_motor_reports_it_and_lets_its_joint_fall() -> None:
    living = Living()
    living.robot.inject("motor_disabled 16")
    living.live(2.0)
    record = state(living)
    assert record["motor_state"]["mode"][16] == 0
    assert record["motor_state"]["q"][16] > OWN_POSE[4] + 0.3


def test_a_temperature_a_mode_machine_and_buttons_are_reported_as_injected() -> None:
    living = Living()
    for line in ("temperature 16 95", "mode_machine 9", "remote_button A L2"):
        living.robot.inject(line)
    record = state(living)
    assert record["motor_state"]["temperature"][16].max() == 95
    assert int(record["mode_machine"]) == 9
    at = REMOTE_BUTTONS_OFFSET
    bits = int.from_bytes(record["wireless_remote"][at : at + 2].tobytes(), "little")
    assert {name for index, name in enumerate(REMOTE_BUTTONS) if bits >> index & 1} == {"A", "L2"}


def test_a_tilted_robot_says_so_and_feels_it() -> None:
    living = Living()
    upright = living.robot.body.carrying_torque.copy()
    living.robot.inject("tilt 0.7")
    record = state(living)
    np.testing.assert_allclose(record["imu_state"]["quaternion"], [np.cos(0.35), np.sin(0.35), 0, 0], atol=1e-6)
    assert np.abs(living.robot.body.carrying_torque - upright).max() > 1.0


def test_a_slow_state_is_published_every_nth_time() -> None:
    living = Living()
    living.robot.inject("slow_state 5")
    assert sum(living.robot.state_sample() is not None for _ in range(50)) == 10


def test_a_stuck_joint_stays_and_a_push_moves_the_arm() -> None:
    living = Living()
    living.robot.inject("stuck 16")
    living.take(command(q=OWN_POSE + 0.3, kp=80.0, kd=2.0))
    living.live(1.0)
    assert abs(living.q[4] - OWN_POSE[4]) < 0.01
    pushed = Living()
    pushed.robot.inject("push right 0 0 40")
    pushed.live(1.0)
    assert np.abs(pushed.q[8:] - OWN_POSE[8:]).max() > 0.03


def test_a_payload_makes_a_carried_arm_sink() -> None:
    living = Living(mass_deviation=0.0)
    tau = living.robot.body.carrying_torque
    living.take(command(kd=3.0, tau=tau))
    living.live(1.0)
    before = living.q[4]
    living.robot.inject("payload left 0.5")
    living.live(1.0)
    assert living.q[4] > before + 0.05


@pytest.mark.parametrize(
    "line", ["", "nonsense", "tilt", "tilt much", "temperature 16", "motor_disabled 3", "push left 1"]
)
def test_a_line_that_is_no_fault_is_refused_with_what_would_be_one(line: str) -> None:
    with pytest.raises(FaultError, match=r"known are|expected"):
        Living().robot.inject(line)


def test_every_fault_of_the_list_has_a_usage() -> None:
    assert all(usage.startswith(name) for name, (usage, _) in COMMANDS.items())
