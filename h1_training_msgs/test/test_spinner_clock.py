# SPDX-License-Identifier: Apache-2.0
"""The system's clock is set under a running program."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest

from h1_training_node import spinner as spinner_module
from h1_training_node.spinner import ClockWatch, Spinner
from h1_training_testing import Graph, wait_until


def set_clock_to_itself() -> bool:
    """What the kernel counts as setting it, though it shows the same time as before; False if only root may."""
    with contextlib.suppress(PermissionError):
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
        return True
    return False


def test_it_reports_each_time_the_clock_is_set() -> None:
    sets = []
    watch = ClockWatch(lambda: sets.append(threading.current_thread().name))
    for count in (1, 2, 3):
        if set_clock_to_itself():
            wait_until(lambda count=count: len(sets) == count, "reported")
    assert set(sets) <= {"clock_watch"}
    watch.close()
    assert "clock_watch" not in [thread.name for thread in threading.enumerate()]


def test_a_wait_that_lasts_by_the_systems_clock_ends_when_it_is_set(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = os.eventfd(0)
    monkeypatch.setattr(spinner_module, "_timer", lambda: event)
    monkeypatch.setattr(spinner_module, "_arm", lambda _: None)
    spinner = Spinner()
    threading.Timer(0.2, os.eventfd_write, (event, 1)).start()
    began = time.monotonic()
    spinner.spin_once(60.0)
    assert time.monotonic() - began < 30.0
    spinner.close()


def test_a_kernel_that_cannot_report_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        @staticmethod
        def timerfd_create(_clock: int, _flags: int) -> int:
            return -1

    monkeypatch.setattr(spinner_module, "_libc", Libc)
    with pytest.raises(OSError, match="does not report when the system's clock is set"):
        ClockWatch(lambda: None)
