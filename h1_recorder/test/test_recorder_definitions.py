# SPDX-License-Identifier: Apache-2.0
"""Definitions and messages as a journal has them, against rclpy's own serialization."""

from __future__ import annotations

import importlib
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Header, String

from h1_recorder.recorder.definitions import Decoder, DefinitionError, MessageError, parsed, schema_text, stamp_ns
from h1_recorder.recorder.parameters import RecorderParameters
from h1_recorder.recorder.peek import Peek, RawImage, is_same_image, read_image
from h1_training_msgs.msg import ArmStatus, PolicyAction, SessionState


@cache
def decoder(kind: type[Any]) -> Decoder:
    type_name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    return Decoder(schema_text(type_name), type_name)


def decode(message: Any) -> Any:
    return decoder(type(message)).decode(serialize_message(message))


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12)
STAMPS = st.builds(Time, sec=st.integers(0, 2**31 - 1), nanosec=st.integers(0, 10**9 - 1))
FLOATS = st.floats(width=32, allow_nan=False)


def assert_same(decoded: Any, message: Any) -> None:
    """Every field of `message` is in `decoded` with the same value."""
    for name in message.get_fields_and_field_types():
        value, found = getattr(message, name), getattr(decoded, name)
        if hasattr(value, "get_fields_and_field_types"):
            assert_same(found, value)
        elif isinstance(value, str):
            assert found == value
        elif isinstance(value, bytes):
            assert found == value[0]
        elif len(np.atleast_1d(np.asarray(value, object))) and hasattr(
            np.atleast_1d(value)[0], "get_fields_and_field_types"
        ):
            for one, other in zip(found, value, strict=True):
                assert_same(one, other)
        else:
            np.testing.assert_array_equal(np.asarray(found), np.asarray(value))


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, TEXT, STAMPS, st.lists(FLOATS, min_size=14, max_size=14), st.booleans(), st.integers(0, 2**64 - 1))
def test_an_arm_status_with_any_strings_reads_as_rclpy_wrote_it(
    frame: str, reason: str, fault: str, stamp: Time, q: list[float], flag: bool, seq: int
) -> None:
    message = ArmStatus(seq=seq, mode=3, reason=reason, fault=fault, acknowledge_needed=flag, limited=not flag)
    message.header = Header(stamp=stamp, frame_id=frame)
    message.q = q
    message.temperature = list(range(-7, 7))
    message.action_seq = seq
    message.refused_actions = 2**32 - 1
    assert_same(decode(message), message)
    assert stamp_ns(decode(message)) == stamp.sec * 10**9 + stamp.nanosec


@settings(max_examples=40, deadline=None)
@given(TEXT, st.lists(FLOATS, max_size=30), STAMPS)
def test_a_sequence_of_numbers_behind_a_string_reads_as_rclpy_wrote_it(
    frame: str, values: list[float], at: Time
) -> None:
    message = PolicyAction(positions=values, observation_stamp=at, step=-3)
    message.header.frame_id = frame
    assert_same(decode(message), message)
    joints = JointState(name=["a", frame, "ccc"], position=[float(value) for value in values])
    assert_same(decode(joints), joints)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, max_size=5), TEXT, st.floats(0, 3, width=32))
def test_a_sequence_of_strings_reads_as_rclpy_wrote_it(keys: list[str], state: str, countdown: float) -> None:
    message = SessionState(keys=keys, state=state, countdown=countdown, epoch=-1)
    assert_same(decode(message), message)


def test_nested_messages_read_as_rclpy_wrote_them() -> None:
    status = DiagnosticStatus(level=b"\2", name="recorder", values=[KeyValue(key="k", value="v" * 5), KeyValue()])
    message = DiagnosticArray(status=[status, DiagnosticStatus(level=b"\0", message="fine")])
    assert_same(decode(message), message)


def test_an_image_is_a_view_and_not_a_copy() -> None:
    message = CompressedImage(format="jpeg", data=bytes(range(200)))
    message.header = Header(stamp=Time(sec=7, nanosec=5), frame_id="a frame")
    raw = serialize_message(message)
    image = read_image(raw)
    assert (image.stamp_ns, image.format, bytes(image.data)) == (7 * 10**9 + 5, "jpeg", bytes(range(200)))
    assert image.data.obj is raw


@settings(max_examples=100)
@given(TEXT, TEXT, STAMPS, st.binary(max_size=20))
def test_an_image_of_any_strings_reads_as_rosbags_reads_it(frame: str, said: str, at: Time, data: bytes) -> None:
    message = CompressedImage(format=said, data=data, header=Header(stamp=at, frame_id=frame))
    raw, decoded = serialize_message(message), decode(message)
    assert read_image(raw) == RawImage(stamp_ns(decoded), decoded.format, memoryview(bytes(decoded.data)))
    for cut in range(len(raw) - len(data), len(raw)):
        with pytest.raises(MessageError):
            read_image(raw[: cut if data else cut - 4])


def test_the_other_byte_order_reads_too() -> None:
    raw = bytes([0, 0, 0, 0]) + (6).to_bytes(4, "big") + b"hello\0"
    assert decoder(String).decode(raw).data == "hello"
    image = b"\0\0\0\0" + b"".join(part.to_bytes(4, "big") for part in (7, 5, 1)) + b"\0\0\0\0"
    image += (5).to_bytes(4, "big") + b"jpeg\0\0\0\0" + (2).to_bytes(4, "big") + b"\xff\xd8"
    assert read_image(image) == RawImage(7 * 10**9 + 5, "jpeg", memoryview(b"\xff\xd8"))


