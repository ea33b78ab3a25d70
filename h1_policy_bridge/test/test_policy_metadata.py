# SPDX-License-Identifier: Apache-2.0
"""What a server says of itself: compared as a whole, shown to the operator, and read without trust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from policy_builders import server
from policy_servers import openpi_server
from policy_stage import Stage
from policy_wire import running

from h1_policy_bridge import msgpack_numpy
from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.layout import PRESETS
from h1_policy_bridge.metadata import MetadataError, ServerFacts, changes, read_metadata
from h1_policy_bridge.values import ClientState
from h1_training_node.message_numbers import Connection, Level
from h1_training_testing import wait_until


def facts(**metadata: object) -> ServerFacts:
    return read_metadata(metadata, Expectation())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"reset_pose": [0.0]}),
        ({"reset_pose": [0.0, 1.0]}, {"reset_pose": [0.0, 1.1]}),
        ({"norm": np.zeros(3)}, {"norm": np.ones(3)}),
        ({"norm": np.zeros(3)}, {"norm": np.zeros(3, np.float32)}),
        ({"config": {"name": "pi0", "step": 1}}, {"config": {"name": "pi0", "step": 2}}),
        ({"text": "a" * 500}, {"text": "a" * 499 + "b"}),
        ({f"k{n}": n for n in range(300)}, {f"k{n}": n + (n == 299) for n in range(300)}),
        ({"name": "a\x1b[2Jb"}, {"name": "a [2Jb"}),
    ],
)
def test_whatever_differs_in_the_metadata_changes_their_digest_and_is_shown(one, other):
    before, after = facts(**one), facts(**other)
    assert before.digest != after.digest
    change = changes(before.contents, after.contents)
    assert change
    assert change.isprintable()
    assert len(change) < 400


def test_the_order_of_the_keys_and_the_end_of_a_task_are_no_other_weights():
    one = facts(config={"a": 1, "b": [2, {"c": 3, "d": np.arange(3)}]}, done=False)
    other = facts(done=True, config={"b": [2, {"d": np.arange(3), "c": 3}], "a": 1})
    assert one.digest == other.digest
    assert changes(one.contents, other.contents) == ""


def test_what_changed_is_named_with_both_values_and_a_long_list_is_cut():
    before, after = facts(checkpoint="run_a", horizon=50, old=1), facts(checkpoint="run_b", horizon=50, new=2)
    assert changes(before.contents, after.contents) == "checkpoint run_a -> run_b; old 1 -> absent; new absent -> 2"
    many = facts(**{f"k{n}": n for n in range(9)})
    assert changes({}, many.contents).endswith("k2 absent -> 2; 6 more")


def test_a_reconnection_with_other_metadata_is_an_event_and_in_the_status_and_one_with_the_same_is_not():
    stage = Stage()
    first, other = facts(reset_pose=[0.0]), facts(reset_pose=[1.0])
    digests = []
    for connections, served in enumerate((first, first, other, other), 1):
        stage.client.state = ClientState(
            Connection.CONNECTED, since_ns=1, reason="", connections=connections, facts=served
        )
        stage.tick()
        digests.append(stage.bridge.status.metadata_digest)
    assert digests == [first.digest, first.digest, other.digest, other.digest]
    assert first.digest != other.digest
    words = "the policy server came back with other metadata: reset_pose [0.0] -> [1.0]"
    changed = [event for event in stage.events if event[1] == "policy_metadata_changed"]
    assert changed == [(Level.WARN, "policy_metadata_changed", words)]
    assert stage.bridge.status.metadata_change == "reset_pose [0.0] -> [1.0]"
    stage.client.state = replace(stage.client.state, connection=Connection.DISCONNECTED)
    assert stage.bridge.status.metadata_digest == ""


def test_a_stock_server_that_is_restarted_with_another_checkpoint_is_seen_over_the_wire():
    served = [{"reset_pose": [0.0]}, {"reset_pose": [1.0]}]

    def handler(connection):
        connection.send(msgpack_numpy.pack(served[0]))
        for _ in connection:
            served.pop(0)
            return  # the server goes down

    with server(handler) as address, running(address) as it:
        it.until_connected()
        before = it.client.state.facts.contents
        assert it.outcome().chunk is None
        wait_until(lambda: it.client.state.connections == 2, "it is connected again")
        assert changes(before, it.client.state.facts.contents) == "reset_pose [0.0] -> [1.0]"


HOSTILE = (
    {"action_dim": float("nan")},
    {"action_dim": np.full((1000, 1000), 7)},
    {"action_horizon": float("inf")},
    {"horizon": -5},
    {"action_dim": True},
    {"action_dim": "14\x1b]0;owned\x07"},
)


@pytest.mark.parametrize("metadata", HOSTILE)
def test_metadata_that_count_nonsense_are_refused_in_one_printable_line(metadata):
    with pytest.raises(MetadataError, match="expected a whole number above 0") as raised:
        read_metadata(metadata, Expectation())
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "metadata",
    [
        {"modalities": {"video": np.zeros(3), "state": 5, "action": [["left_arm"]]}},
        {"modalities": [1, 2]},
        {"image_encodings": [np.zeros(3), {"jpeg": 1}], "rtc": np.zeros(2), "checkpoint": np.zeros(3)},
        {"done": float("nan"), "rtc": [True]},
    ],
)
def test_metadata_of_wrong_kinds_say_nothing(metadata):
    found = read_metadata(metadata, Expectation(layout=PRESETS["groot"]))
    assert (found.takes_jpeg, found.takes_remainder, found.checkpoint, found.done) == (False, False, "", False)


def test_hostile_metadata_over_the_wire_leave_a_client_that_refuses():
    metadata = {"action_dim": float("nan"), "x": {"y": [float("inf")] * 1000}}
    with openpi_server(lambda _: {}, metadata) as address, running(address) as it:
        wait_until(lambda: it.client.state.connection is Connection.REFUSED, "it is refused")
        assert it.log == []
