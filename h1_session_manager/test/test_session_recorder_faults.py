# SPDX-License-Identifier: Apache-2.0
"""Nodes that do not answer, episodes that end in another way than by a key, labels that come too late."""

from dataclasses import replace
from typing import Any

import pytest
from session_builders import Harness

from h1_session_manager.values import Reply
from h1_training_node.message_numbers import ArmMode, RecorderState


def test_a_recorder_that_closes_by_itself_ends_the_execution():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.recorder = replace(harness.recorder, state=RecorderState.FAILED, last_error="disk_low")
    harness.run(0.1)
    assert harness.state == "LABELING"
    assert "disk_low" in harness.engine.view().reason
    harness.press("n")
    harness.run_to("DECIDING")
    assert harness.lines("  Save failed: disk_low")
    assert not harness.lines("[DAMPING] Robot in damping mode - adjust pose freely")


def test_guidance_that_is_not_recorded_any_more_is_not_asked_for():
    harness = Harness()
    harness.to("DAMPING")
    harness.run(1)
    harness.recorder = replace(harness.recorder, state=RecorderState.SAVED, last_error="disk_low")
    harness.run_to("DECIDING")
    assert harness.arm.mode is ArmMode.DAMPING
    assert harness.lines("  NOT RECORDING: disk_low")


def test_a_save_that_outlasts_the_ending_is_called_no_failure():
    """The recorder has some seconds more; the table at the end shows the file if it was in time."""
    harness = Harness()
    harness.to("DAMPING")
    harness.run(1)

    def begin_saving(_fields: dict[str, Any]) -> Reply:
        harness.recorder = replace(harness.recorder, state=RecorderState.SAVING, save_progress=0.4)
        return Reply(True)

    harness.handlers["recorder/finish"] = begin_saving
    harness.engine.interrupt("interrupted by Ctrl+C", harness.now_ns)
    harness.run(14.0, lambda: harness.status is not None)
    assert harness.status == 130
    assert harness.lines("  Still being saved (40%)") and not harness.lines("  Save failed")
    assert "save_unfinished" in harness.events and "save_failed" not in harness.events


def test_a_lost_recorder_is_not_waited_for_at_the_end():
    harness = Harness()
    harness.to("EXECUTING")
    harness.arms_in_policy()
    harness.engine.interrupt("recorder lost: killed by SIGKILL", harness.now_ns)
    harness.absent = {"recorder"}
    harness.run(1.0, lambda: harness.status is not None)
    assert harness.status == 130
    assert harness.lines("[STOPPED] recorder lost: killed by SIGKILL")
    assert not harness.called("recorder/finish")
    assert harness.lines("  Save failed: the recorder was lost (the journal is kept")


@pytest.mark.parametrize(
    ("node", "state", "key", "stays"),
    [
        ("recorder", "READY", "y", "READY"),
        ("arm_driver", "READY", "y", "READY"),
        ("recorder", "DAMPING", "x", "DAMPING"),
        ("arm_driver", "STARTING", "y", "STARTING"),
    ],
)
def test_a_node_that_does_not_answer_is_named_and_the_session_goes_on(node, state, key, stays):
    harness = Harness()
    harness.to(state)
    harness.run(1)
    harness.absent = {node}
    harness.handlers = {}
    harness.press(key)
    harness.run(1)
    harness.press(key) if key == "x" else None
    harness.run(60)
    assert harness.state == stays
    assert node in " ".join(harness.said[-6:])


def test_a_save_without_an_answer_ends_in_deciding():
    harness = Harness()
    harness.to("DAMPING")
    harness.run(1)
    harness.absent = {"recorder"}
    harness.press("e")
    harness.run(30)
    assert harness.state == "DECIDING"
    assert harness.lines("  Save failed: recorder did not answer 'recorder/finish'")


def test_an_episode_left_open_by_an_earlier_session_is_closed():
    harness = Harness()
    harness.recorder = replace(harness.recorder, state=RecorderState.RECORDING, episode_id="epoch0/episode_7")
    harness.to("READY")
    harness.run(1)
    assert harness.called("recorder/finish")[0]["episode_id"] == "epoch0/episode_7"
    harness.press("y")
    harness.run_to("EXECUTING")


def test_guidance_by_hand_has_a_limit_that_saves():
    harness = Harness(max_damping_s=5.0, limit_warning_s=2.0)
    harness.to("DAMPING")
    harness.run(4)
    assert harness.engine.view().reason.startswith("time limit in")
    harness.run_to("DECIDING", 5)
    assert harness.called("recorder/finish")[0]["end_reason"] == "time_limit"


def test_a_label_that_fails_later_is_reported_once():
    harness = Harness()
    harness.to("DECIDING")
    harness.run(1)
    harness.press("g")
    assert harness.said[-1] == "  Marked as success"
    harness.recorder = replace(harness.recorder, state=RecorderState.SAVING)
    harness.run(1)
    harness.recorder = replace(harness.recorder, state=RecorderState.SAVED, last_error="read-only file system")
    harness.run(1)
    line = "  The label was not written: read-only file system; press 'g' or 'b' again"
    assert harness.said.count(line) == 1
    assert harness.events.count("label_failed") == 1
