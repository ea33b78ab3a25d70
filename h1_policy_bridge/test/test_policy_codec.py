# SPDX-License-Identifier: Apache-2.0
"""The codec: byte for byte openpi's, and closed to everything that is not plain numbers."""

from __future__ import annotations

import contextlib
import math

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from openpi_client import msgpack_numpy as theirs

from h1_policy_bridge import msgpack_numpy as ours
from h1_policy_bridge.msgpack_numpy import (
    ArrayError,
    CodecError,
    DtypeError,
    NotMsgpackError,
    TooDeepError,
    TooLargeError,
)

PLAIN = st.sampled_from(["b1", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", ">f4", ">i4"])
ARRAYS = PLAIN.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary() | ARRAYS
MESSAGES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def array_message(**changes: object) -> bytes:
    """A float32 array of shape (2,) on the wire, with fields replaced; None removes one."""
    fields = {"__ndarray__": True, "data": b"\0" * 8, "dtype": "<f4", "shape": [2], **changes}
    return msgpack.packb({name.encode(): value for name, value in fields.items() if value is not None})


def scalar_message(data: object, dtype: object) -> bytes:
    return msgpack.packb({b"__npgeneric__": True, b"data": data, b"dtype": dtype})


def test_an_array_is_encoded_as_the_published_test_vector():
    vector = (
        "81a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f00000040"
        "c4056474797065a33c6634c40573686170659102"
    )
    assert ours.pack({"state": np.array([1, 2], np.float32)}).hex() == vector


def test_a_numpy_scalar_is_encoded_as_the_published_test_vector():
    vector = "81a16183c40d5f5f6e7067656e657269635f5fc3c40464617461cb3ff8000000000000c4056474797065a33c6634"
    assert ours.pack({"a": np.float32(1.5)}).hex() == vector


def test_empty_metadata_are_one_byte():
    assert ours.pack({}) == b"\x80"
    assert ours.unpack(b"\x80") == {}


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_whatever_can_be_sent_is_the_same_bytes_as_openpis_own_client_sends(message):
    assert ours.pack(message) == theirs.packb(message)


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_what_openpi_sends_comes_back_as_openpi_reads_it(message):
    packed = theirs.packb(message)
    np.testing.assert_equal(ours.unpack(packed), theirs.unpackb(packed))


def test_an_array_that_is_not_contiguous_is_sent_in_c_order():
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1)
    np.testing.assert_array_equal(ours.unpack(ours.pack(image)), image)


def test_decoded_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        ours.unpack(ours.pack(np.zeros(3)))[0] = 1.0


@pytest.mark.parametrize(
    "dtype", ["|O", "|V8", "<c8", "<c16", "<U3", "|S3", "<M8[s]", "<m8[s]", "<f16", "f4,f4", "", "f", 4, None, "<f4\n"]
)
def test_a_dtype_that_is_no_plain_number_is_refused(dtype):
    with pytest.raises((DtypeError, ArrayError)):
        ours.unpack(array_message(dtype=dtype))


@pytest.mark.parametrize(
    "value", [np.array([None]), np.zeros(2, "c8"), np.zeros(1, "f4,f4"), np.array(["a"]), np.complex64(1)]
)
def test_an_array_that_is_no_plain_number_is_not_sent(value):
    with pytest.raises(DtypeError):
        ours.pack({"a": value})


@pytest.mark.parametrize(
    "shape",
    [[3], [1], [-2], [-1, -2], [2**40], [2**63, 0], [1] * 9, [2.0], [True], "2", None, 2, [[2]]],
)
def test_a_shape_that_does_not_fit_the_bytes_is_refused(shape):
    with pytest.raises(ArrayError):
        ours.unpack(array_message(shape=shape))


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 9, "00000000", None, [0] * 8])
def test_data_of_the_wrong_size_or_kind_are_refused(data):
    with pytest.raises(ArrayError):
        ours.unpack(array_message(data=data))


@pytest.mark.parametrize(
    ("data", "dtype"),
    [(300, "|u1"), (-1, "<u4"), (1.5, "<i4"), ("1", "<f4"), ([1], "<f4"), (None, "<f4"), (2**64 - 1, "<i8")],
)
def test_a_scalar_that_does_not_fit_its_dtype_is_refused(data, dtype):
    with pytest.raises(ArrayError):
        ours.unpack(scalar_message(data, dtype))


def test_nesting_is_bounded():
    assert ours.unpack(b"\x91" * (ours.MAX_DEPTH - 1) + b"\xc0")
    with pytest.raises(TooDeepError):
        ours.unpack(b"\x91" * (ours.MAX_DEPTH + 2) + b"\xc0")
    with pytest.raises(TooDeepError):
        ours.unpack(b"\x91" * 100_000 + b"\xc0")


def test_size_is_bounded():
    with pytest.raises(TooLargeError, match="at most 100"):
        ours.unpack(bytes(101), max_bytes=100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80\x80",
        b"\x92\x01",
        b"\x81\x01\x02",
        b"\xa2\xff\xff",
        b"\xd4\x05\x00",
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_bytes_that_are_not_one_message_are_refused(data):
    with pytest.raises(NotMsgpackError):
        ours.unpack(data)


def test_an_object_that_is_no_data_is_not_sent():
    with pytest.raises(CodecError, match="object cannot be encoded"):
        ours.pack({"a": object()})


def test_infinity_in_a_scalar_is_decoded_as_it_is():
    assert math.isinf(ours.unpack(scalar_message(math.inf, "<f4")))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_decode_or_are_refused_by_name(data):
    with contextlib.suppress(CodecError):
        ours.unpack(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_message_decodes_or_is_refused_by_name(data):
    packed = bytearray(ours.pack({"actions": np.zeros((3, 14), np.float32), "n": np.int16(3), "t": {"x": [1, 2.5]}}))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        ours.unpack(bytes(packed[: data.draw(st.integers(0, len(packed)))]))


@settings(max_examples=200, deadline=None)
@given(
    dtype=st.text(max_size=6) | st.integers(0, 9),
    shape=st.lists(st.integers(-(2**63), 2**64 - 1), max_size=5) | st.integers(0, 9),
    data=st.binary(max_size=64),
)
def test_any_description_of_an_array_fits_or_is_refused_by_name(dtype, shape, data):
    with contextlib.suppress(CodecError):
        ours.unpack(array_message(dtype=dtype, shape=shape, data=data))
