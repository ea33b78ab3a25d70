# SPDX-License-Identifier: Apache-2.0
"""The robot's samples: both layouts, both directions, against rclpy's own serialization and the known checksums."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from unitree_hg.msg import LowCmd, LowState

from h1_training_bringup.arm_driver import wire
from h1_training_bringup.arm_driver.wire import crc32_core

F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
U8, U32, I16 = st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(-(2**15), 2**15 - 1)


def crc_bit_by_bit(words: list[int]) -> int:
    """The robot's checksum as its definition reads; slow."""
    crc = 0xFFFFFFFF
    for word in words:
        for bit in range(31, -1, -1):
            top = crc >> 31
            crc = crc << 1 & 0xFFFFFFFF
            if top != word >> bit & 1:
                crc ^= 0x04C11DB7
    return crc


@st.composite
def low_states(draw: st.DrawFn) -> LowState:
    message = LowState(mode_pr=draw(U8), mode_machine=draw(U8), tick=draw(U32))
    message.version = [draw(U32), draw(U32)]
    message.imu_state.quaternion = [draw(F32) for _ in range(4)]
    message.imu_state.rpy = [draw(F32) for _ in range(3)]
    message.imu_state.temperature = draw(I16)
    for index in (0, 1, 12, 13, 26, 34):
        motor = message.motor_state[index]
        motor.mode, motor.q, motor.dq, motor.ddq, motor.tau_est = draw(U8), draw(F32), draw(F32), draw(F32), draw(F32)
        motor.temperature = [draw(I16), draw(I16)]
        motor.vol, motor.motorstate = draw(F32), draw(U32)
        motor.sensor = [draw(U32), draw(U32)]
        motor.reserve = [draw(U32) for _ in range(4)]
    message.wireless_remote = [draw(U8) for _ in range(40)]
    message.reserve = [draw(U32) for _ in range(4)]
    return message


@st.composite
def low_cmds(draw: st.DrawFn) -> LowCmd:
    message = LowCmd(mode_pr=draw(U8), mode_machine=draw(U8))
    for index in (0, 1, 12, 13, 26, 27, 34):
        motor = message.motor_cmd[index]
        motor.mode, motor.q, motor.dq, motor.tau = draw(U8), draw(F32), draw(F32), draw(F32)
        motor.kp, motor.kd, motor.reserve = draw(F32), draw(F32), draw(U32)
    message.reserve = [draw(U32) for _ in range(4)]
    return message


def state_record(message: LowState) -> wire.Record:
    record = wire.new_low_state()
    for name in ("version", "mode_pr", "mode_machine", "tick", "wireless_remote", "reserve"):
        record[name] = getattr(message, name)
    for name in wire.IMU_STATE.names or ():
        record["imu_state"][name] = getattr(message.imu_state, name)
    for index, motor in enumerate(message.motor_state):
        for name in wire.MOTOR_STATE.names or ():
            record["motor_state"][index][name] = getattr(motor, name)
    return record


def command_record(message: LowCmd) -> wire.Record:
    record = wire.new_low_cmd()
    for name in ("mode_pr", "mode_machine", "reserve"):
        record[name] = getattr(message, name)
    for index, motor in enumerate(message.motor_cmd):
        for name in wire.MOTOR_CMD.names or ():
            record["motor_cmd"][index][name] = getattr(motor, name)
    return record


def test_an_all_zero_command_has_the_known_checksum() -> None:
    assert wire.checksum(wire.new_low_cmd()) == 0xFE172F9F


def test_a_command_to_27_motors_has_the_known_checksum() -> None:
    record = wire.new_low_cmd()
    record["mode_machine"] = 6
    motors = record["motor_cmd"][:27]
    motors["mode"], motors["tau"], motors["kp"], motors["kd"] = 1, 0.5, 140, 3
    motors["q"] = 0.1 * np.arange(27)
    assert wire.checksum(record) == 0x49F3AD43


@given(st.lists(U32, min_size=1, max_size=8))
def test_the_fast_checksum_is_the_slow_one(words: list[int]) -> None:
    assert crc32_core(np.array(words, "<u4").tobytes()) == crc_bit_by_bit(words)


@settings(max_examples=30)
@given(low_states())
def test_a_state_that_rclpy_wrote_is_read_field_for_field(message: LowState) -> None:
    expected = state_record(message)
    message.crc = wire.checksum(expected)
    record = wire.decode_low_state(serialize_message(message))
    expected["crc"] = message.crc
    assert record.tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(low_states())
