# SPDX-License-Identifier: Apache-2.0
"""The one verdict on a stream: by content, bad at once, good again only when it has lasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_builders import MS, STREAMS

from h1_recorder.recorder.streams import EXPECTED_HZ
from h1_recorder.recorder.verdicts import RECOVERED_NS, CameraEvents, StreamMonitor
from h1_training_node.cameras import ABSENT_NS, CAMERAS, LATE_NS
from h1_training_node.message_numbers import Verdict

BY_NAME = {stream.name: stream for stream in STREAMS}
HZ = {**EXPECTED_HZ, **dict.fromkeys(CAMERAS, 30.0)}
START_MS = 10_000.0


class Streams:
    """Monitors that receive at given rates under a clock of their own."""

    def __init__(self, *names: str) -> None:
        self.monitors = {name: StreamMonitor(BY_NAME[name], HZ.get(name, 0.0)) for name in names}
        self.events_of = CameraEvents(self.monitors)
        self.ms = START_MS
        self.events: list[str] = []
        self.history: list[tuple[Verdict, ...]] = []

    def run(self, ms: float, *, hz: float = 30.0, repeated: bool = False, recording: bool = True) -> None:
        """So much time passes, with messages at `hz` to all, and samples every 100 ms."""
        due = [(self.ms + n * 1000 / hz, False) for n in range(1, int(ms * hz / 1000) + 1)] if hz else []
        due += [(self.ms + n * 100.0, True) for n in range(1, int(ms / 100) + 1)]
        for at, is_sample in sorted(due):
            for monitor in self.monitors.values():
                if is_sample:
                    monitor.sample(round(at * MS))
                else:
                    monitor.received(round(at * MS), None, repeated=repeated)
            if is_sample:
                self.history.append(tuple(monitor.verdict for monitor in self.monitors.values()))
                found = self.events_of.sample(round(at * MS), recording=recording)
                self.events += [reason for _, reason, _ in found]
        self.ms += ms

    @property
    def verdict(self) -> Verdict:
        return next(iter(self.monitors.values())).verdict


def test_rate_age_and_losses_of_a_stream() -> None:
    monitor = StreamMonitor(BY_NAME["arm_status"], HZ["arm_status"])
    assert monitor.age_s(5) == -1.0
    for number in range(1, 101):
        monitor.received(number * 20 * MS, number + (number >= 50) * 3)
        if number % 10 == 0:
            monitor.sample(number * 20 * MS)
    assert monitor.rate() == pytest.approx(50.0)
    assert monitor.lost == 3
    assert monitor.age_s(100 * 20 * MS + 500 * MS) == 0.5


def test_a_publisher_that_started_again_has_lost_nothing() -> None:
    monitor = StreamMonitor(BY_NAME["arm_status"], HZ["arm_status"])
    for seq in (100, 101, 1, 2, 3):
        monitor.received(1, seq)
    assert monitor.lost == 0


def test_a_stream_that_never_came_is_absent_and_its_first_messages_are_fresh_at_once() -> None:
    streams = Streams("ego_cam")
    streams.run(500, hz=0)
    assert streams.verdict == Verdict.ABSENT
    streams.run(200)
    assert streams.verdict == Verdict.FRESH


@pytest.mark.parametrize("name", ["ego_cam", "arm_status", "hands/left/state", "session/state"])
def test_a_stream_that_stops_is_late_and_then_absent(name: str) -> None:
    streams = Streams(name)
    streams.run(2000, hz=HZ[name])
    assert streams.verdict == Verdict.FRESH
    late_ms = max(LATE_NS / MS, 5000 / HZ[name])
    streams.run(late_ms // 100 * 100 + 200, hz=0)
    assert streams.verdict == Verdict.LATE
    streams.run(ABSENT_NS / MS, hz=0)
    assert streams.verdict == Verdict.ABSENT


def test_a_camera_that_repeats_its_image_is_frozen_and_not_fresh_however_often_it_comes() -> None:
    streams = Streams("ego_cam")
    streams.run(2000)
    streams.run(400, repeated=True)
    assert streams.verdict == Verdict.FROZEN
    assert streams.monitors["ego_cam"].age_s(round(streams.ms * MS)) == pytest.approx(0.4, abs=0.04)
    streams.run(10_000, repeated=True)
    assert streams.verdict == Verdict.FROZEN
    assert streams.events == ["camera_frozen"]


def test_an_image_server_that_sends_each_image_twice_is_fresh() -> None:
    streams = Streams("ego_cam")
    for _ in range(100):
        streams.run(33, hz=0)
        now_ns = round(streams.ms * MS)
        streams.monitors["ego_cam"].received(now_ns, None)
        streams.monitors["ego_cam"].received(now_ns + 16 * MS, None, repeated=True)
        streams.monitors["ego_cam"].sample(now_ns + 20 * MS)
    assert streams.verdict == Verdict.FRESH


def test_a_camera_below_two_thirds_of_its_rate_is_late_within_half_a_second() -> None:
    streams = Streams("ego_cam")
    streams.run(2000)
    streams.run(700, hz=15)
    assert streams.verdict == Verdict.LATE
    streams = Streams("ego_cam")
    streams.run(5000, hz=24)
    assert set(streams.history[1:]) == {(Verdict.FRESH,)}


def test_a_stream_that_comes_and_goes_does_not_flicker() -> None:
    streams = Streams("ego_cam")
    streams.run(2000)
    before = len(streams.history)
    for _ in range(40):
        streams.run(300, hz=0)
        streams.run(700, hz=60)
    verdicts = [verdict for (verdict,) in streams.history[before + 3 :]]
    assert Verdict.FRESH not in verdicts
    streams.run(RECOVERED_NS / MS + 700, hz=30)
    assert streams.verdict == Verdict.FRESH


def test_a_stream_that_publishes_now_and_then_is_fresh_after_its_first_message() -> None:
    streams = Streams("keyboard")
    streams.run(1000, hz=0)
    assert streams.verdict == Verdict.ABSENT
    streams.run(100, hz=10)
    streams.run(60_000, hz=0)
    assert streams.verdict == Verdict.FRESH


def test_all_cameras_late_at_once_is_the_machine_and_reported_once() -> None:
    streams = Streams(*CAMERAS)
    streams.run(2000)
    streams.run(20_000, hz=10)
    assert streams.events_of.machine_is_slow
    streams.run(3000)
    assert not streams.events_of.machine_is_slow
    assert streams.events == ["machine_slow", "machine_recovered"]


def test_all_cameras_silent_at_once_is_not_the_machine() -> None:
    streams = Streams(*CAMERAS)
    streams.run(2000)
    streams.run(5000, hz=0)
    assert streams.events == ["camera_silent"] * 3


def test_one_slow_camera_is_not_the_machine() -> None:
    streams = Streams("ego_cam", "cam_left_wrist")
    other = StreamMonitor(BY_NAME["cam_right_wrist"], HZ["cam_right_wrist"])
    streams.monitors["cam_right_wrist"] = other
    streams.run(2000)
    slow = streams.monitors.pop("cam_right_wrist")
    for _ in range(20):
        streams.run(100)
        streams.monitors["cam_right_wrist"] = slow
        slow.received(round(streams.ms * MS), None)
        slow.sample(round(streams.ms * MS))
        streams.events += [reason for _, reason, _ in streams.events_of.sample(round(streams.ms * MS), recording=True)]
        del streams.monitors["cam_right_wrist"]
    assert slow.verdict == Verdict.LATE
    assert streams.events == ["camera_slow"]


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=100)
def test_fresh_is_said_only_of_new_content_within_the_limit(steps: list[tuple[int, bool]]) -> None:
    monitor = StreamMonitor(BY_NAME["ego_cam"], HZ["ego_cam"])
    now_ns, new_ns = 0, 0
    for gap_ms, repeated in steps:
        now_ns += gap_ms * MS
        monitor.sample(now_ns)
        if new_ns and now_ns - new_ns > LATE_NS:
            assert monitor.verdict != Verdict.FRESH
        monitor.received(now_ns, None, repeated=repeated and new_ns > 0)
        new_ns = now_ns if not repeated or not new_ns else new_ns
