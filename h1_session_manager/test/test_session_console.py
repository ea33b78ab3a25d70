# SPDX-License-Identifier: Apache-2.0
"""The console through textual's own pilot, in 80×24."""

import asyncio
from dataclasses import replace

import pytest
from session_builders import CAMERAS, S, streams
from textual.widgets import Static

from h1_session_manager.console import console_view
from h1_session_manager.console.console_app import ConsoleApp
from h1_session_manager.console.console_view import ConsoleData
from h1_session_manager.states import ROWS
from h1_session_manager.table import State, key_fields
from h1_session_manager.values import Arm, Hand, Policy, Polled, Recorder, SyncProgress, View
from h1_training_node.message_numbers import ArmMode, Connection, RecorderState, SyncState

NOW_NS = 1000 * S


def everything(state: str = "EXECUTING", **changes) -> ConsoleData:
    offered = key_fields(row for row in ROWS if row.source == "EXECUTING" and row.key)
    view = View(state, NOW_NS - 75 * S, 3, 2, "epoch3/episode_1", "Press 's' to stop", reason="a reason", **offered)
    heard = ConsoleData(
        view=replace(view, **changes),
        arm=Arm(NOW_NS, ArmMode.POLICY, NOW_NS, reason="requested", max_temperature=48),
        recorder=Recorder(
            NOW_NS,
            RecorderState.RECORDING,
            policy_frames=1200,
            human_frames=1647,
            bytes_free=90 * 10**9,
            streams=streams(cam_left_wrist=-1.0),
        ),
        policy=Policy(NOW_NS, Connection.CONNECTED, epoch=3, latency_ms=123.0),
        hands={"left": Hand(NOW_NS, max_temperature=39), "right": Hand(NOW_NS, reason="no answer", error=True)},
        sync=SyncProgress(SyncState.RUNNING, progress=0.4, bytes_per_second=5e6, seconds_left=30.0),
        heard_ns=NOW_NS,
    )
    heard.messages.extend((index % 3, f"recorder: message {index} " + "x" * 100) for index in range(9))
    return heard


def rendered(heard: ConsoleData, *keys: str) -> tuple[str, list[str]]:
    """The panels' text in 80×24, and the keys that were handed over."""
    pressed: list[str] = []

    async def run() -> str:
        app = ConsoleApp(heard, lambda: NOW_NS, pressed.append, CAMERAS)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press(*keys)
            await pilot.pause()
            app.show()
            await pilot.pause()
            last = app.query_one("#messages").region
            assert last.bottom <= 24, f"the console is {last.bottom} lines high"
            names = ("banner", "question", "streams", "robot", "data", "messages")
            return "\n".join(str(app.query_one(f"#{name}", Static).render()) for name in names)

    return asyncio.run(run()), pressed


def test_a_tick_while_the_console_closes_draws_nothing():
    async def run() -> None:
        app = ConsoleApp(everything(), lambda: NOW_NS, lambda _: None, CAMERAS)
        async with app.run_test(size=(80, 24)):
            await app.query_one("#messages").remove()
            app.show()

    asyncio.run(run())


def test_all_that_matters_is_on_one_screen():
    text, _ = rendered(everything())
    for part in (
        "E  X  E  C  U  T  I  N  G",
        "epoch 3, episode 2",
        "1:15",
        "Press 's' to stop",
        "a reason",
        "ego_cam           30Hz █       0.0s",
        "cam_left_wrist  never",
        "POLICY, 48 °C",
        "right hand: no answer",
        "connected, epoch 3, 123 ms",
        "policy 1200, human 1647",
        "90 GB left",
        "40%",
        "5.0 MB/s, 30 s left",
        "message 8",
    ):
        assert part in text, part
    assert "s stop execution and enter damping mode · q emergency stop" in text
    assert "message 3" not in text


def test_keys_go_to_the_session_as_they_are_pressed():
    keys = ["y", "s", "q", "enter", "escape", "tab", "backspace"]
    assert rendered(everything(), *keys)[1] == keys


@pytest.mark.parametrize("state", [state.value for state in State])
def test_every_state_has_its_colour(state):
    banner = console_view.banner(everything(state), NOW_NS)
    assert "  ".join(state) in banner.plain
    assert console_view.COLOURS[State(state)] in str(banner.style)


