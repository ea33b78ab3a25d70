"""The CDR reader against rclpy's own serialization."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import Empty, Header, String

from h1_recorder.recorder.cdr import CdrError, Layout, stamp_ns
from h1_recorder.recorder.config import RecorderParameters
from h1_recorder.recorder.definitions import DefinitionError, Field, parse_fields, parse_schema, schema_text
from h1_training_msgs.msg import ArmStatus, PolicyAction, SessionState


def layout_of(message: Any, until: str | None = None) -> Layout:
    package = type(message).__module__.split(".")[0]
    type_name = f"{package}/msg/{type(message).__name__}"
    return Layout(schema_text(type_name), type_name, until)


def decode(message: Any, until: str | None = None) -> dict[str, Any]:
    return layout_of(message, until).decode(serialize_message(message))


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12)
STAMPS = st.builds(Time, sec=st.integers(0, 2**31 - 1), nanosec=st.integers(0, 10**9 - 1))
FLOATS = st.floats(width=32, allow_nan=False)


def assert_same(decoded: dict[str, Any], message: Any, prefix: str = "") -> None:
    """Every field of `message` is in `decoded` with the same value."""
    for name in message.get_fields_and_field_types():
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            assert_same(decoded, value, f"{prefix}{name}.")
        elif isinstance(value, str):
            assert decoded[prefix + name] == value
        elif isinstance(value, bytes):
            assert decoded[prefix + name] == value[0]
        elif len(np.atleast_1d(np.asarray(value, object))) and hasattr(
            np.atleast_1d(value)[0], "get_fields_and_field_types"
        ):
            for one, other in zip(decoded[prefix + name], value, strict=True):
                assert_same(one, other)
        else:
            np.testing.assert_array_equal(np.asarray(decoded[prefix + name]), np.asarray(value))


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


def test_a_message_without_fields_reads() -> None:
    assert decode(Empty()) == {"structure_needs_at_least_one_member": 0}


def test_image_data_is_a_view_and_not_a_copy() -> None:
    raw = serialize_message(CompressedImage(format="jpeg", data=bytes(range(200))))
    data = layout_of(CompressedImage()).decode(raw)["data"]
    assert isinstance(data, memoryview)
    assert bytes(data) == bytes(range(200))
    assert data.obj is raw


def test_reading_stops_behind_the_last_field_that_is_wanted() -> None:
    decoded = decode(ArmStatus(seq=5, mode=4, reason="requested"), until="reason")
    assert (decoded["seq"], decoded["mode"]) == (5, 4)
    assert "acknowledge_needed" not in decoded


def test_the_other_byte_order_reads_too() -> None:
    raw = bytes([0, 0, 0, 0]) + (6).to_bytes(4, "big") + b"hello\0"
    assert layout_of(String()).decode(raw) == {"data": "hello"}


@pytest.mark.parametrize("raw", [b"", b"\0\1", b"\0\7\0\0\1\0\0\0", b"\1\1\0\0"])
def test_what_is_not_plain_cdr_is_refused(raw: bytes) -> None:
    with pytest.raises(CdrError):
        layout_of(String()).decode(raw)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_message_cut_anywhere_is_refused_and_never_misread(cut: int) -> None:
    message = SessionState(state="EXECUTING", keys=["s", "q"], reason="because")
    raw = serialize_message(message)
    cut %= len(raw)
    try:
        decoded = layout_of(message).decode(raw[:cut])
    except CdrError:
        return
    assert_same(decoded, message)  # only padding was cut


def test_a_length_that_cannot_be_is_refused_without_allocating_it() -> None:
    raw = b"\0\1\0\0" + (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(CdrError, match="announced"):
        layout_of(String()).decode(raw)


def test_an_unknown_field_to_stop_at_is_named() -> None:
    with pytest.raises(CdrError, match="no field 'sequence'; it has header, seq"):
        layout_of(ArmStatus(), until="sequence")


def test_constants_comments_bounds_and_defaults_are_understood() -> None:
    fields = parse_fields(
        'uint8 A=1 # one\nstring B="x # y"\nfloat32[<=5] v\nstring<=9 s "a=b"\nOther[3] o\nHeader h\n', "pkg"
    )
    assert fields == (
        Field("v", "float32", -1),
        Field("s", "string", None),
        Field("o", "pkg/Other", 3),
        Field("h", "std_msgs/Header", None),
    )


def test_a_line_that_is_no_definition_is_named() -> None:
    with pytest.raises(DefinitionError, match="1 plus 1"):
        parse_fields("uint8 a\n1 plus 1\n", "pkg")


def test_a_schema_holds_every_type_once() -> None:
    text = schema_text("h1_training_msgs/msg/ArmStatus")
    assert text.count("MSG: builtin_interfaces/Time") == 1
    assert set(parse_schema(text, "h1_training_msgs/msg/ArmStatus")) == {
        "h1_training_msgs/ArmStatus",
        "std_msgs/Header",
        "builtin_interfaces/Time",
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
    assert all(map(math.isnan, decode(message)["q"]))


def test_all_topics_of_the_default_parameters_are_recorded_once() -> None:
    topics = [stream.topic for stream in RecorderParameters().streams()]
    assert len(topics) == len(set(topics)) == 15
