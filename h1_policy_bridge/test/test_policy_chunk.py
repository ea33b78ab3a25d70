# SPDX-License-Identifier: Apache-2.0
"""What a server may say, checked: whatever it is, it is a chunk, facts, or a refusal by name."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from h1_policy_bridge.chunk import Expectation, ReplyError, read_reply
from h1_policy_bridge.metadata import MetadataError, read_metadata

ARRAYS = st.sampled_from(["b1", "i1", "<i8", "u1", "<f2", "<f4", ">f8"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=26))
)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary() | ARRAYS
NAMES = (
    st.sampled_from(["actions", "done", "metadata", "server_timing", "infer_ms", "action_dim", "horizon"]) | st.text()
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))


def replied(reply: object, expected: Expectation):
    return read_reply(reply, expected, state=np.zeros(expected.action_dim), observation_ns=1, inference_ms=1.0)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from([Expectation(), Expectation(26), Expectation(14, 3, done_field="actions")]))
def test_any_reply_is_a_chunk_that_may_move_the_arms_or_is_refused_by_name(reply, expected):
    with contextlib.suppress(ReplyError):
        chunk = replied(reply, expected)
        assert chunk.actions.shape[1] == expected.action_dim
        assert np.isfinite(chunk.actions).all()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_metadata_are_facts_or_are_refused_by_name(metadata):
    with contextlib.suppress(MetadataError):
        assert read_metadata(metadata, Expectation()).action_dim in (0, 14)


@pytest.mark.parametrize("flag", [True, np.True_, np.array(True), np.array([True])])
def test_the_end_may_be_said_in_any_way_that_numpy_has(flag):
    actions = np.zeros((2, 14))
    assert replied({"actions": actions, "done": flag}, Expectation()).done
    assert replied({"actions": actions, "metadata": {"done": flag}}, Expectation()).done
    assert read_metadata({"done": flag}, Expectation()).done


@pytest.mark.parametrize("flag", [False, 1, "true", np.array([True, True]), None, {"done": True}])
def test_nothing_but_true_is_the_end(flag):
    assert not replied({"actions": np.zeros((2, 14)), "done": flag}, Expectation()).done


def test_hands_on_the_wire_are_cut_to_closed_and_open_in_either_unit():
    actions = np.zeros((1, 26))
    actions[0, 14:] = [-5, 0, 0.5, 1, 1.5, 500, 1000, 2000, 0, 0, 0, 0]
    unit = replied({"actions": actions}, Expectation(26)).actions[0, 14:22]
    register = replied({"actions": actions}, Expectation(26, hand_unit="register")).actions[0, 14:22]
    np.testing.assert_allclose(unit, [0, 0, 0.5, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(register, [0, 0, 0.0005, 0.001, 0.0015, 0.5, 1, 1])


def test_angles_that_no_arm_reaches_are_refused_and_hands_are_not_taken_for_angles():
    actions = np.zeros((3, 26))
    actions[:, 14:] = 800.0
    assert replied({"actions": actions}, Expectation(26, hand_unit="register")).horizon == 3
    actions[1, 3] = -90.0
    with pytest.raises(ReplyError, match=r"left_elbow_joint is -90 rad at step 1; its range is -0.95 to 3.18 rad"):
        replied({"actions": actions}, Expectation(26))
