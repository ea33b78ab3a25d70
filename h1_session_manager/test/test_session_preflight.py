# SPDX-License-Identifier: Apache-2.0
import time
from dataclasses import replace

import pytest
from session_builders import streams

from h1_session_manager import host_health
from h1_session_manager.host_health import HostHealth
from h1_session_manager.observed import Observed
from h1_session_manager.parameters import SessionParameters
from h1_session_manager.preflight import ARMS, ITEMS, check
from h1_session_manager.values import Arm, Hand, Policy, Reached, Recorder, StreamStatus
from h1_training_node.message_numbers import ArmMode, Connection, Level, RecorderState, Verdict

NOW_NS = 10**12


def observed(**changes) -> Observed:
    good = Observed(
        arm=Arm(NOW_NS, ArmMode.HOLD, NOW_NS),
        recorder=Recorder(NOW_NS, RecorderState.IDLE, streams=streams(), bytes_free=10**12),
        policy=Policy(NOW_NS, Connection.CONNECTED, epoch=1),
        now_ns=NOW_NS,
        heard_ns={"arm": NOW_NS, "recorder": NOW_NS, "policy": NOW_NS},
    )
    return replace(good, **changes)


def problems(config: SessionParameters | None = None, **changes) -> tuple[str, ...]:
    return check(observed(**changes), config or SessionParameters(), 1).problems


def test_when_all_is_well_nothing_stands_in_the_way():
    assert check(observed(), SessionParameters(), 1).reason == ""
    assert check(observed(), SessionParameters(), 1).cameras == "Cameras ready: All cameras working!"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arm": None}, "arms: arm_driver is silent"),
        ({"recorder": None}, "recorder: silent"),
        ({"policy": None}, "policy: policy_bridge is silent"),
        ({"arm": Arm(NOW_NS, ArmMode.HOLD, NOW_NS, max_temperature=91)}, "arms: a motor has 91 degC"),
        ({"policy": Policy(NOW_NS, Connection.CONNECTED, epoch=0)}, "policy: not yet reconnected for epoch 1"),
        (
            {"policy": Policy(NOW_NS, Connection.REFUSED, epoch=1, reason="action_dim 7")},
            "policy: the server does not fit the configuration: action_dim 7",
        ),
        (
            {"policy": Policy(NOW_NS, Connection.DISCONNECTED, server="ws://gpu:8000", reason="refused")},
            "policy: not connected to ws://gpu:8000: refused",
        ),
        (
            {"recorder": Recorder(NOW_NS, RecorderState.SAVING, "epoch1/episode_0", streams=streams())},
            "recorder: still saving epoch1/episode_0",
        ),
        (
            {"recorder": Recorder(NOW_NS, RecorderState.IDLE, streams=streams(), bytes_free=10**9)},
            "disk: 1.0 GB free in data/episodes, 5 GB needed; free some space",
        ),
    ],
)
def test_what_stands_in_the_way_is_named(changes, expected):
    assert any(problem.startswith(expected) for problem in problems(**changes)), problems(**changes)


@pytest.mark.parametrize(
    ("age", "problem"), [(-1.0, "camera ego_cam: no image yet"), (2.0, "camera ego_cam: no image for 2.0 s")]
)
def test_a_camera_that_does_not_work_is_named(age, problem):
    recorder = Recorder(NOW_NS, RecorderState.IDLE, streams=streams(ego_cam=age), bytes_free=10**12)
    assert problems(recorder=recorder) == (f"{problem}; check its cable, power and server",)


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (Verdict.LATE, "late: 9.0 images/s"),
        (Verdict.FROZEN, "the same image for 5.6 s"),
        (Verdict.ABSENT, "no image for 5.6 s"),
    ],
)
def test_the_recorders_verdict_decides_and_is_said_in_words(verdict, problem):
    judged = StreamStatus("ego_cam", 9.0, 5.6, verdict=verdict)
    recorder = Recorder(NOW_NS, RecorderState.IDLE, streams=(judged, *streams()[1:]), bytes_free=10**12)
    assert problems(recorder=recorder) == (f"camera ego_cam: {problem}; check its cable, power and server",)


def test_a_camera_that_the_recorder_calls_fresh_works_however_old_its_last_image_is():
    judged = StreamStatus("ego_cam", 9.0, 5.6, verdict=Verdict.FRESH)
    recorder = Recorder(NOW_NS, RecorderState.IDLE, streams=(judged, *streams()[1:]), bytes_free=10**12)
    assert problems(recorder=recorder) == ()


def test_the_size_of_each_cameras_images_is_shown_where_it_is_known():
    sizes = ("1280x480", "640x480", "")
    judged = tuple(replace(stream, image_size=size) for stream, size in zip(streams(), sizes, strict=False))
    recorder = Recorder(NOW_NS, RecorderState.IDLE, streams=judged, bytes_free=10**12)
    checks = check(observed(recorder=recorder), SessionParameters(), 1)
    assert checks.text.splitlines()[-1] == "Images: ego_cam 1280x480, cam_left_wrist 640x480"
    assert "Images" not in check(observed(), SessionParameters(), 1).text


