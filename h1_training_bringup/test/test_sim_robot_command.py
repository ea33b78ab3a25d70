# SPDX-License-Identifier: Apache-2.0
"""What the simulated robot takes from arm_sdk, and what it refuses and says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_robot_builders import MODE_MACHINE, MS, broken_crc, command

from h1_training_bringup.sim.robot import ArmSdkInbox


def test_a_command_is_latched_with_its_weight() -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    assert inbox.take(command(q=np.arange(15) / 10, kp=50, kd=2, tau=1, weight=0.25), 0) is None
    np.testing.assert_allclose(inbox.motors.q, np.arange(15) / 10, atol=1e-6)
    assert inbox.weight == 0.25
    assert inbox.counters.accepted == 1


def test_a_wrong_crc_is_refused_counted_and_said_once_a_burst() -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    inbox.take(command(q=0.1), 0)
    said = [inbox.take(broken_crc(command(q=0.9)), index * 4 * MS) for index in range(10)]
    assert said[0] is not None and "wrong CRC" in said[0]
    assert said[1:] == [None] * 9
    assert inbox.counters.wrong_crc == 10
    assert inbox.motors.q[0] == pytest.approx(0.1)
    assert inbox.take(broken_crc(command()), 5_000 * MS) is not None


def test_another_message_is_refused_as_malformed() -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    assert inbox.take(b"\x00\x01\x00\x00" + bytes(100), 0) is not None
    assert inbox.counters.malformed == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_whole(value: float) -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    inbox.take(command(q=0.1, weight=0.5), 0)
    assert inbox.take(command(q=value), 1) is not None
    assert inbox.take(command(weight=value), 2) is None, "the same burst"
    assert inbox.counters.not_finite == 2
    assert inbox.weight == 0.5 and np.isfinite(inbox.motors.q).all()


def test_a_foreign_mode_machine_is_obeyed_but_said() -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    said = inbox.take(command(weight=0.3, mode_machine=0), 0)
    assert said is not None and "mode_machine 0" in said
    assert inbox.weight == pytest.approx(0.3)


def test_only_no_stiffness_with_damping_and_weight_lets_a_person_move_the_arms() -> None:
    for asked, compliant in (
        ({"kp": 0.0, "kd": 2.0, "weight": 1.0}, True),
        ({"kp": 0.0, "kd": 2.0, "weight": 0.0}, False),
        ({"kp": 0.0, "kd": 0.0, "weight": 1.0}, False),
        ({"kp": 10.0, "kd": 2.0, "weight": 1.0}, False),
    ):
        inbox = ArmSdkInbox(MODE_MACHINE)
        inbox.take(command(**asked), 0)
        assert inbox.is_compliant is compliant, asked


def test_a_stiff_waist_does_not_make_the_arms_stiff() -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    inbox.take(command(kp=np.array([200.0] + [0.0] * 14), kd=2.0), 0)
    assert inbox.is_compliant


@settings(max_examples=50)
@given(sample=st.binary(max_size=1100), weight=st.floats(-10, 10))
def test_whatever_arrives_the_weight_stays_between_nothing_and_all(sample: bytes, weight: float) -> None:
    inbox = ArmSdkInbox(MODE_MACHINE)
    inbox.take(command(weight=weight), 0)
    inbox.take(sample, 1)
    assert 0 <= inbox.weight <= 1