@pytest.mark.parametrize("raw", [b"", b"\0\1", b"\0\7\0\0\1\0\0\0", b"\1\1\0\0"])
def test_what_is_not_plain_cdr_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        decoder(String).decode(raw)
    with pytest.raises(MessageError):
        read_image(raw)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_message_cut_anywhere_is_refused_and_never_misread(cut: int) -> None:
    message = SessionState(state="EXECUTING", keys=["s", "q"], reason="because")
    raw = serialize_message(message)
    cut %= len(raw)
    try:
        decoded = decoder(SessionState).decode(raw[:cut])
    except MessageError:
        return
    assert_same(decoded, message)  # only padding was cut


def test_a_length_that_cannot_be_is_refused_without_allocating_it() -> None:
    raw = b"\0\1\0\0" + (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(MessageError, match="String"):
        decoder(String).decode(raw)


def test_constants_comments_bounds_and_defaults_are_understood() -> None:
    text = 'uint8 A=1 # one\nstring B="x # y"\nfloat32[<=5] v\nstring<=9 s "a=b"\nOther[3] o\nstd_msgs/Header h\n'
    fields = parsed(text, "pkg/msg/Thing")["pkg/msg/Thing"]
    assert [name for name, _ in fields] == ["v", "s", "o", "h"]


def test_a_text_that_is_no_definition_is_named() -> None:
    with pytest.raises(DefinitionError, match="pkg/msg/Thing"):
        parsed("uint8 a\n1 plus 1\n", "pkg/msg/Thing")


def test_a_schema_holds_every_type_once() -> None:
    text = schema_text("h1_training_msgs/msg/ArmStatus")
    assert text.count("MSG: builtin_interfaces/Time") == 1
    assert set(parsed(text, "h1_training_msgs/msg/ArmStatus")) == {
        "h1_training_msgs/msg/ArmStatus",
        "std_msgs/msg/Header",
        "builtin_interfaces/msg/Time",
    }


def test_a_type_that_is_not_installed_is_named() -> None:
    with pytest.raises(DefinitionError, match="no_such_package"):
        schema_text("no_such_package/msg/Thing")


@pytest.mark.parametrize(
    "stream",
    RecorderParameters().streams(),
    ids=lambda stream: str(stream.name),
)
def test_an_empty_message_of_every_recorded_stream_reads(stream: Any) -> None:
    package, _, name = stream.type.split("/")
    message = getattr(importlib.import_module(f"{package}.msg"), name)()
    assert_same(decode(message), message)


def test_not_a_number_survives() -> None:
    message = ArmStatus()
    message.q = [math.nan] * 14
    assert all(map(math.isnan, decode(message).q))


def test_all_topics_of_the_default_parameters_are_recorded_once() -> None:
    topics = [stream.topic for stream in RecorderParameters().streams()]
    assert len(topics) == len(set(topics)) == 15


def test_images_are_the_same_if_nothing_but_their_stamp_differs() -> None:
    def raw(sec: int, data: bytes) -> bytes:
        message = CompressedImage(format="jpeg", data=data)
        message.header.stamp.sec = sec
        return bytes(serialize_message(message))

    image = bytes(range(256)) * 4
    middle = bytearray(image)
    middle[300] ^= 1
    assert is_same_image(raw(1, image), raw(2, image))
    assert not is_same_image(raw(1, image), raw(1, bytes(middle)))
    assert not is_same_image(raw(1, image), raw(1, image[:-1]))
    assert not is_same_image(b"", raw(1, image))


@given(TEXT, TEXT, STAMPS, st.integers(0, 4))
@settings(max_examples=50)
def test_the_quick_look_at_the_arms_sees_what_the_message_says(text: str, fault: str, at: Time, mode: int) -> None:
    message = ArmStatus(mode=mode, reason=text, fault=fault, seq=2**40 + mode, q=[1.0] * 14, tau_est=[2.0] * 14)
    message.header = Header(stamp=at, frame_id=text)
    type_name = "h1_training_msgs/msg/ArmStatus"
    peek = Peek("arm_status", schema_text(type_name), type_name)
    raw = bytes(serialize_message(message))
    seen = peek.read(raw)
    assert (seen.stamp_ns, seen.seq, seen.mode, seen.text) == (stamp_ns(message), 2**40 + mode, mode, text)
    assert seen.measured == np.array([1.0] * 14 + [0.0] * 14 + [2.0] * 14, "<f4").tobytes()
    assert all(peek.read(raw[:cut]).mode is None for cut in range(len(text), 30))


@given(TEXT, TEXT, STAMPS)
@settings(max_examples=50)
def test_the_quick_look_at_the_session_sees_its_state(frame: str, state: str, at: Time) -> None:
    message = SessionState(seq=9, state=state, prompt="p", header=Header(stamp=at, frame_id=frame))
    type_name = "h1_training_msgs/msg/SessionState"
    seen = Peek("session/state", schema_text(type_name), type_name).read(bytes(serialize_message(message)))
    assert (seen.stamp_ns, seen.seq, seen.text, seen.mode) == (stamp_ns(message), 9, state, None)


def test_a_definition_that_is_another_than_expected_is_not_looked_into() -> None:
    peek = Peek("arm_status", schema_text("std_msgs/msg/String"), "std_msgs/msg/String")
    assert peek.read(bytes(serialize_message(String(data="x")))).stamp_ns is None
    header_only = Peek("arm_status", schema_text("sensor_msgs/msg/JointState"), "sensor_msgs/msg/JointState")
    message = JointState(header=Header(stamp=Time(sec=3)))
    seen = header_only.read(bytes(serialize_message(message)))
    assert (seen.stamp_ns, seen.seq, seen.mode) == (3 * 10**9, None, None)