def test_rclpy_reads_a_state_that_we_wrote_field_for_field(message: LowState) -> None:
    record = state_record(message)
    again = state_record(deserialize_message(wire.encode_low_state(record), LowState))
    again["crc"] = record["crc"]
    assert again.tobytes() == record.tobytes()


@settings(max_examples=30)
@given(low_cmds())
def test_a_command_that_rclpy_wrote_is_read_field_for_field(message: LowCmd) -> None:
    expected = command_record(message)
    message.crc = wire.checksum(expected)
    record = wire.decode_low_cmd(serialize_message(message))
    expected["crc"] = message.crc
    assert record.tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(low_cmds())
def test_rclpy_reads_a_command_that_we_wrote_field_for_field(message: LowCmd) -> None:
    record = command_record(message)
    decoded = deserialize_message(wire.encode_low_cmd(record), LowCmd)
    again = command_record(decoded)
    again["crc"] = decoded.crc
    assert again.tobytes() == record.tobytes()


def test_the_cdr_dtypes_name_what_rclpy_wrote() -> None:
    state = LowState(mode_machine=6, tick=77, crc=99)
    state.imu_state.temperature = -3
    command = LowCmd(mode_machine=6, crc=98)
    for index in range(wire.MOTORS):
        state.motor_state[index].mode, state.motor_state[index].q = index + 1, index / 2
        state.motor_state[index].reserve = [1, 2, 3, index]
        command.motor_cmd[index].mode, command.motor_cmd[index].kd = index + 1, index / 4
    read = np.frombuffer(serialize_message(state), wire.LOW_STATE_CDR)[0]
    assert (read["mode_machine"], read["tick"], read["imu_temperature"], read["crc"]) == (6, 77, -3, 99)
    assert [read["first_mode"], *read["later_modes"]["mode"]] == list(range(1, 36))
    assert read["motor_state"]["q"].tolist() == [index / 2 for index in range(35)]
    assert read["motor_state"]["reserve"][:, 3].tolist() == list(range(35))
    asked = np.frombuffer(serialize_message(command), wire.LOW_CMD_CDR)[0]
    assert (asked["mode_machine"], asked["crc"]) == (6, 98)
    assert [asked["first_mode"], *asked["later_modes"]["mode"]] == list(range(1, 36))
    assert asked["motor_cmd"]["kd"].tolist() == [index / 4 for index in range(35)]


def test_padding_that_a_sender_left_uninitialised_does_not_matter() -> None:
    record = wire.new_low_state()
    record["tick"] = 5
    sample = bytearray(wire.encode_low_state(record))
    used = np.frombuffer(wire.encode_low_state(wire.new_low_state()), np.uint8)
    assert not used[[14, 75, 129]].any(), "these are padding: after mode_machine, and after two motors' mode"
    sample[14] = sample[75] = sample[129] = 0xAB
    assert wire.decode_low_state(bytes(sample)).tobytes() == record.tobytes()


def test_a_sample_that_another_vendor_padded_at_its_end_is_read() -> None:
    sample = wire.encode_low_cmd(wire.new_low_cmd())
    assert wire.decode_low_cmd(sample + b"\xcd" * 4).tobytes() == wire.decode_low_cmd(sample).tobytes()


def test_one_wrong_bit_is_a_wrong_checksum() -> None:
    sample = bytearray(wire.encode_low_state(wire.new_low_state()))
    sample[100] ^= 4
    with pytest.raises(wire.CrcError, match="checksum"):
        wire.decode_low_state(bytes(sample))


@pytest.mark.parametrize("length", [0, 3, 1003, 1100, 2091, 2200])
def test_a_sample_of_another_length_is_refused_by_name(length: int) -> None:
    with pytest.raises(wire.WireError, match=f"{length} bytes"):
        wire.decode_low_state(b"\x00\x01" + bytes(max(length - 2, 0)) if length >= 2 else bytes(length))


@pytest.mark.parametrize("header", ["0000", "0007", "0009", "ffff"])
def test_another_encoding_is_refused_by_name(header: str) -> None:
    sample = bytes.fromhex(header) + wire.encode_low_cmd(wire.new_low_cmd())[2:]
    with pytest.raises(wire.WireError, match=f"0x{header}"):
        wire.decode_low_cmd(sample)


@settings(max_examples=50)
@given(st.binary(max_size=2110))
def test_any_bytes_are_refused_with_a_named_error_or_read(sample: bytes) -> None:
    for decode in (wire.decode_low_state, wire.decode_low_cmd):
        with contextlib.suppress(wire.WireError):
            decode(sample)
