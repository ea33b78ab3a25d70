"""Nodes that do not answer, episodes that end in another way than by a key, labels that come too late."""

from dataclasses import replace

import pytest
from session_builders import Theatre

from h1_session_manager.values import RecorderState


def test_a_recorder_that_closes_by_itself_ends_the_execution():
    theatre = Theatre()
    theatre.to("EXECUTING")
    theatre.arms_in_policy()
    theatre.recorder = replace(theatre.recorder, state=RecorderState.FAILED, last_error="disk_low")
    theatre.run(0.1)
    assert theatre.state == "LABELING"
    assert "disk_low" in theatre.session.view().reason
    theatre.press("n")
    theatre.run(1)
    theatre.press("r")
    assert "Cannot resume" in theatre.said[-1]
    theatre.press("e")
    theatre.run_to("DECIDING")
    assert theatre.lines("  Save failed: disk_low")


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
    theatre = Theatre()
    theatre.to(state)
    theatre.run(1)
    theatre.absent = {node}
    theatre.handlers = {}
    theatre.press(key)
    theatre.run(1)
    theatre.press(key) if key == "x" else None
    theatre.run(60)
    assert theatre.state == stays
    assert node in " ".join(theatre.said[-6:])


def test_a_save_without_an_answer_ends_in_deciding():
    theatre = Theatre()
    theatre.to("DAMPING")
    theatre.run(1)
    theatre.absent = {"recorder"}
    theatre.press("e")
    theatre.run(30)
    assert theatre.state == "DECIDING"
    assert theatre.lines("  Save failed: recorder did not answer 'recorder/finish'")


def test_an_episode_left_open_by_an_earlier_session_is_closed():
    theatre = Theatre()
    theatre.recorder = replace(theatre.recorder, state=RecorderState.RECORDING, episode_id="epoch0/episode_7")
    theatre.to("READY")
    theatre.run(1)
    assert theatre.called("recorder/finish")[0]["episode_id"] == "epoch0/episode_7"
    theatre.press("y")
    theatre.run_to("EXECUTING")


def test_guidance_by_hand_has_a_limit_that_saves():
    theatre = Theatre(max_damping_s=5.0, limit_warning_s=2.0)
    theatre.to("DAMPING")
    theatre.run(4)
    assert theatre.session.view().reason.startswith("time limit in")
    theatre.run_to("DECIDING", 5)
    assert theatre.called("recorder/finish")[0]["end_reason"] == "time_limit"


def test_a_label_that_fails_later_is_told_to_the_person_once():
    theatre = Theatre()
    theatre.to("DECIDING")
    theatre.run(1)
    theatre.press("g")
    assert theatre.said[-1] == "  Marked as success"
    theatre.recorder = replace(theatre.recorder, state=RecorderState.SAVING)
    theatre.run(1)
    theatre.recorder = replace(theatre.recorder, state=RecorderState.SAVED, last_error="read-only file system")
    theatre.run(1)
    told = "  The label was not written: read-only file system; press 'g' or 'b' again"
    assert theatre.said.count(told) == 1
    assert theatre.events.count("label_failed") == 1
