"""The arms are asked for, and taken, only when everybody who works with them has been heard."""

import pytest
from session_builders import Theatre, streams

NODES = ("arm_driver", "arm_guard", "recorder", "policy_bridge")


@pytest.mark.parametrize("late", NODES)
@pytest.mark.parametrize("asks", [True, False])
def test_the_arms_are_not_taken_before_every_node_has_spoken(late, asks):
    theatre = Theatre(absent=(late,), ask_before_taking=asks)
    theatre.run(5)
    assert theatre.session.view().prompt == f"Waiting for {late} to start"
    assert theatre.listed == ("q",)
    theatre.press("y")
    assert "the session is starting up: please wait" in theatre.said[-1]
    theatre.run(5)
    assert not theatre.called("arm_driver/set_mode")
    theatre.absent.clear()
    theatre.run(1)
    if asks:
        assert theatre.said[-1].startswith("  Press 'y' to take the arms")
        assert not theatre.called("arm_driver/set_mode")
        theatre.press("y")
    theatre.run_to("READY")


def test_the_line_names_everybody_who_is_missing():
    theatre = Theatre(absent=NODES)
    assert theatre.said == [
        "[STARTING] The arms are with the robot's own controller",
        "  Waiting for arm_driver, arm_guard, recorder, policy_bridge to start",
    ]


def test_a_node_that_does_not_start_is_named_with_the_way_out():
    theatre = Theatre(absent=("policy_bridge",))
    theatre.run(31)
    [line] = theatre.lines("  policy_bridge: not heard within 30 s")
    assert "see the log of that name" in line
    assert "'q' and then 'y' end the session" in line
    assert "node_does_not_start" in theatre.events
    assert "policy_bridge" in theatre.session.view().reason
    theatre.press("q")
    assert theatre.state == "STOPPED"
    theatre.run(1)
    theatre.press("y")
    theatre.run(10, lambda: theatre.status is not None)
    assert theatre.status == 0


def test_a_node_that_comes_late_after_all_is_asked_with():
    theatre = Theatre(absent=("recorder",))
    theatre.run(40)
    theatre.absent.clear()
    theatre.to("READY")
    assert "not heard" not in theatre.session.view().reason


def test_a_camera_that_never_comes_holds_the_start_up_only_for_a_while():
    theatre = Theatre(ask_before_taking=False)
    theatre.recorder = type(theatre.recorder)(theatre.now_ns, theatre.recorder.state, streams=streams(ego_cam=-1.0))
    theatre.run(5)
    assert not theatre.called("arm_driver/set_mode")
    theatre.run_to("READY")
    assert theatre.lines("  No sign yet of ego_cam: going on")


def test_hands_are_waited_for_where_they_are_included():
    theatre = Theatre(ask_before_taking=False, include_hands=True)
    theatre.run_to("READY")
    assert theatre.lines("  No sign yet of left hand, right hand: going on")