def test_a_countdown_is_not_to_be_overlooked():
    assert "ARMS MOVE IN 2.5 s" in console_view.banner(everything("READY", countdown_s=2.5), NOW_NS).plain


def test_a_release_that_was_asked_for_beside_the_session_counts_down_too():
    heard = everything("DAMPING")
    heard.arm = Arm(NOW_NS, ArmMode.DAMPING, NOW_NS, release_countdown=1.4)
    assert "ARMS MOVE IN 1.4 s" in console_view.banner(heard, NOW_NS).plain
    heard.when_ns["arm"] = NOW_NS - 5 * S
    assert "ARMS MOVE" not in console_view.banner(heard, NOW_NS).plain, "of a driver that is silent nobody knows"


@pytest.mark.parametrize(("clearance", "said"), [(0.024, True), (-0.01, True), (0.031, False)])
def test_arms_that_are_close_to_something_are_said_to_be_with_the_parts(clearance, said):
    heard = everything("DAMPING")
    heard.arm = Arm(NOW_NS, ArmMode.DAMPING, NOW_NS, clearance=clearance, closest="left hand, chest")
    text, _ = rendered(heard)
    assert (f"arms close: left hand, chest, {max(0, clearance) * 100:.0f} cm" in text) is said


def test_a_silent_session_and_none_at_all_look_different():
    assert "no session heard yet" in console_view.banner(ConsoleData(), NOW_NS).plain
    assert "the session is silent" in console_view.banner(everything(), NOW_NS + 10 * S).plain


def test_nothing_heard_breaks_nothing():
    text, _ = rendered(ConsoleData())
    assert "recorder not heard yet" in text


def test_what_fell_silent_does_not_look_as_if_it_still_held():
    heard = everything()
    heard.when_ns = dict.fromkeys(("arm", "recorder", "policy", "left"), NOW_NS - 5 * S) | {"right": NOW_NS}
    text, _ = rendered(heard)
    for part in (
        "arm_driver silent for 5 s",
        "policy_bridge silent for 5 s",
        "recorder silent for 5 s",
        "left hand: silent for 5 s",
    ):
        assert part in text, part
    assert "POLICY requested" not in text
    assert "right hand: no answer" in text


def test_figures_of_the_last_episode_are_gone_in_the_next_ready_and_its_label_stays():
    heard = everything("READY", outcome="success", episode_id="epoch3/episode_1")
    heard.recorder = replace(heard.recorder, seconds_left=5400.0)
    text = console_view.data(heard).plain
    assert "policy 1200" not in text
    assert "episode_1 success    disk 90 GB, 90 min left" in text


def test_ready_shows_how_far_the_first_action_would_move_the_arms():
    heard = everything("READY")
    assert "first action" not in console_view.data(heard).plain
    heard.policy = replace(heard.policy, first_action_distance_rad=0.061)
    assert "first action 0.06 rad from the pose" in console_view.data(heard).plain
    heard.view = replace(heard.view, state="EXECUTING")
    assert "first action" not in console_view.data(heard).plain


def test_what_the_server_does_is_shown():
    heard = everything("WAITING")
    heard.training = Polled(True, 2, phase="TRAINING", progress=0.4, reason="6 episodes")
    assert "server training 40%: 6 episodes" in console_view.data(heard).plain
    assert "server training 40%" in rendered(heard)[0]


def test_lines_carry_the_time_and_wrap_behind_it():
    heard = ConsoleData()
    heard.add_lines(["  Upload failed: " + "why " * 30], "23:05:09")
    assert str(console_view.messages(heard)).splitlines()[1].startswith("         why")
    assert str(console_view.messages(heard)).startswith("23:05:09 Upload failed")
    heard.add_lines(["23:05:11 ! recorder: late"], "23:05:12")
    assert heard.messages[-1] == (1, "23:05:11 ! recorder: late")


def test_a_hand_at_rest_reads_as_such_and_codes_become_words():
    text = console_view.robot(everything(), NOW_NS).plain
    assert "left hand: idle, 39 °C" in text
    assert console_view.in_words("chunk_ready") == ""
    assert console_view.in_words("joint_out_of_range") == "joint out of range"
