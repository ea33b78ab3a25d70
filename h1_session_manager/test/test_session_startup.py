# SPDX-License-Identifier: Apache-2.0
"""The arms are asked for, and taken, only when everybody who works with them has been heard."""

import pytest
from session_builders import Harness, streams

NODES = ("arm_driver", "arm_guard", "recorder", "policy_bridge")


@pytest.mark.parametrize("late", NODES)
@pytest.mark.parametrize("asks", [True, False])
def test_the_arms_are_not_acquired_before_every_node_was_heard(late, asks):
    harness = Harness(absent=(late,), ask_before_taking=asks)
    harness.run(5)
    assert harness.engine.view().prompt == f"Waiting for {late} to start"
    assert harness.listed == ("q",)
    harness.press("y")
    assert "the session is starting up: please wait" in harness.said[-1]
    harness.run(5)
    assert not harness.called("arm_driver/set_mode")
    harness.absent.clear()
    harness.run(1)
    if asks:
        assert harness.said[-1].startswith("  Press 'y' to take the arms")
        assert not harness.called("arm_driver/set_mode")
        harness.press("y")
    harness.run_to("READY")


def test_the_line_names_everybody_who_is_missing():
    harness = Harness(absent=NODES)
    assert harness.said == [
        "[STARTING] The arms are with the robot's own controller",
        "  Waiting for arm_driver, arm_guard, recorder, policy_bridge to start",
    ]


def test_a_node_that_does_not_start_is_named_with_the_way_out():
    harness = Harness(absent=("policy_bridge",))
    harness.run(31)
    [line] = harness.lines("  policy_bridge: not heard within 30 s")
    assert "see the log of that name" in line
    assert "'q' and then 'y' end the session" in line
    assert "node_does_not_start" in harness.events
    assert "policy_bridge" in harness.engine.view().reason
    harness.press("q")
    assert harness.state == "STOPPED"
    harness.run(1)
    harness.press("y")
    harness.run(10, lambda: harness.status is not None)
    assert harness.status == 0


def test_a_node_that_comes_late_after_all_is_asked_with():
    harness = Harness(absent=("recorder",))
    harness.run(40)
    harness.absent.clear()
    harness.to("READY")
    assert "not heard" not in harness.engine.view().reason


def test_a_camera_that_never_comes_holds_the_start_up_only_for_a_while():
    harness = Harness(ask_before_taking=False)
    harness.recorder = type(harness.recorder)(harness.now_ns, harness.recorder.state, streams=streams(ego_cam=-1.0))
    harness.run(5)
    assert not harness.called("arm_driver/set_mode")
    harness.run_to("READY")
    assert harness.lines("  Nothing from ego_cam yet: continuing")


def test_hands_are_waited_for_where_they_are_included():
    harness = Harness(ask_before_taking=False, include_hands=True)
    harness.run_to("READY")
    assert harness.lines("  Nothing from left hand, right hand yet: continuing")