def test_a_computer_that_is_too_slow_is_named_instead_of_every_camera():
    late = tuple(replace(stream, verdict=Verdict.LATE) for stream in streams())
    recorder = Recorder(NOW_NS, RecorderState.IDLE, streams=late, bytes_free=10**12, machine_is_slow=True)
    [problem] = problems(recorder=recorder)
    assert problem.startswith("computer: all cameras are late at once")


def test_every_item_is_listed_with_its_level_and_what_to_do():
    listed = check(observed(arm=None), SessionParameters(), 1).by_item()
    assert [item for item, _, _ in listed] == list(ITEMS)
    assert {item: level for item, level, _ in listed if level is not Level.INFO} == {ARMS: Level.ERROR}
    assert [text for item, _, text in listed if item == ARMS] == ["arms: arm_driver is silent; does it run?"]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ((), "Cameras ready: All cameras working!"),
        (("cam_right_wrist",), "Cameras ready: ego_cam, cam_left_wrist working (others using dummy)"),
        (("ego_cam", "cam_left_wrist", "cam_right_wrist"), "Cameras ready: All using dummy images"),
    ],
)
def test_with_dummies_allowed_the_documented_line_names_them(broken, line):
    recorder = Recorder(
        NOW_NS, RecorderState.IDLE, streams=streams(**dict.fromkeys(broken, -1.0)), bytes_free=10**12
    )  # fmt: skip
    result = check(observed(recorder=recorder), SessionParameters(allow_dummy_cameras=True), 1)
    assert result.problems == ()
    assert result.cameras == line
    assert result.dummies == broken


def test_hands_count_only_where_they_are_included():
    config = SessionParameters(include_hands=True)
    assert problems() == ()
    assert len(problems(config)) == 2
    hands = {"left": Hand(NOW_NS), "right": Hand(NOW_NS, error=True)}
    heard = {"arm": NOW_NS, "recorder": NOW_NS, "policy": NOW_NS, "left hand": NOW_NS, "right hand": NOW_NS}
    expected = "right hand: error; free its fingers, then call hands/right/clear_error"
    assert problems(config, hands=hands, heard_ns=heard) == (expected,)
    hands["right"] = Hand(NOW_NS, max_temperature=80)
    assert problems(config, hands=hands, heard_ns=heard) == ("right hand: a finger has 80 degC; let it cool below 65",)


def test_parameters_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="episode_attributes"):
        SessionParameters(episode_attributes="{")
    with pytest.raises(ValueError, match="JSON object"):
        SessionParameters(episode_attributes="[]")
    with pytest.raises(ValueError, match="save_dir"):
        SessionParameters(save_dir="")


def test_a_clock_that_was_never_set_blocks_and_says_what_to_do():
    assert problems(host=HostHealth(utc_s=3600.0)) == (
        "clock: it says 1970-01-01, so would every file; set it (timedatectl)",
    )
    assert problems(host=host_health.measure(time.time_ns())) == ()


def warned(config: SessionParameters | None = None, **changes) -> tuple[str, ...]:
    result = check(observed(**changes), config or SessionParameters(rsync_target="host:/data"), 1)
    assert result.problems == ()
    return result.warnings


def test_what_a_person_should_know_warns_and_blocks_nothing():
    assert warned(target=Reached("")) == ()
    assert warned(target=Reached("the host's key is not known here")) == ("upload: the host's key is not known here",)
    assert warned(SessionParameters(), target=Reached("old")) == ()
    assert warned(host=HostHealth(2e9, clock_jump_s=-3.0))[0].startswith("clock: it was set by -3.0 s")


def test_throttling_is_reported_for_a_minute():
    hot = observed(host=HostHealth(2e9, throttled=4))
    hot.update_host(HostHealth(2e9, throttled=5))
    assert check(hot, SessionParameters(), 1).warnings[0].startswith("processor: slowed down by heat")
    hot.now_ns += 61 * 10**9
    assert not any(warning.startswith("processor") for warning in check(hot, SessionParameters(), 1).warnings)


def test_throttlings_are_counted_over_all_cores(tmp_path):
    for core, text in (("cpu0", "3\n"), ("cpu1", "4\n"), ("cpu2", "")):
        folder = tmp_path / core / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(text)
    assert host_health.measure(0, tmp_path).throttled == 7


def test_the_whole_preflight_reads_as_lines():
    assert check(observed(), SessionParameters(), 1).text.splitlines() == [
        "Ready",
        "In order: cameras, recorder, disk, arms and their temperatures, hands, policy server, its metadata and "
        "connection, upload target, clock, computer",
        "Cameras ready: All cameras working!",
    ]
    warned = check(observed(target=Reached("no")), SessionParameters(rsync_target="/t", include_hands=True), 1).text
    assert "In order: cameras, recorder, disk, arms and their temperatures, policy server" in warned
    assert "upload target" not in warned
    assert check(observed(arm=None), SessionParameters(), 1).text.startswith("Not ready: arms: arm_driver is silent")
