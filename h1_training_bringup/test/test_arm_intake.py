# SPDX-License-Identifier: Apache-2.0
"""From samples to the newest good reading; what is dropped is counted and reported once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from arm_builders import MS, START_NS

from h1_training_bringup.arm_driver.intake import StateIntake
from h1_training_bringup.arm_driver.joints import ARM_MOTORS, NAMES, REMOTE_BUTTONS
from h1_training_bringup.arm_driver.sensed import Sensed, button_bit
from h1_training_bringup.arm_driver.wire import Record, encode_low_state, new_low_state


def good_state() -> Record:
    record = new_low_state()
    record["imu_state"]["quaternion"] = [1, 0, 0, 0]
    record["motor_state"]["mode"] = 1
    record["mode_machine"] = 6
    return record


_COUNT = itertools.count(1)


def sample_of(record: Record) -> bytes:
    """As the next one of a living robot: its tick goes on, and no two readings are alike."""
    state = new_low_state()
    state[...] = record
    if state["tick"] == 0:
        state["tick"] = 2 * next(_COUNT)
        state["motor_state"]["tau_est"][13] += 1e-3 * int(state["tick"])
    return encode_low_state(state)


def intake_with(*records: Record) -> StateIntake:
    intake = StateIntake(gap_ns=50 * MS)
    for index, record in enumerate(records):
        intake.receive(sample_of(record), START_NS + index * 2 * MS)
    return intake


def test_a_reading_has_every_value_from_its_own_motor() -> None:
    record = good_state()
    motors = record["motor_state"]
    numbers = np.arange(35)
    motors["q"], motors["dq"], motors["tau_est"] = numbers / 100, numbers / 10, -numbers
    motors["temperature"][:, 0], motors["temperature"][:, 1] = numbers, 60 - numbers
    record["wireless_remote"][2:4] = [0, 0b10]
    record["tick"] = 77
    reading = intake_with(record).latest()
    assert reading is not None
    np.testing.assert_allclose(reading.q, numbers[ARM_MOTORS] / 100, atol=1e-6)
    np.testing.assert_allclose(reading.dq, numbers[ARM_MOTORS] / 10, atol=1e-6)
    np.testing.assert_allclose(reading.tau_est, -numbers[ARM_MOTORS])
    assert reading.temperature == tuple(max(n, 60 - n) for n in range(13, 27))
    assert reading.waist_q == pytest.approx(0.12)
    assert (reading.mode_machine, reading.tick, reading.motor_fault, reading.stamp_ns) == (6, 77, "", START_NS)
    assert [button for button in REMOTE_BUTTONS if reading.buttons & button_bit(button)] == ["B"]
    assert button_bit("none") == 0


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("mode", 0, "is disabled"),
        ("mode", 8, "is in mode 8"),
        ("motorstate", 0x201, "reports motorstate 0x201 (of a G1: over-current, winding overheated)"),
        ("motorstate", 0x4000000, "reports motorstate 0x4000000 (no published meaning)"),
    ],
)
def test_what_one_motor_of_waist_or_arms_reports_is_named_with_its_code(field: str, value: int, fault: str) -> None:
    for motor, name in ((12, "torso_joint"), (13, NAMES[0]), (26, NAMES[-1])):
        record = good_state()
        record["motor_state"][field][motor] = value
        reading = intake_with(record).latest()
        assert reading is not None and reading.motor_fault == f"{name} {fault}"
    record = good_state()
    record["motor_state"][field][[0, 11, 27]] = value
    reading = intake_with(record).latest()
    assert reading is not None and reading.motor_fault == "", "the legs are the robot's own controller's"


def test_a_waist_that_cannot_be_is_named_dropped_or_seen_to_leap_like_any_joint() -> None:
    record = good_state()
    record["motor_state"]["q"][12] = 3.0
    reading = intake_with(record).latest()
    assert reading is not None and reading.out_of_range == "torso_joint"
    record["motor_state"]["q"][12] = 100.0
    assert intake_with(record).latest() is None
    calm, leapt = good_state(), good_state()
    leapt["motor_state"]["q"][12] = 1.0
    intake = intake_with(calm)
    assert intake.latest() is not None
    intake.receive(sample_of(leapt), START_NS + 4 * MS)
    reading = intake.latest()
    assert reading is not None and reading.waist_q == 0.0 and intake.bad_states == 1


def test_what_counts_as_harmless_is_no_fault_and_is_reported_once_and_the_rest_is_one() -> None:
    intake = StateIntake(50 * MS, 0x4000 | 0x80)
    for number, code in enumerate([0x4000, 0x4000, 0x4001, 0x4000]):
        record = good_state()
        record["motor_state"]["motorstate"][16], record["tick"] = code, 77 + number
        record["motor_state"]["dq"][13] = number
        intake.receive(encode_low_state(record), START_NS + number * 2 * MS)
        reading = intake.latest()
        assert reading is not None and reading.tick == 77 + number
        harmful = "left_elbow_joint reports motorstate 0x1 (of a G1: over-current)"
        assert reading.motor_fault == (harmful if code == 0x4001 else "")
    (notice,) = intake.notices
    assert notice.reason == "motorstate_ignored"
    assert notice.detail.startswith("left_elbow_joint reports motorstate 0x4000 (of a G1: abnormal reset); no fault")


def test_a_motor_that_is_not_enabled_is_a_fault_whatever_counts_as_harmless() -> None:
    record = good_state()
    record["motor_state"]["mode"][16] = 8
    intake = StateIntake(50 * MS, 0xFFFFFFFF)
    intake.receive(encode_low_state(record), START_NS)
    reading = intake.latest()
    assert reading is not None and reading.motor_fault == "left_elbow_joint is in mode 8"


def test_a_joint_measured_beyond_its_range_is_a_reading_like_any_other() -> None:
    record = good_state()
    record["motor_state"]["q"][20] = 3.0
    reading = intake_with(record).latest()
    assert reading is not None and reading.q[7] == pytest.approx(3.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 13.0])
def test_a_position_that_cannot_be_is_dropped_and_counted(value: float) -> None:
    record = good_state()
    record["motor_state"]["q"][20] = value
    intake = intake_with(good_state(), record)
    intake.receive(sample_of(record), START_NS + 4 * MS)
    assert intake.latest() is None
    assert intake.bad_states == 1 and [notice.reason for notice in intake.notices] == ["state_bad"]


def test_a_joint_that_is_suddenly_elsewhere_is_a_wrong_reading_and_the_next_right_one_is_taken() -> None:
    glitch = good_state()
    glitch["motor_state"]["q"][16] = 1.0
    intake = StateIntake(gap_ns=50 * MS)
    for index, record in enumerate([good_state(), glitch, good_state()]):
        intake.receive(sample_of(record), START_NS + index * 2 * MS)
        reading = intake.latest()
        assert reading is not None and not reading.q.any()
    assert intake.bad_states == 1 and reading.stamp_ns == START_NS + 4 * MS
    for n in range(3, 60):  # it stays there: then it is so
        intake.receive(sample_of(glitch), START_NS + n * 2 * MS)
        reading = intake.latest()
    assert reading is not None and reading.q[3] == 1.0


def test_a_state_without_imu_is_no_good_state() -> None:
    record = good_state()
    record["imu_state"]["quaternion"] = 0
    assert Sensed.from_record(record, 0) is None


def test_a_sample_of_another_type_is_dropped_and_counted() -> None:
    intake = intake_with(good_state())
    intake.receive(b"\x00\x01\x00\x00hello", START_NS + 2 * MS)
    assert intake.latest() is not None and intake.bad_states == 1


def test_the_newest_of_several_is_read() -> None:
    records = [good_state() for _ in range(3)]
    for index, record in enumerate(records):
        record["mode_machine"] = index
    reading = intake_with(*records).latest()
    assert reading is not None and reading.mode_machine == 2


def test_a_gap_begins_the_run_of_good_states_again() -> None:
    intake = StateIntake(gap_ns=50 * MS)
    now_ns = START_NS
    for _ in range(100):
        now_ns += 2 * MS
        intake.receive(sample_of(good_state()), now_ns)
        intake.latest()
    assert intake.good_for_ns(now_ns) == 198 * MS
    assert intake.good_for_ns(now_ns + 60 * MS) == 0
    intake.receive(sample_of(good_state()), now_ns + 80 * MS)
    intake.latest()
    assert intake.good_for_ns(now_ns + 80 * MS) == 0


def test_the_rate_is_of_the_last_second() -> None:
    intake = StateIntake(gap_ns=50 * MS)
    for index in range(600):
        intake.receive(sample_of(good_state()), START_NS + index * 5 * MS)
    intake.latest()
    assert intake.rate(START_NS + 599 * 5 * MS) == pytest.approx(200, abs=1)
    assert intake.rate(START_NS + 600 * 5 * MS + 2000 * MS) == 0.0


def test_what_is_kept_of_the_past_does_not_grow_though_nobody_asks_for_the_rate() -> None:
    intake = intake_with()
    for n in range(3000):  # the guard looks 50 times a second, and never at the rate
        intake.receive(sample_of(good_state()), START_NS + n * 20 * MS)
        intake.latest()
    assert len(intake._arrivals) <= 51
    assert intake.rate(START_NS + 2999 * 20 * MS) == pytest.approx(50, abs=1)


def test_what_is_wrong_with_states_that_arrive_is_said_until_a_good_one_comes_or_none_at_all() -> None:
    intake = intake_with(good_state())
    assert intake.latest() is not None and intake.unusable(START_NS) == ""
    bad = good_state()
    bad["motor_state"]["q"][15] = float("nan")
    intake.receive(sample_of(bad), START_NS + 2 * MS)
    intake.latest()
    assert "cannot be" in intake.unusable(START_NS + 3 * MS)
    assert intake.unusable(START_NS + 60 * MS) == "", "nothing comes any more: that is another thing"
    intake.receive(sample_of(good_state()), START_NS + 4 * MS)
    intake.latest()
    assert intake.unusable(START_NS + 5 * MS) == ""
