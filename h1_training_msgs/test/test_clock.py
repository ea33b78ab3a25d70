# SPDX-License-Identifier: Apache-2.0
"""The session clock is handed down, and never follows the system clock."""

import time

import pytest

from h1_training_node.clock import NS_PER_S, OFFSET_VARIABLE, SessionClock, SuspensionDetector


def test_a_child_reads_the_very_clock_of_its_parent() -> None:
    environment: dict[str, str] = {}
    parent = SessionClock.from_environment(environment)
    parent.export(environment)
    assert SessionClock.from_environment(environment) == parent


def test_a_clock_of_its_own_starts_at_utc() -> None:
    clock = SessionClock.from_environment({})
    assert abs(clock.now_ns() - time.time_ns()) < 50_000_000


def test_a_jump_of_the_system_clock_is_seen_and_does_not_move_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SessionClock.from_environment({})
    before = clock.now_ns()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
    assert clock.now_ns() - before < 1_000_000_000
    assert abs(clock.system_clock_jump_ns() - 3_600_000_000_000) < 50_000_000


def test_a_broken_offset_is_named() -> None:
    with pytest.raises(ValueError, match=f"{OFFSET_VARIABLE} is 'soon'"):
        SessionClock.from_environment({OFFSET_VARIABLE: "soon"})


def test_only_a_computer_that_slept_has_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, real = 0, time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: real(clock) + slept)
    detector = SuspensionDetector(NS_PER_S)
    assert detector.slept_ns() == 0
    time.sleep(0.05)
    assert detector.slept_ns() == 0, "time that passes is none"
    slept = 60 * NS_PER_S
    assert detector.slept_ns() == pytest.approx(60 * NS_PER_S, rel=0.01)
    assert detector.slept_ns() == 0, "once"
    slept -= NS_PER_S // 2  # the second reading came late
    assert detector.slept_ns() == 0
    slept += NS_PER_S // 2
    assert detector.slept_ns() == 0
