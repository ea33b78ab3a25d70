# SPDX-License-Identifier: Apache-2.0
"""Which rows an episode has: examples of the rules, and every rule at once against a naive reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_builders import DAMPING, HOLD, HOME, MS, POLICY

from h1_recorder.episode.images import Freshness
from h1_recorder.episode.timeline import SILENT, NoRowsError, Rows, dummy_cameras, first_in_phase, make_rows
from h1_recorder.episode.tracks import ActionTrack, ArmTrack, CameraTrack, HandTrack, StateTrack, Tracks
from h1_training_node.cameras import CAMERAS

START = 1_000_000 * MS
Arm = tuple[float, int, str, bool]  # ms, mode, reason, forced


def ns(times_ms: Any) -> np.ndarray:
    return START + np.array([round(time * MS) for time in times_ms], np.int64)


def make_tracks(
    arms: list[Arm],
    states: list[tuple[float, str]],
    actions: list[float] = [],  # noqa: B006
    images: list[float] | dict[str, list[float]] = [-5.0],  # noqa: B006
) -> Tracks:
    """Tracks from times in ms; images of all cameras alike, or by camera."""
    arms, states = sorted(arms, key=lambda arm: arm[0]), sorted(states, key=lambda state: state[0])
    by_camera = images if isinstance(images, dict) else dict.fromkeys(CAMERAS, images)
    n = len(arms)
    q = np.repeat(np.arange(n, dtype=np.float32)[:, None], 14, axis=1)
    arm = ArmTrack(
        stamp=ns(arm[0] for arm in arms),
        mode=np.array([arm[1] for arm in arms], np.uint8),
        reason=[arm[2] for arm in arms],
        forced=np.array([arm[3] for arm in arms], np.bool_),
        q=q, dq=q, tau=q, q_command=q + 0.5, kp=q, kd=q,
    )  # fmt: skip
    positions = np.repeat(np.arange(len(actions), dtype=np.float32)[:, None], 14, axis=1)
    hand = HandTrack(np.empty(0, np.int64), np.empty((0, 6), np.float32), np.empty((0, 6), np.float32))
    return Tracks(
        arm=arm,
        state=StateTrack(ns(state[0] for state in states), [state[1] for state in states]),
        action=ActionTrack(ns(sorted(actions)), positions),
        hands={"left": hand, "right": hand},
        cameras={
            name: CameraTrack(ns(sorted(times)), [memoryview(b"")] * len(times), [""] * len(times))
            for name, times in by_camera.items()
        },
        events=[],
    )


def arms(*spans: tuple[float, float, int], reason: str = "requested", forced: bool = False) -> list[Arm]:
    return [(float(ms), mode, reason, forced) for start, stop, mode in spans for ms in np.arange(start, stop, 20)]


def rows_of(tracks: Tracks, **more: Any) -> Rows:
    return make_rows(tracks, **{"fps": 50, **more})


def ticks_ms(rows: Rows) -> list[float]:
    return [float(value) for value in (rows.tick - START) / MS]


SESSION = [(-1.0, "EXECUTING"), (299.0, "DAMPING"), (499.0, "SAVING")]


def test_rows_lie_ten_ms_behind_arm_states_and_twenty_ms_apart() -> None:
    rows = rows_of(make_tracks(arms((0, 100, HOME), (100, 300, POLICY), (300, 520, DAMPING)), SESSION))
    assert ticks_ms(rows) == [110 + 20 * n for n in range(20)]
    assert rows.human.tolist() == [False] * 10 + [True] * 10
    assert set(rows.segment) == {0}


@given(st.lists(st.floats(-3.5, 3.5), min_size=40, max_size=40))
@settings(max_examples=50)
def test_jitter_around_the_period_neither_loses_nor_doubles_a_row_however_it_is_spread(jitter: list[float]) -> None:
    steady = arms((0, 800, POLICY))
    shaken = [(ms + shift, *rest) for (ms, *rest), shift in zip(steady, jitter, strict=True)]
    rows = rows_of(make_tracks(shaken, [(-1, "EXECUTING")]))  # type: ignore[arg-type]
    assert np.all(np.diff(rows.arm) == 1)
    assert rows.arm[-1] >= 38


def test_ticks_of_thirty_a_second_do_not_drift() -> None:
    rows = rows_of(make_tracks(arms((0, 10_000, POLICY)), [(-1, "EXECUTING")]), fps=30)
    assert rows.tick[-1] - rows.tick[0] == (len(rows.tick) - 1) * 10**9 // 30


def test_the_first_row_waits_for_every_required_camera() -> None:
    images = {"ego_cam": [-5.0], "cam_left_wrist": [65.0], "cam_right_wrist": [0.0]}
    rows = rows_of(make_tracks(arms((0, 200, POLICY)), [(-1, "EXECUTING")], images=images))
    assert ticks_ms(rows)[0] == 90


def test_the_first_row_does_not_wait_for_a_dummy() -> None:
    images: dict[str, list[float]] = {"ego_cam": [-5.0], "cam_left_wrist": [], "cam_right_wrist": [100.0]}
    tracks = make_tracks(arms((0, 200, POLICY)), [(-1, "EXECUTING")], images=images)
    dummies = dummy_cameras(tracks, silent_at_start=("cam_right_wrist",), allowed=True)
    assert dummies == ("cam_left_wrist", "cam_right_wrist")
    rows = rows_of(tracks, dummies=dummies)
    assert ticks_ms(rows)[0] == 10
    assert set(rows.cameras["cam_left_wrist"]) == {-1}
    assert rows.cameras["cam_right_wrist"].tolist() == [-1] * 5 + [0] * 4


def test_a_camera_that_never_delivered_is_named_unless_dummies_are_allowed() -> None:
    images: dict[str, list[float]] = {"ego_cam": [0.0], "cam_left_wrist": [], "cam_right_wrist": [0.0]}
    tracks = make_tracks(arms((0, 200, POLICY)), [(-1, "EXECUTING")], images=images)
    assert dummy_cameras(tracks, silent_at_start=("cam_left_wrist",), allowed=False) == ()
    with pytest.raises(NoRowsError, match="cam_left_wrist never delivered") as error:
        rows_of(tracks)
    assert error.value.missing == ("cam_left_wrist",)


def test_it_is_the_arms_mode_that_makes_a_row_and_not_the_key() -> None:
    states = [(-1.0, "EXECUTING"), (100.0, "DAMPING"), (400.0, "SAVING")]
    rows = rows_of(make_tracks(arms((0, 160, POLICY), (160, 500, DAMPING)), states))
    assert ticks_ms(rows) == [10, 30, 50, 70, 90, *range(170, 400, 20)]
    assert rows.segment.tolist() == [0] * 5 + [1] * 12
    assert rows.gaps == []


def test_arms_forced_into_damping_while_executing_are_a_gap_with_its_reason() -> None:
    forced = arms((200, 260, DAMPING), reason="robot_lost", forced=True)
    tracks = make_tracks(
        [*arms((0, 200, POLICY)), *forced, *arms((260, 400, POLICY))], [(-1, "EXECUTING")], images=[-5]
    )
    rows = rows_of(tracks)
    (gap,) = rows.gaps
    assert (gap.reason, gap.ticks, (gap.start_ns - START) / MS, (gap.end_ns - START) / MS) == (
        "robot_lost",
        3,
        210,
        250,
    )
    assert rows.segment.max() == 1


def test_a_hold_for_a_stale_action_goes_on_with_the_last_action() -> None:
    stale = arms((200, 300, HOLD), reason="stale_action")
    tracks = make_tracks(
        [*arms((0, 200, POLICY)), *stale, *arms((300, 400, POLICY))],
        [(-1, "EXECUTING")],
        actions=[float(ms) for ms in (*range(5, 105, 20), *range(305, 405, 20))],
    )
    rows = rows_of(tracks)
    assert set(rows.segment) == {0}
    assert rows.holding.tolist() == [False] * 10 + [True] * 5 + [False] * 4
    assert rows.action.tolist() == [0, 1, 2, 3, 4] + [4] * 10 + [5, 6, 7, 8]


def test_a_hold_for_a_stale_action_before_the_policy_was_entered_makes_no_rows() -> None:
    stale = arms((0, 100, HOLD), reason="stale_action")
    earlier = arms((-100, 0, POLICY))
    states = [(-200.0, "EXECUTING"), (-50.0, "DAMPING"), (-1.0, "EXECUTING")]
    rows = rows_of(make_tracks([*earlier, *stale, *arms((100, 200, POLICY))], states, images=[-200]))
    assert [ms for ms in ticks_ms(rows) if 0 <= ms < 100] == []


def test_before_the_first_action_of_a_segment_there_is_none_even_if_an_older_one_exists() -> None:
    states = [(-1.0, "EXECUTING"), (199.0, "DAMPING"), (399.0, "EXECUTING")]
    modes = arms((0, 200, POLICY), (200, 400, DAMPING), (400, 500, HOLD), (500, 700, POLICY))
    tracks = make_tracks(modes, states, actions=[5.0, 105.0, 545.0])
    rows = rows_of(tracks)
    second = rows.segment == 1
    assert rows.action[rows.human].tolist() == [-1] * 10
    assert rows.action[second].tolist()[:4] == [-1, -1, 2, 2]


def test_silent_arms_are_repeated_for_a_tenth_of_a_second_and_then_a_gap() -> None:
    tracks = make_tracks([*arms((0, 100, POLICY)), *arms((300, 400, POLICY))], [(-1, "EXECUTING")])
    rows = rows_of(tracks)
    assert ticks_ms(rows) == [*range(10, 181, 20), *range(310, 381, 20)]
    (gap,) = rows.gaps
    assert (gap.reason, gap.ticks) == (SILENT, 6)
    assert (np.diff(rows.arm) == 0).sum() == 4


def test_images_older_than_two_periods_are_counted() -> None:
    images = {"ego_cam": [0.0], "cam_left_wrist": [0.0, 100.0], "cam_right_wrist": list(np.arange(0, 200, 33.3))}
    tracks = make_tracks(arms((0, 200, POLICY)), [(-1, "EXECUTING")], images=images)
    rows, stale = rows_of(tracks), {}
    for name, index in rows.cameras.items():
        stamps = tracks.cameras[name].time[index]
        stale[name] = int(Freshness(rows.tick, stamps, np.diff(index, prepend=-1) == 0, 30.0).stale.sum())
    assert stale == {"ego_cam": 6, "cam_left_wrist": 3, "cam_right_wrist": 0}


def test_an_image_is_as_old_as_its_content_whatever_its_stamp() -> None:
    tick = 1_000 * MS + np.arange(30, dtype=np.int64) * 20 * MS
    stamps, same = tick - 5 * MS, np.array([False] * 10 + [True] * 20)
    stamps[5] = -1
    freshness = Freshness(tick, stamps, same, 30.0)
    assert freshness.stale.tolist() == [False] * 13 + [True] * 17
    assert freshness.repeated.tolist() == [False] * 10 + [True] * 20


def test_without_a_single_row_it_says_so() -> None:
    with pytest.raises(NoRowsError, match="never in POLICY"):
        rows_of(make_tracks(arms((0, 500, HOLD)), SESSION))
    with pytest.raises(NoRowsError, match="arm_status, session/state, ego_cam"):
        rows_of(make_tracks([], [], images=[]))
    with pytest.raises(NoRowsError, match="one of the clocks is wrong"):
        rows_of(make_tracks([(0, POLICY, "", False), (1e9, POLICY, "", False)], [(-1, "EXECUTING")]))


# ---- which arm_status the ticks hang on


def test_ticks_follow_the_period_of_arm_status_and_not_on_one_sent_for_a_change_of_mode() -> None:
    periodic = np.arange(40, dtype=np.int64) * 20 * MS + 9 * MS
    assert first_in_phase(np.concatenate(([0], periodic))) == 1


@given(st.integers(0, 19), st.lists(st.integers(-1000, 1000), min_size=2, max_size=50))
def test_jitter_of_a_millisecond_and_any_phase_leave_the_first_one_phase_aligned(
    phase_ms: int, jitter_us: list[int]
) -> None:
    grid = np.arange(len(jitter_us), dtype=np.int64) * 20 * MS + phase_ms * MS
    assert first_in_phase(grid + np.array(jitter_us) * 1000) == 0


# ---- all rules at once

REASONS = ("requested", "stale_action", "blocked")
MODES = st.sampled_from([HOLD, POLICY, POLICY, DAMPING])
ARM_STATES = st.lists(
    st.tuples(st.integers(0, 600), MODES, st.sampled_from(REASONS), st.booleans()),
    min_size=2,
    max_size=60,
    unique_by=lambda arm: arm[0],
)
STATES = st.lists(
    st.tuples(st.integers(-50, 600), st.sampled_from(["EXECUTING", "EXECUTING", "DAMPING", "LABELING"])),
    min_size=1,
    max_size=8,
    unique_by=lambda state: state[0],
)
TIMES = st.lists(st.integers(-50, 600), min_size=1, max_size=30, unique=True)


def naive_rows(tracks: Tracks) -> list[dict[str, Any]]:
    """The rules of `timeline.py` written down tick by tick, with loops."""

    def newest(stamps: np.ndarray, tick: int) -> int:
        found = [i for i, stamp in enumerate(stamps) if stamp <= tick]
        return found[-1] if found else -1

    complete = [
        stamp for stamp in tracks.arm.stamp if all(any(t <= stamp for t in cam.time) for cam in tracks.cameras.values())
    ]
    rows: list[dict[str, Any]] = []
    if not complete:
        return rows
    stamps = tracks.arm.stamp[list(tracks.arm.stamp).index(complete[0]) :][:50]
    t0, n, run_since, previous = stamps[first_in_phase(stamps)] + 10 * MS, 0, None, -9
    segment = -1
    while t0 + n * 20 * MS <= tracks.arm.stamp[-1]:
        tick = t0 + n * 20 * MS
        arm, state_at = newest(tracks.arm.stamp, tick), newest(tracks.state.stamp, tick)
        state = tracks.state.state[state_at] if state_at >= 0 else ""
        mode, reason = tracks.arm.mode[arm], tracks.arm.reason[arm]
        entry = state_at
        while entry > 0 and tracks.state.state[entry - 1] == state:
            entry -= 1
        policy_seen = state == "EXECUTING" and any(
            tracks.arm.mode[i] == POLICY and tracks.state.stamp[entry] <= tracks.arm.stamp[i] <= tick
            for i in range(len(tracks.arm.stamp))
        )
        phase = ""
        if tick - tracks.arm.stamp[arm] <= 100 * MS:
            holding = mode == HOLD and reason == "stale_action" and policy_seen
            if state == "EXECUTING" and (mode == POLICY or holding):
                phase = "policy"
            elif state == "DAMPING" and mode == DAMPING:
                phase = "human"
        if phase:
            segment += previous != n - 1
            if previous != n - 1 or rows[-1]["phase"] != phase:
                run_since = tracks.arm.stamp[arm]
            action = newest(tracks.action.stamp, tick)
            if phase == "human" or action < 0 or tracks.action.stamp[action] < run_since:
                action = -1
            images = {name: newest(camera.time, tick) for name, camera in tracks.cameras.items()}
            rows.append({"tick": tick, "arm": arm, "phase": phase, "segment": segment, "action": action, **images})
            previous = n
        n += 1
    return rows


@settings(max_examples=300, deadline=None)
@given(ARM_STATES, STATES, TIMES, TIMES, TIMES, TIMES)
def test_rows_are_what_a_naive_reading_of_the_rules_gives(
    arm_states: list[Any], states: list[Any], actions: list[int], one: list[int], two: list[int], three: list[int]
) -> None:
    images = dict(zip(CAMERAS, [[float(t) for t in times] for times in (one, two, three)], strict=True))
    tracks = make_tracks(arm_states, states, [float(t) for t in actions], images)
    expected = naive_rows(tracks)
    try:
        rows = rows_of(tracks)
    except NoRowsError:
        assert expected == []
        return
    found = [
        {
            "tick": rows.tick[i],
            "arm": rows.arm[i],
            "phase": "human" if rows.human[i] else "policy",
            "segment": rows.segment[i],
            "action": rows.action[i],
            **{name: rows.cameras[name][i] for name in CAMERAS},
        }
        for i in range(len(rows.tick))
    ]
    assert found == expected
