# SPDX-License-Identifier: Apache-2.0
"""WAITING with servers of every kind: those that report their training, and those that report none."""

import json
from dataclasses import replace

import pytest
from session_builders import Harness

from h1_session_manager.memory import Memory
from h1_session_manager.values import Polled

UNSUPPORTED = Polled(error="http://host answered 426 Upgrade Required", is_unsupported=True)


def waiting(offer: Polled, **config) -> Harness:
    harness = Harness(**config)
    harness.offer = offer
    harness.to("WAITING")
    harness.run(3)
    return harness


def test_a_server_that_reports_no_training_is_said_once_and_its_weights_are_on_offer():
    harness = waiting(UNSUPPORTED, policy_epoch=7)
    assert harness.lines("  This server reports no training; epoch 7 is used") == [
        "  This server reports no training; epoch 7 is used"
    ]
    assert not harness.lines("Failed to poll")
    assert harness.engine.view().prompt.startswith("Press 'y' to start epoch 7 with the weights that are served")
    assert harness.listed == ("y", "q")
    harness.press("y")
    assert harness.state == "READY"
    assert harness.engine.view().epoch == 7


def test_without_polling_no_server_is_asked():
    harness = waiting(Polled(ready=True, epoch=3), training_status="none", policy_epoch=2)
    assert harness.polls == 0
    assert "[WAITING] This server reports no training; epoch 2 is used" in harness.said
    harness.press("y")
    assert harness.engine.view().epoch == 2


def test_where_the_status_is_required_its_lack_is_an_error_with_the_way_out():
    harness = waiting(UNSUPPORTED, training_status="required")
    assert harness.lines("Failed to poll")[0].endswith("set policy_server.training_status to none for a server that "
                                                       "reports no training")  # fmt: skip
    assert harness.listed == ("q",)


def test_each_session_of_such_a_server_ends_in_the_same_offer():
    harness = waiting(UNSUPPORTED)
    for _ in range(2):
        harness.press("y")
        harness.to("DECIDING")
        harness.press("n")
        harness.run_to("WAITING")
        harness.run(1)
        assert harness.listed == ("y", "q")
    assert json.loads(harness.memory_text)["finished"] == {"0": "synced"}


def test_other_metadata_after_a_reconnection_are_new_weights():
    harness = waiting(UNSUPPORTED)
    harness.policy = replace(harness.policy, metadata_digest="a", checkpoint="run_a")
    harness.press("y")
    harness.to("DECIDING")
    harness.press("n")
    harness.run_to("WAITING")
    harness.run(1)
    harness.policy = replace(harness.policy, metadata_digest="", checkpoint="")  # the server restarts
    harness.run(1)
    assert harness.state == "WAITING"
    harness.policy = replace(harness.policy, metadata_digest="b", metadata_change="checkpoint run_a -> run_b")
    harness.run_to("READY")
    assert harness.lines("  The server has other weights than before: checkpoint run_a -> run_b")
    assert harness.engine.view().epoch == 1


def test_metadata_that_name_no_checkpoint_and_changed_during_an_episode_are_new_weights_in_waiting():
    harness = waiting(UNSUPPORTED)
    harness.policy = replace(harness.policy, metadata_digest="a")
    harness.press("y")
    harness.to("DECIDING")
    harness.policy = replace(harness.policy, metadata_digest="b", metadata_change="reset_pose [0] -> [1]")
    harness.press("n")
    harness.run_to("READY")
    assert harness.lines("  The server has other weights than before: reset_pose [0] -> [1]")
    harness.press("n")  # skipped, they are known and not offered as new ones again
    harness.run(3)
    assert harness.state == "WAITING"
    assert harness.listed == ("y", "q")


def test_weights_that_came_while_ready_showed_them_are_those_of_the_episode():
    harness = waiting(UNSUPPORTED)
    harness.policy = replace(harness.policy, metadata_digest="a")
    harness.press("y")
    harness.run_to("READY")
    harness.policy = replace(harness.policy, metadata_digest="b")  # while READY connects again
    harness.to("DECIDING")
    harness.press("n")
    harness.run_to("WAITING")
    harness.run(3)
    assert harness.state == "WAITING"


def test_a_server_that_begins_to_report_its_training_is_followed():
    harness = waiting(UNSUPPORTED)
    harness.offer = Polled(ready=False, epoch=0)
    harness.run(2)
    assert harness.lines("  The policy server reports its training")
    assert harness.listed == ("q",)
    harness.offer = Polled(ready=True, epoch=0)
    harness.run_to("READY")


def test_what_the_server_says_of_its_training_is_said_once_and_its_progress_stays_on_the_screen():
    harness = waiting(Polled(ready=False, epoch=0, phase="TRAINING", progress=0.25, reason="9 episodes"))
    harness.offer = replace(harness.offer, progress=0.5)
    harness.run(3)
    assert harness.lines("  Policy server:") == ["  Policy server: training 25%: 9 episodes"]
    assert harness.engine.view().reason == "training 50%: 9 episodes"


def test_the_curve_that_a_server_reports_is_said_once_for_each_change():
    harness = waiting(Polled(ready=False, epoch=0, curve=((0, 0.0, 16), (1, 0.5, 6))))
    harness.run(5)
    assert harness.lines("  Policy server:") == ["  Policy server: success by epoch ▁▅, of epoch 1 50% of 6"]
    harness.offer = Polled(ready=False, epoch=0, curve=((0, 0.0, 16), (1, 0.5, 6), (2, 1.0, 6)))
    harness.run(5)
    assert harness.lines("  Policy server:")[1:] == ["  Policy server: success by epoch ▁▅█, of epoch 2 100% of 6"]


@pytest.mark.parametrize("offer", [Polled(ready=True, epoch=5), UNSUPPORTED])
def test_a_session_that_starts_immediately_takes_the_weights_that_are_served_once(offer):
    harness = Harness(memory=Memory("r", {5: "synced"}), start_immediately=True, policy_epoch=5)
    harness.offer = offer
    harness.to("READY")
    assert harness.engine.view().epoch == 5
    harness.run(1)
    harness.press("n")
    harness.run(3)
    assert harness.state == "WAITING"


def test_an_episode_names_the_checkpoint_that_drives_it():
    harness = Harness()
    harness.policy = replace(harness.policy, checkpoint="pi0_h1/4000")
    harness.to("EXECUTING")
    [fields] = harness.called("recorder/start")
    assert json.loads(fields["attributes_json"])["checkpoint"] == "pi0_h1/4000"
